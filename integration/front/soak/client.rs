//! One client of the soak: a connection, plain or encrypted, what was asked on it, and what came.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::net::sockopt::set_socket_linger;

use super::requests::Asked;
use crate::front::edge::Edge;
use crate::harness::numbers::Numbers;
use crate::harness::{ensure, tls};

/// How long an answer is waited for: the machine may be busy, and Synapse with it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most pieces that a request is cut into.
const PIECES_MAX: usize = 4;

/// A connection.
enum Wire {
    Plain(TcpStream),
    Encrypted(Box<tls::Connection>),
}

pub struct Client {
    wire: Wire,
    /// What has come and was not looked at.
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    pub fn connect(edge: &Edge, is_encrypted: bool) -> Result<Self, Failed> {
        let wire = match is_encrypted {
            true => Wire::Encrypted(Box::new(edge.authority.connect(edge.tls_port)?)),
            false => Wire::Plain(TcpStream::connect(("127.0.0.1", edge.port))?),
        };
        let client = Client { wire, received: Vec::new() };
        client.stream().set_nodelay(true)?;
        client.stream().set_read_timeout(Some(PATIENCE))?;
        client.stream().set_write_timeout(Some(PATIENCE))?;
        Ok(client)
    }

    fn stream(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Encrypted(connection) => &connection.sock,
        }
    }

    pub fn send(&mut self, bytes: Vec<u8>, numbers: &mut Numbers) -> Result<(), Failed> {
        for piece in numbers.cut(bytes, PIECES_MAX) {
            self.wire.write_all(&piece)?;
            self.wire.flush()?;
        }
        Ok(())
    }

    /// The next answer; `is_bodiless` if it has a length and no body.
    pub fn answer(&mut self, is_bodiless: bool) -> Result<Answer, Failed> {
        loop {
            if let Some(answer) = self.take_answer(is_bodiless)? {
                return Ok(answer);
            }
            let count = self.read()?;
            ensure!(count > 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// The answers to what was asked, in their order.
    pub fn expect(&mut self, asked: &[Asked]) -> Result<(), Failed> {
        asked.iter().try_for_each(|asked| asked.is_answered_by(&self.answer(asked.is_bodiless)?))
    }

    /// Fails unless these bytes come next.
    pub fn expect_bytes(&mut self, expected: &[u8]) -> Result<(), Failed> {
        while self.received.len() < expected.len() {
            ensure!(self.read()? > 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.received));
        }
        let came: Vec<u8> = self.received.drain(..expected.len()).collect();
        ensure!(came == expected, "{:?} came", String::from_utf8_lossy(&came));
        Ok(())
    }

    /// Throws away what is left of a head.
    pub fn skip_head(&mut self) -> Result<(), Failed> {
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                self.received.drain(..end + 4);
                return Ok(());
            }
            ensure!(self.read()? > 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Reads until the connection ends.
    pub fn read_out(&mut self) -> Result<(), Failed> {
        while self.read()? > 0 {}
        Ok(())
    }

    /// Fails unless the connection ends now.
    pub fn expect_end(&mut self) -> Result<(), Failed> {
        self.read_out()?;
        ensure!(self.received.is_empty(), "{:?} came in the end", String::from_utf8_lossy(&self.received));
        Ok(())
    }

    /// Sends no more.
    pub fn finish(&mut self) -> Result<(), Failed> {
        Ok(self.stream().shutdown(Shutdown::Write)?)
    }

    /// Goes without a word, in the way that leaves nothing behind, or as a program does that ends.
    pub fn abort(self, is_reset: bool) {
        if is_reset {
            let _ = set_socket_linger(self.stream(), Some(Duration::ZERO));
        }
    }

    fn take_answer(&mut self, is_bodiless: bool) -> Result<Option<Answer>, Failed> {
        let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        let named = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = if is_bodiless { 0 } else { named.unwrap_or("0").trim().parse()? };
        let behind = &self.received[end + 4..];
        let body = match head.contains("\r\ntransfer-encoding: chunked") && !is_bodiless {
            true => unchunked(behind)?,
            false => behind.get(..length).map(|body| (body.to_vec(), length)),
        };
        let Some((body, length)) = body else { return Ok(None) };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
        ensure!(head.starts_with("http/1.1 "), "an answer begins with {head:?}");
        self.received.drain(..end + 4 + length);
        Ok(Some(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() }))
    }

    /// How many bytes came; none at the end.
    fn read(&mut self) -> Result<usize, Failed> {
        let mut part = [0; 4096];
        let count = match self.wire.read(&mut part) {
            Ok(count) => count,
            // An end without a word, or with one that does not matter here.
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => 0,
            Err(error) => return Err(error.into()),
        };
        self.received.extend_from_slice(&part[..count]);
        Ok(count)
    }
}

/// A body that comes in chunks, and how many bytes that was; `None` if it is not whole yet.
fn unchunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Failed> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line])?, 16)?;
        let begin = at + line + 2;
        let Some(chunk) = bytes.get(begin..begin + size + 2) else { return Ok(None) };
        ensure!(chunk.ends_with(b"\r\n"), "a chunk ends with {chunk:?}");
        body.extend_from_slice(&chunk[..size]);
        at = begin + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

impl Answer {
    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Encrypted(connection) => connection.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Encrypted(connection) => connection.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Encrypted(connection) => connection.flush(),
        }
    }
}
