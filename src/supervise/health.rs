//! Whether a process that has just started answers `GET /health`.
//!
//! This is asked until the first good answer only. Watching the health of a running process is the business of
//! `upstream`, which sends requests elsewhere; the supervisor never ends a process for its health.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::upstream::Address;

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(250);

/// After this long an answer is given up.
const TIMEOUT: Duration = Duration::from_secs(5);

/// As much of an answer as holds the status: `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nUser-Agent: dendron\r\nConnection: close\r\n\r\n";

/// Returns once the process answers that it is well.
pub(super) async fn until_healthy(address: &Address) {
    while !is_healthy(address).await {
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether the process answers now, with status 200.
async fn is_healthy(address: &Address) -> bool {
    matches!(tokio::time::timeout(TIMEOUT, status(address)).await, Ok(Ok(200)))
}

async fn status(address: &Address) -> io::Result<u16> {
    match address {
        Address::Tcp { host, port } => ask(TcpStream::connect((host.as_str(), *port)).await?).await,
        Address::Unix(path) => ask(UnixStream::connect(path).await?).await,
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u16> {
    stream.write_all(REQUEST).await?;
    let mut start = [0; STATUS_BYTES];
    stream.read_exact(&mut start).await?;
    read_status(&start).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The status in the first bytes of an answer.
fn read_status(start: &[u8]) -> Option<u16> {
    let rest = start.strip_prefix(b"HTTP/1.")?;
    let status = std::str::from_utf8(rest.get(2..)?).ok()?;
    if rest.get(1) != Some(&b' ') || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    status.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::net::{TcpListener, UnixListener};

    #[test]
    fn the_status_is_read() {
        let table: [(&[u8], Option<u16>); 7] = [
            (b"HTTP/1.1 200", Some(200)),
            (b"HTTP/1.0 503", Some(503)),
            (b"HTTP/1.1 2OO", None),
            (b"HTTP/1.1 +20", None),
            (b"HTTP/1.1_200", None),
            (b"HTTP/2 200 O", None),
            (b"SSH-2.0-Open", None),
        ];
        for (start, expected) in table {
            assert_eq!(read_status(start), expected, "{}", String::from_utf8_lossy(start));
        }
    }

    #[tokio::test]
    async fn a_process_is_healthy_once_it_answers_200() {
        let directory = tempfile::tempdir().expect("makes a folder");
        let path = directory.path().join("health.sock");
        let address = Address::Unix(path.clone());
        assert!(!is_healthy(&address).await, "nobody listens yet");
        let listener = UnixListener::bind(&path).expect("binds");
        let answers = async {
            for answer in ["HTTP/1.1 503 Busy\r\n\r\n", "", "HTTP/1.1 200 OK\r\n\r\nOK"] {
                let (mut stream, _) = listener.accept().await.expect("accepts");
                let mut request = vec![0; REQUEST.len()];
                stream.read_exact(&mut request).await.expect("reads");
                assert_eq!(request, REQUEST);
                stream.write_all(answer.as_bytes()).await.expect("writes");
            }
        };
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(until_healthy(&address), answers) })
            .await
            .expect("is healthy after the third answer");
    }

    #[tokio::test]
    async fn health_is_asked_over_tcp_as_well() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("is bound").port();
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
        let answer = async {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("writes");
        };
        let (healthy, ()) = tokio::join!(is_healthy(&address), answer);
        assert!(healthy);
    }
}
