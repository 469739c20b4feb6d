//! Listeners behind a load balancer that names the client in a PROXY header.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustls::StreamOwned;

use crate::Test;
use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::stack::Stack;
use crate::harness::stub::Stub;
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("proxy_protocol::the_named_client_is_the_peer", |_| the_named_client_is_the_peer()),
    ("proxy_protocol::without_a_header_it_is_closed", |_| without_a_header_it_is_closed()),
    ("proxy_protocol::synapse_logs_the_named_client", |stacks| stacks.on_monolith(synapse_logs_the_named_client)),
];

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";
/// 203.0.113.8, with an extension behind the addresses.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12\xcb\0\x71\x08\x0a\0\0\x01\xdc\x04\x01\xbb\x04\0\x03abc";
/// A health check of the load balancer's own.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const CLOSING: &str = "GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";

/// A dendron with a plain and an encrypted listener behind a load balancer, before a stub that answers with the address
/// that it is told.
struct Edge {
    plain: u16,
    encrypted: u16,
    dendron: Alone,
    authority: Authority,
    _stub: Stub,
    _folder: Folder,
}

impl Edge {
    fn start() -> Result<Self, Failed> {
        let stub = Stub::start(|head, stream| {
            let lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("x-forwarded-for:"));
            let said = lines.collect::<Vec<_>>().join("; ").to_ascii_lowercase();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", said.len());
            stream.write_all((head + &said).as_bytes())
        })?;
        let folder = Folder::with(&[])?;
        let authority = Authority::new(&folder.path(""))?;
        let files = Files::new(&folder.path(""), "edge");
        authority.sign(&files, time::OffsetDateTime::now_utc() + time::Duration::days(2))?;
        let [plain, encrypted, admin] = [free_port()?, free_port()?, free_port()?];
        let config = format!(
            "listeners:\n- {{address: '127.0.0.1:{plain}', proxy_protocol: true}}\n\
             - {{address: '127.0.0.1:{encrypted}', proxy_protocol: true, tls: {{certificate: edge.pem, key: edge.key}}}}\n\
             admin: {{address: '127.0.0.1:{admin}'}}\npools: {{main: ['{}']}}\ntrusted_proxies: [203.0.113.8]\n",
            stub.url()
        );
        folder.write("dendron.yaml", &config)?;
        let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
        Ok(Edge { plain, encrypted, dendron, authority, _stub: stub, _folder: folder })
    }

    /// What is answered to a header and a request.
    fn over_tcp(&self, parts: &[&[u8]]) -> Result<String, Failed> {
        let mut stream = connect(self.plain)?;
        for part in parts {
            stream.write_all(part)?;
            std::thread::sleep(Duration::from_millis(30));
        }
        read(&mut stream)
    }

    /// The same with a handshake in between.
    fn over_tls(&self, header: &[u8], request: &[u8]) -> Result<String, Failed> {
        let mut stream = connect(self.encrypted)?;
        stream.write_all(header)?;
        let mut client = self.authority.client(&[])?;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(request)?;
        read(&mut stream)
    }
}

fn connect(port: u16) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

