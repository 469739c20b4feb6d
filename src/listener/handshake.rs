//! The TLS handshake of a client's connection, in time.
//!
//! Pingora makes handshakes by itself where a listener has certificates, but then each may take a minute, and one that
//! fails is an error in the log, though it is the client's doing. So listeners are all plain to Pingora, and dendron makes
//! the handshake where it gives a connection its place. The same library does it with the same settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::TlsAccept;
use pingora_core::listeners::tls::{Acceptor, TlsSettings};
use pingora_core::protocols::l4::socket::SocketAddr as Local;
use pingora_core::protocols::l4::stream::Stream as RawStream;
use pingora_core::protocols::{GetSocketDigest, Stream};
use prometheus::IntCounter;
use tokio::time::timeout;

use super::Certificates;
use super::ListenerError;
use crate::upstream::Address;

/// The encrypted ones among some listeners.
#[derive(Default)]
pub struct Encrypted(Vec<Listener>);

/// One listener with certificates.
struct Listener {
    at: At,
    acceptor: Acceptor,
    /// How long a handshake may take.
    time: Duration,
    failed: IntCounter,
}

/// Where it listens.
#[derive(Debug, PartialEq, Eq)]
enum At {
    Tcp(IpAddr, u16),
    Unix(PathBuf),
}

// === impl Encrypted ===

impl Encrypted {
    /// Adds a listener with its certificates. A handshake may take so long; one that fails is counted.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Tls`] when the TLS library does not take the settings.
    pub fn add(
        &mut self,
        address: &Address,
        certificates: &Arc<Certificates>,
        time: Duration,
        failed: IntCounter,
    ) -> Result<(), ListenerError> {
        let mut tls = TlsSettings::with_callbacks(Box::new(NoCallbacks)).map_err(ListenerError::Tls)?;
        tls.set_cert_resolver(Arc::clone(certificates) as Arc<_>);
        tls.enable_h2();
        if let Some(at) = At::of(address) {
            self.0.push(Listener { at, acceptor: tls.build(), time, failed });
        }
        Ok(())
    }

    /// The stream as its listener wants it: encrypted, or as it is. `None` when the handshake failed.
    pub(super) async fn accept(&self, stream: Box<RawStream>) -> Option<Stream> {
        let listener = if self.0.is_empty() { None } else { self.listener(&stream)? };
        match listener {
            // In a box, so that its room is not kept for as long as the connection lives.
            Some(listener) => Box::pin(listener.shake_hands(*stream)).await,
            None => Some(stream),
        }
    }

    /// The listener through which a connection came, if it is one of these. `None` where it cannot be told.
    fn listener(&self, stream: &RawStream) -> Option<Option<&Listener>> {
        let digest = stream.get_socket_digest()?;
        let local = digest.local_addr()?;
        Some(self.0.iter().find(|listener| listener.at.is_entered_by(local)))
    }
}

// === impl Listener ===

impl Listener {
    async fn shake_hands(&self, stream: RawStream) -> Option<Stream> {
        match timeout(self.time, self.acceptor.tls_handshake(stream)).await {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
        self.failed.inc();
        None
    }
}

// === impl At ===

impl At {
    /// `None` for a host name, at which nothing listens.
    fn of(address: &Address) -> Option<Self> {
        match address {
            Address::Tcp { host, port } => Some(At::Tcp(host.parse().ok()?, *port)),
            Address::Unix(path) => Some(At::Unix(path.clone())),
        }
    }

    /// Whether a connection with this address at dendron's end came through here. Of two listeners at one port neither
    /// can be at the unspecified address, so the first that fits is the one.
    fn is_entered_by(&self, local: &Local) -> bool {
        match (self, local) {
            (At::Tcp(ip, port), Local::Inet(local)) => *port == local.port() && is_at(*ip, *local),
            (At::Unix(path), Local::Unix(local)) => local.as_pathname() == Some(path),
            _ => false,
        }
    }
}

fn is_at(ip: IpAddr, local: SocketAddr) -> bool {
    // What listens at `::` takes connections of the older version as well.
    ip == local.ip() || ip.is_unspecified() && (ip.is_ipv6() || local.is_ipv4())
}

/// Pingora wants a callback object where it gets a resolver; there is nothing to do in it.
struct NoCallbacks;

impl TlsAccept for NoCallbacks {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_by_the_address_it_came_to() {
        let table = [
            ("127.0.0.1:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "127.0.0.1:8448", false),
            ("127.0.0.1:443", "127.0.0.2:443", false),
            ("0.0.0.0:443", "192.0.2.1:443", true),
            ("0.0.0.0:443", "[2001:db8::1]:443", false),
            ("[::]:443", "[2001:db8::1]:443", true),
            ("[::]:443", "[::ffff:192.0.2.1]:443", true),
            ("[::]:443", "[::1]:80", false),
            ("[::1]:443", "[::1]:443", true),
            ("unix:/run/a", "127.0.0.1:443", false),
        ];
        for (address, local, expected) in table {
            let at = At::of(&address.parse().unwrap()).unwrap();
            assert_eq!(at.is_entered_by(&Local::Inet(local.parse().unwrap())), expected, "{address} {local}");
        }
        let path = |path: &str| Local::Unix(std::os::unix::net::SocketAddr::from_pathname(path).unwrap());
        let at = At::of(&"unix:/run/a".parse().unwrap()).unwrap();
        assert!(at.is_entered_by(&path("/run/a")) && !at.is_entered_by(&path("/run/b")));
        assert_eq!(At::of(&"localhost:443".parse().unwrap()), None);
    }
}
