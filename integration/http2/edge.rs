//! A dendron with TLS before two stubs, which answer as their paths say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::Failed;
use time::OffsetDateTime;

use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::stub::{Stub, read_body};
use crate::harness::tls::{Authority, Files};

/// How long an answer to `/hold` is waited for.
pub const HELD: Duration = Duration::from_millis(1500);
/// The bytes of the answer to `/large`.
pub const LARGE_BYTES: usize = 200_000;

/// The dendron, and what it needs.
pub struct Edge {
    pub dendron: Alone,
    pub port: u16,
    pub tls_port: u16,
    pub authority: Authority,
    _stubs: [Stub; 2],
    _folder: Folder,
}

impl Edge {
    /// Starts it, with so many descriptors if that is not left to the system.
    pub fn start(descriptors: Option<u32>) -> Result<Self, Failed> {
        Self::with("", descriptors)
    }

    /// Starts it with more settings.
    pub fn with(settings: &str, descriptors: Option<u32>) -> Result<Self, Failed> {
        let stubs = [Stub::start(behave)?, Stub::start(behave)?];
        let [port, tls_port, admin] = [free_port()?, free_port()?, free_port()?];
        let folder = Folder::with(&[])?;
        let files = Files::new(&folder.path(""), "edge");
        let authority = Authority::new(&folder.path(""))?;
        authority.sign(&files, OffsetDateTime::now_utc() + Duration::from_secs(86_400))?;
        let config = format!(
            "listeners:\n- address: '127.0.0.1:{port}'\n- address: '127.0.0.1:{tls_port}'\n  \
             tls: {{certificate: edge.pem, key: edge.key}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
             pools: {{main: ['{}', '{}']}}\n{settings}",
            stubs[0].url(),
            stubs[1].url()
        );
        folder.write("dendron.yaml", &config)?;
        let (config, output) = (folder.path("dendron.yaml"), folder.path("output"));
        let dendron = match descriptors {
            Some(count) => Alone::limited(&config, admin, &output, count)?,
            None => Alone::start(&config, admin, &output)?,
        };
        Ok(Edge { dendron, port, tls_port, authority, _stubs: stubs, _folder: folder })
    }
}

fn behave(head: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let lower = head.to_ascii_lowercase();
    if path == "/hold" {
        std::thread::sleep(HELD);
        return answer(stream, b"{}");
    }
    if lower.contains("\r\nexpect: 100-continue\r\n") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let chunked = lower.contains("\r\ntransfer-encoding: chunked\r\n");
    let body = if chunked { read_chunks(stream)? } else { read_body(head, stream)? };
    match (method, path) {
        ("HEAD", _) => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (_, "/large") => answer(stream, &vec![b'x'; LARGE_BYTES]),
        (_, "/length") => answer(stream, body.len().to_string().as_bytes()),
        (_, "/cookies") => {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let cookies = lines.filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
            answer(stream, cookies.map(|(_, value)| value).collect::<Vec<_>>().join("|").as_bytes())
        }
        ("POST", _) => answer(stream, &body),
        _ => answer(stream, b"{}"),
    }
}

fn answer(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
    stream.write_all(body)
}

/// A body in chunks, as dendron sends it: without extensions or trailers.
fn read_chunks(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16);
        let size = size.map_err(std::io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