/// All that comes until the connection ends, which it must.
fn read(stream: &mut impl Read) -> Result<String, Failed> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn the_named_client_is_the_peer() -> Result<(), Failed> {
    let edge = Edge::start()?;
    let table: [(&[u8], &str, &str); 7] = [
        (V1, "", "203.0.113.7"),
        (V2, "", "203.0.113.8"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "", "2001:db8::7"),
        (LOCAL, "", "127.0.0.1"),
        (UNKNOWN, "", "127.0.0.1"),
        // A client is not believed what it writes; a client that is a trusted proxy is.
        (V1, "X-Forwarded-For: 198.51.100.1\r\n", "203.0.113.7"),
        (V2, "X-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1"),
    ];
    for (header, more, client) in table {
        let request = format!("{CLOSING}{more}\r\n");
        let expected = format!("x-forwarded-for: {client}");
        let name = header.escape_ascii();
        let answers = [
            edge.over_tcp(&[header, request.as_bytes()])?,
            // With the request in one piece, and byte by byte.
            edge.over_tcp(&[&[header, request.as_bytes()].concat()])?,
            edge.over_tcp(&header.chunks(1).chain([request.as_bytes()]).collect::<Vec<_>>())?,
            edge.over_tls(header, request.as_bytes())?,
        ];
        for (number, answer) in answers.iter().enumerate() {
            ensure!(answer.starts_with("HTTP/1.1 200 "), "{name}, way {number}: {answer}");
            ensure_eq!(answer.rsplit("\r\n\r\n").next(), Some(expected.as_str()), "{name} {more:?}, way {number}");
        }
    }
    // It is the connection's client, so it is that of its second request as well.
    let twice = format!("GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n{CLOSING}\r\n");
    let mut stream = connect(edge.plain)?;
    stream.write_all(&[V1, &twice.as_bytes()[..41]].concat())?;
    let mut first = [0; 1024];
    let count = stream.read(&mut first)?;
    stream.write_all(&twice.as_bytes()[41..])?;
    let said = String::from_utf8_lossy(&first[..count]).into_owned() + &read(&mut stream)?;
    ensure_eq!(said.matches("203.0.113.7").count(), 2, "both answers: {said}");
    let said = edge.dendron.stop()?;
    ensure!(said.contains(" 203.0.113.7 GET "), "the access log: {said}");
    Ok(())
}

fn without_a_header_it_is_closed() -> Result<(), Failed> {
    let edge = Edge::start()?;
    let request = format!("{CLOSING}\r\n");
    let oversize = [&V2[..14], &[0xff, 0xff], &[0; 600]].concat();
    let table: [&[u8]; 6] = [
        request.as_bytes(),
        b"PROXY TCP4 203.0.113.7\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &oversize,
        &[b'\0'; 2000],
        b"PROXY UNKNOWN xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    for port in [edge.plain, edge.encrypted] {
        for bytes in table {
            let begun = Instant::now();
            let mut stream = connect(port)?;
            stream.write_all(bytes)?;
            // What was not read makes the end a reset.
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            ensure!(answer.is_empty(), "{}: {}", bytes.escape_ascii(), String::from_utf8_lossy(&answer));
            ensure!(begun.elapsed() < Duration::from_secs(4), "{} waits", bytes.escape_ascii());
        }
        // Who does not finish the header is not waited for long.
        let begun = Instant::now();
        let mut stream = connect(port)?;
        stream.write_all(&V1[..20])?;
        ensure_eq!(read(&mut stream)?, "", "the answer to half a header");
        let waited = begun.elapsed();
        ensure!(waited > Duration::from_secs(4) && waited < Duration::from_secs(9), "it was closed after {waited:?}");
    }
    // The look of a load balancer whether somebody listens.
    drop(connect(edge.plain)?);
    let said = edge.dendron.stop()?;
    ensure_eq!(said.matches("this listener has proxy_protocol").count(), 1, "it is said once: {said}");
    Ok(())
}

fn synapse_logs_the_named_client(stack: &mut Stack) -> Result<(), Failed> {
    let main = stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default().to_owned();
    let [port, admin] = [free_port()?, free_port()?];
    let config = format!(
        "listeners: [{{address: '127.0.0.1:{port}', proxy_protocol: true}}]\n\
         admin: {{address: '127.0.0.1:{admin}'}}\npools: {{main: ['{main}']}}\n"
    );
    let folder = Folder::with(&[("dendron.yaml", &config)])?;
    let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
    for (header, client) in [(V1, "203.0.113.7"), (V2, "203.0.113.8")] {
        let mut stream = connect(port)?;
        stream.write_all(header)?;
        stream.write_all(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let answer = read(&mut stream)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        eventually(SOON, || {
            let log = stack.synapse_log("main")?;
            ensure!(log.lines().any(|line| line.contains(client)), "Synapse's log does not name {client}");
            Ok(())
        })?;
    }
    dendron.stop().map(drop)
}
