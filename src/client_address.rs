//! Who the client is: the address that Synapse is told, found by walking `X-Forwarded-For` from the right.
//!
//! Synapse believes the leftmost value (`http/site.py`), which is whatever a stranger wrote there. So exactly one value
//! is sent on: the first, from the right, that no trusted proxy vouches to be another proxy.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;

/// The header that proxies add to.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies in front of dendron whose word is taken.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// Trusts the proxies in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        TrustedProxies { networks }
    }

    /// Whether the peer's headers are believed. A peer without an address is on a unix socket, whose file permissions
    /// say who may connect, so it is trusted.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_none_or(|peer| self.contains(peer))
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the peer, or, behind trusted proxies, the address that the last of them saw. `forwarded` are
    /// the lines of [`X_FORWARDED_FOR`].
    pub fn client<'line>(
        &self,
        peer: Option<IpAddr>,
        forwarded: impl DoubleEndedIterator<Item = &'line [u8]>,
    ) -> Option<IpAddr> {
        let mut client = peer.map(|peer| peer.to_canonical());
        if !self.trusts(peer) {
            return client;
        }
        let hops = forwarded.rev().flat_map(|line| std::str::from_utf8(line).unwrap_or_default().rsplit(','));
        for hop in hops {
            let Some(address) = parse_hop(hop.trim()) else { break };
            client = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// One entry: an address, perhaps with a port (`1.2.3.4:5`, `[::1]:5`), as some proxies write it.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| {
        let socket = hop.parse::<std::net::SocketAddr>().ok()?;
        Some(socket.ip())
    });
    address.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_found_from_the_right_over_trusted_proxies_only() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let table: [(Option<&str>, &[&str], Option<&str>); 13] = [
            // A stranger's header is not believed.
            (Some("1.2.3.4"), &["9.9.9.9"], Some("1.2.3.4")),
            (Some("1.2.3.4"), &[], Some("1.2.3.4")),
            // One trusted proxy: the address that it saw, not what the client wrote before it.
            (Some("10.0.0.1"), &["9.9.9.9, 5.6.7.8"], Some("5.6.7.8")),
            (Some("10.0.0.1"), &["9.9.9.9, 5.6.7.8, 10.0.0.2"], Some("5.6.7.8")),
            // Several header lines are one list.
            (Some("10.0.0.1"), &["9.9.9.9", "5.6.7.8", "10.0.0.2"], Some("5.6.7.8")),
            // All trusted: the leftmost.
            (Some("10.0.0.1"), &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            // What is no address ends the walk at the last good one.
            (Some("10.0.0.1"), &["unknown, 10.0.0.2"], Some("10.0.0.2")),
            (Some("10.0.0.1"), &["garbage"], Some("10.0.0.1")),
            (Some("10.0.0.1"), &["", ""], Some("10.0.0.1")),
            // Ports and brackets, and mapped addresses.
            (Some("::1"), &["5.6.7.8:443"], Some("5.6.7.8")),
            (Some("::1"), &["[2001:db8::1]:443"], Some("2001:db8::1")),
            (Some("::ffff:10.0.0.1"), &["::ffff:5.6.7.8"], Some("5.6.7.8")),
            // A unix socket's peer has no address and is trusted.
            (None, &["5.6.7.8"], Some("5.6.7.8")),
        ];
        for (peer, lines, expected) in table {
            let forwarded = lines.iter().map(|line| line.as_bytes());
            let client = trusted.client(peer.map(|peer| peer.parse().unwrap()), forwarded);
            assert_eq!(client, expected.map(|client| client.parse().unwrap()), "{peer:?} {lines:?}");
        }
    }
}
