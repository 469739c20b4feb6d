//! Dendron's own listeners: TCP, TLS and unix sockets.
//!
//! - [`budget`]: how many connections there may be.
//! - [`connections`]: the places that they have.
//! - [`handshake`]: the beginning of an encrypted connection.
//! - [`proxy_protocol`]: what a load balancer says ahead of a connection.
//! - `proxied`: the same, read off a connection.
//! - [`runtimes`]: how many tasks live in what serves clients.
//! - [`certificates`]: the certificates of a listener, chosen by name, read again when their files change.
//! - [`settings`]: `listeners:` in dendron.yaml.
//! - [`times`]: how long a client may take.
//!
//! Not here: what is done with a request (`proxy`).

pub mod budget;
pub mod certificates;
pub mod connections;
pub mod handshake;
mod proxied;
pub mod proxy_protocol;
pub mod runtimes;
pub mod settings;
pub mod times;

use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pingora_core::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora_core::protocols::TcpKeepalive;

use crate::answer::Offer;
use crate::upstream::Address;

pub use budget::{Budget, Needs};
pub use certificates::{CertificateFiles, Certificates};
pub use connections::{ConnectionMetrics, Counted, Door, Places};
pub use handshake::Encrypted;
pub use runtimes::Runtimes;
pub use settings::{ConnectionSettings, ListenerSettings};
pub use times::ClientTimes;

/// The read and write buffers of a client's connection, in bytes. Pingora's default of 64 KiB stays with every idle
/// connection and is what most of its memory would be.
const BUFFER_READ_BYTES: usize = 4096;
const BUFFER_WRITE_BYTES: usize = 1460;
/// A peer that is gone without a word is noticed after `idle + interval × count`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: usize = 4;
/// Nobody is asked while something is on its way to the peer, so that has a bound of its own: the same. The system's is a
/// quarter of an hour.
const UNANSWERED_MAX: Duration = Duration::from_secs(120);

/// A listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where dendron listens.
    pub address: Address,
    /// The certificates, the first being the one for clients that name no known host. Empty: no TLS.
    pub certificates: Vec<CertificateFiles>,
    /// Whether every connection begins with a PROXY header, which names its client.
    pub proxy_protocol: bool,
    /// What is offered besides the public API.
    pub offer: Offer,
    /// A unix socket's permissions.
    pub mode: u32,
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Its address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: Address,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its certificates cannot be used.
    #[error("{0}")]
    Certificate(#[from] certificates::CertificateError),
    /// The TLS library does not take the settings.
    #[error("cannot set up TLS: {0}")]
    Tls(Box<pingora_core::Error>),
}

impl Listener {
    /// Says whether the address can be listened on, by trying. Pingora tries for half a minute and then goes on without
    /// the listener, which nobody would notice.
    ///
    /// # Errors
    ///
    /// [`ListenerError::Bind`] with what the system says.
    pub fn probe(&self) -> Result<(), ListenerError> {
        let outcome = match &self.address {
            Address::Tcp { host, port } => TcpListener::bind((host.as_str(), *port)).map(drop),
            Address::Unix(path) => match UnixStream::connect(path) {
                Ok(_) => Err(std::io::Error::from(ErrorKind::AddrInUse)),
                // A socket that a dead process left behind is replaced.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            },
        };
        outcome.map_err(|source| ListenerError::Bind { address: self.address.clone(), source })
    }

    /// The listener as Pingora takes it: without its certificates, which are [`Encrypted`]'s. Whoever has buffers of its own
    /// wants none of the connection's: those last as long as the connection.
    pub fn endpoint(&self, is_buffered: bool) -> ListenerConfig {
        let endpoint = match &self.address {
            Address::Tcp { .. } => {
                let mut options = TcpSocketOptions::default();
                options.tcp_keepalive = Some(TcpKeepalive {
                    idle: KEEPALIVE_IDLE,
                    interval: KEEPALIVE_INTERVAL,
                    count: KEEPALIVE_COUNT,
                    user_timeout: UNANSWERED_MAX,
                });
                ListenerConfig::tcp(self.address.to_string()).tcp_socket_options(options)
            }
            Address::Unix(path) => {
                ListenerConfig::uds(path.display().to_string()).permissions(Permissions::from_mode(self.mode))
            }
        };
        let (read, write) = if is_buffered { (BUFFER_READ_BYTES, BUFFER_WRITE_BYTES) } else { (0, 0) };
        endpoint.l4_buffer(L4BufferSettings::new(read, write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str) -> Listener {
        Listener {
            address: address.parse().unwrap(),
            certificates: Vec::new(),
            proxy_protocol: false,
            offer: Offer::default(),
            mode: 0o660,
        }
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_at_once() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(matches!(listener(&address).probe(), Err(ListenerError::Bind { .. })));
        drop(taken);
        assert!(listener(&address).probe().is_ok());
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.sock");
        let living = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = listener(&format!("unix:{}", path.display()));
        assert!(listener.probe().is_err());
        drop(living);
        assert!(path.exists());
        assert!(listener.probe().is_ok());
        assert!(!path.exists());
    }
}
