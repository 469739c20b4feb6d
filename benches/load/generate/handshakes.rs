//! New TLS sessions, one after the other: connect, shake hands, close. Nothing is resumed.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::fault::{Doing, Outcome, wrong};

/// Shakes hands for so long on some threads; returns how many sessions there were.
pub(crate) fn run(port: u16, trusted: &CertificateDer<'static>, threads: usize, time: Duration) -> Outcome<u64> {
    let config = Arc::new(client(trusted)?);
    std::thread::scope(|scope| {
        let one = || -> io::Result<u64> {
            let begun = Instant::now();
            let mut count = 0;
            while begun.elapsed() < time {
                shake(&config, port)?;
                count += 1;
            }
            Ok(count)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let mut count = 0;
        for thread in running {
            count += thread.join().map_err(|_| wrong("a client's thread has failed"))?.doing("shaking hands")?;
        }
        Ok(count)
    })
}

fn shake(config: &Arc<ClientConfig>, port: u16) -> io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    connection.send_close_notify();
    connection.complete_io(&mut socket).map(|_| ())
}

/// A client that trusts this certificate alone, and resumes nothing.
pub(super) fn client(trusted: &CertificateDer<'static>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).map_err(|error| wrong(error.to_string()))?;
    let versions =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let mut config =
        versions.map_err(|error| wrong(error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
