//! A server in Synapse's place, for bodies that would take Synapse's time and room on its disk. Its bodies follow a
//! pattern, so that a byte too many, too few or out of place is seen without keeping any.
//!
//! `GET` and `HEAD` of a path that ends in a number are answered with so many bytes, in chunks if the query says
//! `chunked`; every other request is answered with `{}` when its body is whole.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;

/// The pattern's length is a prime, so that it never falls into step with a buffer.
const PERIOD: usize = 65_521;
/// How long either side may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running stub. Its threads end with the test program.
pub struct MediaStub {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that had a body.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request line and the headers.
    pub head: Head,
    /// How long the body was.
    pub length: u64,
    /// Whether the body came to its end and was the pattern.
    pub is_whole: bool,
}

/// The bytes of all bodies.
pub struct Pattern(Vec<u8>);

/// The head of a message.
#[derive(Clone, Debug)]
pub struct Head {
    /// The request or status line.
    pub first: String,
    headers: Vec<(String, String)>,
}

/// Compares a body with the pattern as it comes.
pub struct Check {
    pattern: Pattern,
    /// How many bytes have come.
    pub length: u64,
    /// Whether all were as they should be.
    pub is_intact: bool,
}

impl MediaStub {
    /// Starts listening.
    pub fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Ok(MediaStub { port, seen })
    }

    /// The last request that had a body.
    pub fn last(&self) -> Result<Seen, Failed> {
        let seen = self.seen.lock().map_err(|_| "a thread of the stub panicked")?;
        seen.last().cloned().ok_or_else(|| "the stub has seen no body".into())
    }
}

impl Pattern {
    /// The pattern.
    pub fn new() -> Self {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let period: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
        Pattern(period.repeat(2))
    }

    /// So many bytes from a place, or as many as there are at once.
    pub fn at(&self, place: u64, most: usize) -> &[u8] {
        let start = (place % PERIOD as u64) as usize;
        &self.0[start..start + most.min(PERIOD)]
    }

    /// Writes a body of this length, in chunks if they are wanted.
    pub fn write(&self, stream: &mut impl Write, length: u64, chunked: bool) -> std::io::Result<()> {
        let mut written = 0;
        while written < length {
            let part = self.at(written, (length - written).min(PERIOD as u64) as usize);
            if chunked {
                write!(stream, "{:x}\r\n", part.len())?;
            }
            stream.write_all(part)?;
            if chunked {
                stream.write_all(b"\r\n")?;
            }
            written += part.len() as u64;
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n")?;
        }
        stream.flush()
    }
}

impl Head {
    /// Reads a head; `None` where the connection ended instead.
    pub fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Some(Head { first: lines.swap_remove(0), headers }))
    }

    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Reads the body that the head announces. `hear` is given each piece.
    pub fn read_body(&self, reader: &mut impl BufRead, mut hear: impl FnMut(&[u8])) -> std::io::Result<()> {
        if self.header("transfer-encoding") != "chunked" {
            let length = self.header("content-length").parse().unwrap_or(0);
            return read_exactly(reader, length, &mut hear);
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            read_exactly(reader, size, &mut hear)?;
            reader.read_line(&mut line)?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

impl Check {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Check { pattern: Pattern::new(), length: 0, is_intact: true }
    }

    /// Takes the next bytes.
    pub fn hear(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(PERIOD) {
            self.is_intact &= part == self.pattern.at(self.length, part.len());
            self.length += part.len() as u64;
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, length: u64, hear: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut left = length;
    let mut buffer = [0; 16 << 10];
    while left > 0 {
        let most = left.min(buffer.len() as u64) as usize;
        let read = reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        hear(&buffer[..read]);
        left -= read as u64;
    }
    Ok(())
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let Ok(writer) = stream.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(stream), writer);
    while let Ok(Some(head)) = Head::read(&mut reader) {
        if answer(&head, &mut reader, &mut writer, seen).is_err() {
            return;
        }
    }
}

fn answer(
    head: &Head,
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    seen: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut words = head.first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let ("GET" | "HEAD", Some(Ok(length))) = (method, path.rsplit('/').next().map(str::parse)) {
        let chunked = query == "chunked";
        let framing = if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {length}") };
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{framing}\r\n\r\n")?;
        return if method == "HEAD" { Ok(()) } else { Pattern::new().write(writer, length, chunked) };
    }
    if head.header("expect") == "100-continue" {
        write!(writer, "HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut check = Check::new();
    let outcome = head.read_body(reader, |bytes| check.hear(bytes));
    if method != "GET"
        && let Ok(mut seen) = seen.lock()
    {
        let is_whole = outcome.is_ok() && check.is_intact;
        seen.push(Seen { head: head.clone(), length: check.length, is_whole });
    }
    outcome?;
    write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}")
}
