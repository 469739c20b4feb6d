//! A listener of Synapse's that is in no pool, such as the one on which the processes speak to each other.
//!
//! Its host name is resolved when it is first used, and again when the answer has become old. TLS is checked as
//! Synapse's own processes check it: against the system's authorities and the name in the address.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pingora_core::upstreams::peer::HttpPeer;
use std::sync::Arc;

use crate::upstream::{Address, ConnectionTimes};

/// How long a resolved name is believed.
const RESOLVED_FOR: Duration = Duration::from_secs(30);

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain HTTP.
    Plain,
    /// HTTP over TLS.
    Tls,
}

/// A listener of Synapse's.
#[derive(Debug)]
pub struct Target {
    address: Address,
    transport: Transport,
    times: ConnectionTimes,
    resolved: ArcSwapOption<Resolved>,
}

/// A peer, and when its name was resolved.
#[derive(Debug)]
struct Resolved {
    peer: HttpPeer,
    at: Instant,
}

impl Target {
    /// The listener at `address`.
    pub fn new(address: Address, transport: Transport, times: ConnectionTimes) -> Self {
        Target { address, transport, times, resolved: ArcSwapOption::empty() }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A peer for [`super::Client::ask`]; `None` if the host name has no address, and never had one.
    pub async fn peer(&self) -> Option<HttpPeer> {
        let known = self.resolved.load_full();
        if let Some(known) = known.as_deref().filter(|known| known.at.elapsed() < RESOLVED_FOR) {
            return Some(known.peer.clone());
        }
        match self.resolve().await {
            Some(peer) => {
                self.resolved.store(Some(Arc::new(Resolved { peer: peer.clone(), at: Instant::now() })));
                Some(peer)
            }
            None => known.map(|known| known.peer.clone()),
        }
    }

    async fn resolve(&self) -> Option<HttpPeer> {
        let is_tls = self.transport == Transport::Tls;
        let mut peer = match &self.address {
            Address::Unix(path) => HttpPeer::new_uds(path.to_str()?, is_tls, String::new()).ok()?,
            Address::Tcp { host, port } => {
                let address = match host.parse::<IpAddr>() {
                    Ok(ip) => SocketAddr::new(ip, *port),
                    Err(_) => tokio::net::lookup_host((host.as_str(), *port)).await.ok()?.next()?,
                };
                HttpPeer::new(address, is_tls, host.clone())
            }
        };
        peer.options.connection_timeout = Some(self.times.connect);
        peer.options.total_connection_timeout = Some(self.times.connect);
        peer.options.idle_timeout = Some(self.times.idle);
        peer.options.write_timeout = Some(self.times.write);
        Some(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_target_becomes_a_peer() {
        let table = [
            ("unix:/run/a.sock", Transport::Plain, Some((false, "/run/a.sock"))),
            ("127.0.0.1:9093", Transport::Plain, Some((false, "127.0.0.1:9093"))),
            ("[::1]:9093", Transport::Tls, Some((true, "[::1]:9093"))),
            ("name.invalid:9093", Transport::Plain, None),
        ];
        for (address, transport, expected) in table {
            let target = Target::new(address.parse().unwrap(), transport, ConnectionTimes::default());
            let peer = target.peer().await;
            let found = peer.as_ref().map(|peer| (peer.is_tls(), peer._address.to_string()));
            assert_eq!(found, expected.map(|(tls, place)| (tls, place.to_owned())), "{address}");
        }
    }

    #[tokio::test]
    async fn a_host_name_is_resolved_once_and_named_to_its_server() {
        let target = Target::new("localhost:9093".parse().unwrap(), Transport::Tls, ConnectionTimes::default());
        let peer = target.peer().await.unwrap();
        assert_eq!(peer.sni, "localhost");
        assert_eq!(target.peer().await.unwrap()._address, peer._address);
    }
}
