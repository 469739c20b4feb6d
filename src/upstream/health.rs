//! The active checks: every process is asked for its [`Backend::health_path`] at a steady pace, and host names are resolved
//! again.
//!
//! A check runs on a connection of its own, so that
//! it sees what a new request would meet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_core::connectors::http::Connector;
use pingora_http::RequestHeader;

use super::{Backend, backlog};

/// How often a process is checked.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// The same while it is unhealthy: main may be doing its work, so it should be taken back soon.
pub const INTERVAL_WHILE_DOWN: Duration = Duration::from_millis(500);
/// How long a check may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How many failures in a row make a process unhealthy.
pub const FALL: u32 = 3;
/// How many successes in a row make it healthy again.
pub const RISE: u32 = 2;
/// How many checks pass between two resolutions of a host name.
const RESOLVE_EVERY: u32 = 15;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The host name has no address yet.
    #[error("the host name is not resolved")]
    Unresolved,
    /// The process could not be connected to, or broke off.
    #[error("{0}")]
    Connection(#[from] Box<pingora_core::Error>),
    /// It answered with another status than 200.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It did not answer in time.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// What a row of checks has found so far. Pure: the shell feeds it one outcome at a time.
#[derive(Debug, Default)]
pub struct Verdict {
    successes: u32,
    failures: u32,
}

impl Verdict {
    /// Takes one more outcome; returns what the process now counts as, if that follows from the last outcomes.
    pub fn after(&mut self, success: bool) -> Option<bool> {
        if success {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            (self.successes >= RISE).then_some(true)
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            (self.failures >= FALL).then_some(false)
        }
    }
}

/// Checks one process for ever, and closes what connections to it are not needed any more. Dropping the future ends it.
pub async fn watch(backend: Arc<Backend>) {
    let connector = Connector::<()>::new(None);
    let mut verdict = Verdict::default();
    for round in 0_u32.. {
        if round > 0 {
            tokio::time::sleep(if backend.is_healthy() { INTERVAL } else { INTERVAL_WHILE_DOWN }).await;
        }
        backend.sweep_kept(Instant::now());
        if round % RESOLVE_EVERY == 0
            && let Err(error) = backend.resolve().await
        {
            tracing::warn!(process = %backend.name(), address = %backend.address(), %error, "cannot resolve the name");
        }
        let outcome = match tokio::time::timeout(PATIENCE, check(&connector, &backend)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CheckError::Silent),
        };
        let Some(healthy) = verdict.after(outcome.is_ok()) else { continue };
        if !backend.set_healthy(healthy) {
            continue;
        }
        match outcome {
            Ok(()) => tracing::info!(process = %backend.name(), address = %backend.address(), "healthy again"),
            Err(reason) => {
                tracing::warn!(process = %backend.name(), address = %backend.address(), %reason, "unhealthy");
            }
        }
    }
}

/// Asks a process once whether it is well.
///
/// # Errors
///
/// [`CheckError`], saying what went wrong.
async fn check(connector: &Connector<()>, backend: &Backend) -> Result<(), CheckError> {
    let peer = backend.peer(PATIENCE).ok_or(CheckError::Unresolved)?;
    let mut tries = 0;
    let (mut session, _reused) = loop {
        match connector.get_http_session(&*peer).await {
            // Whoever asks has patience, and ends this.
            Err(error) if backlog::is_full(&error) => tokio::time::sleep(backlog::pause(tries)).await,
            outcome => break outcome?,
        }
        tries += 1;
    };
    let mut request = RequestHeader::build("GET", backend.health_path().as_bytes(), None)?;
    request.insert_header("Host", "localhost")?;
    request.insert_header("Connection", "close")?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let response = session.response_header().ok_or(CheckError::Status(0))?;
    let status = response.status.as_u16();
    if let Some(server) = response.headers.get("server").and_then(|server| server.to_str().ok()) {
        backend.set_server(server);
    }
    session.shutdown().await;
    if status == 200 { Ok(()) } else { Err(CheckError::Status(status)) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

    use super::*;
    use crate::upstream::{Address, BackendSettings, ConnectionTimes, Limits};

    /// A process whose backlog is full may be busy, and is asked again.
    #[tokio::test]
    async fn a_check_waits_for_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = UnixListener::from(socket);
        let _first = UnixStream::connect(&path).unwrap();
        let address = Address::Unix(path);
        let settings = BackendSettings { name: "main".to_owned(), address };
        let backend = Backend::new(&settings, ConnectionTimes::default(), Limits::default());
        let process = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let _first = listener.accept().unwrap();
            let (mut check, _) = listener.accept().unwrap();
            check.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").unwrap();
            let _ = check.read(&mut [0; 1000]);
        });
        check(&Connector::new(None), &backend).await.unwrap();
        process.join().unwrap();
    }

    #[test]
    fn a_verdict_needs_several_outcomes_in_a_row() {
        let table = [
            (&[true, true][..], Some(true)),
            (&[true], None),
            (&[false, false], None),
            (&[false, false, false], Some(false)),
            (&[false, false, true, false, false], None),
            (&[false, false, false, true], None),
            (&[false, false, false, true, true], Some(true)),
        ];
        for (outcomes, expected) in table {
            let mut verdict = Verdict::default();
            let last = outcomes.iter().map(|outcome| verdict.after(*outcome)).last().flatten();
            assert_eq!(last, expected, "{outcomes:?}");
        }
    }
}
