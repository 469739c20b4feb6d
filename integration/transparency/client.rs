//! A client that sends what a library would not, and shows an answer as it came.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::Failed;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer: its headers in the order in which they came, its body without the framing of one hop.
#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Sends one request as it is, and reads until the server ends the connection.
pub fn send(address: &str, request: &[u8]) -> Result<Answer, Failed> {
    send_patiently(address, request, PATIENCE)
}

/// The same where the server may be silent for so long.
pub fn send_patiently(address: &str, request: &[u8], patience: Duration) -> Result<Answer, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    // Whatever came before a silence or a reset is the answer, or none.
    let _ = stream.read_to_end(&mut bytes);
    let unreadable = || Failed::from(format!("no answer: {}", bytes.escape_ascii()));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(unreadable)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let body = &bytes[end + 4..];
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if is_chunked { dechunked(body).ok_or_else(unreadable)? } else { body.to_vec() };
    Ok(Answer { status, headers, body })
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    // An answer to HEAD names a coding and has no body.
    while !rest.is_empty() {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        let chunk = rest.get(end + 2..)?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(chunk.get(..size)?);
        rest = chunk.get(size + 2..)?;
    }
    Some(body)
}
