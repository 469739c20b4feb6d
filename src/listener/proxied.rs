//! Reads a connection's PROXY header, and makes the client that it names the connection's peer.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::proxy_protocol::{Header, HeaderError, parse};

/// How long the header may take: load balancers send it with the first bytes.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxiedError {
    /// It has no good header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It ended, or failed, before its header was whole.
    #[error("the connection ended within the PROXY header: {0}")]
    Ended(io::Error),
    /// It ended without a byte, which is how load balancers look whether somebody listens.
    #[error("the connection ended before the PROXY header")]
    Empty,
    /// It was silent for too long.
    #[error("the PROXY header did not come in time")]
    Late,
}

/// Reads the header. What stands behind it is there to be read again.
pub(super) async fn receive(stream: &mut Stream) -> Result<(), ProxiedError> {
    let header = timeout(DEADLINE, read(stream)).await.map_err(|_| ProxiedError::Late)??;
    let Some(client) = header.client else { return Ok(()) };
    // What Pingora noted of the peer cannot be changed, so it is noted anew.
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _ = digest.peer_addr.set(Some(SocketAddr::Inet(client)));
    stream.set_socket_digest(digest);
    Ok(())
}

async fn read(stream: &mut Stream) -> Result<Header, ProxiedError> {
    let mut bytes = Vec::new();
    let mut part = [0; 512];
    loop {
        let count = stream.read(&mut part).await.map_err(ProxiedError::Ended)?;
        if count == 0 && bytes.is_empty() {
            return Err(ProxiedError::Empty);
        } else if count == 0 {
            return Err(ProxiedError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        bytes.extend_from_slice(&part[..count]);
        // The parser refuses a header that is too long, which bounds these bytes.
        if let Some(header) = parse(&bytes)? {
            stream.rewind(&bytes[header.length..]);
            return Ok(header);
        }
    }
}
