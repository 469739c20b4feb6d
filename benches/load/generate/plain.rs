//! One HTTP/1 request over a connection, and its whole answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::mix::Request;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;

/// A connection that carries one request after the other.
pub(crate) struct Connection {
    stream: TcpStream,
    arrived: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The process that says that it has answered.
    pub(crate) served_by: Option<String>,
    pub(crate) body_bytes: u64,
}

/// A head, and how its body is framed.
struct Head {
    status: u16,
    served_by: Option<String>,
    bytes: usize,
    length: Option<u64>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, arrived: Vec::new() })
    }

    /// Sends these bytes and reads the answer to its end.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        self.answer()
    }

    /// Sends more of a request.
    pub(crate) fn send(&mut self, part: &[u8]) -> io::Result<()> {
        self.stream.write_all(part)
    }

    /// Reads an answer to its end.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut room = vec![0; READ_BYTES];
        let head = loop {
            if let Some(head) = parse(&self.arrived)? {
                break head;
            }
            let count = self.read(&mut room)?;
            self.arrived.extend_from_slice(&room[..count]);
        };
        self.arrived.drain(..head.bytes);
        let body_bytes = match head.length {
            Some(length) => self.skip(length, &mut room)?,
            None => self.skip_chunks(&mut room)?,
        };
        Ok(Answer { status: head.status, served_by: head.served_by, body_bytes })
    }

    fn skip(&mut self, length: u64, room: &mut [u8]) -> io::Result<u64> {
        let here = self.arrived.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.arrived.drain(..here);
        let mut left = length - here as u64;
        while left > 0 {
            let count = self.read(room)?;
            let own = count.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.arrived.extend_from_slice(&room[own..count]);
            left -= own as u64;
        }
        Ok(length)
    }

    fn skip_chunks(&mut self, room: &mut [u8]) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            match httparse::parse_chunk_size(&self.arrived).map_err(|_| ErrorKind::InvalidData)? {
                httparse::Status::Complete((line, size)) => {
                    self.skip(line as u64 + size + 2, room)?;
                    bytes += size;
                    if size == 0 {
                        return Ok(bytes);
                    }
                }
                httparse::Status::Partial => {
                    let count = self.read(room)?;
                    self.arrived.extend_from_slice(&room[..count]);
                }
            }
        }
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(room)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// A request as it is sent.
pub(crate) fn bytes(request: &Request) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: example.org\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
    }
    format!("{text}\r\n{}", request.body).into_bytes()
}

fn parse(arrived: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(arrived).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let status = response.code.unwrap_or_default();
    let length = match value("content-length") {
        _ if status == 204 || status < 200 => Some(0),
        length => length.and_then(|length| length.parse().ok()),
    };
    Ok(Some(Head { status, served_by: value("x-served-by").map(str::to_owned), bytes, length }))
}
