//! What clients do before their first request: TLS handshakes that stall or fail, and clients that leave without a word.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use time::OffsetDateTime;

use crate::Test;
use crate::harness::alone::{Alone, Edge, Folder};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, MAGIC, Next, SETTINGS, block, frame, setting, status,
};
use crate::harness::stub::{EMPTY, Stub};
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("handshakes::a_stalled_one_ends_in_time", |_| a_stalled_one_ends_in_time()),
    ("handshakes::clients_that_leave_are_no_errors", |_| clients_that_leave_are_no_errors()),
    ("handshakes::tunnels_are_refused_over_http2_as_well", |_| tunnels_are_refused_over_http2_as_well()),
];

/// How long a handshake may take where that matters.
const HANDSHAKE: Duration = Duration::from_secs(2);
const HALF_A_HEAD: &[u8] = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: loc";

/// A dendron with an encrypted listener before a stub.
struct Encrypted {
    edge: Edge,
    authority: Authority,
    _stub: Stub,
    _folder: Folder,
}

impl Encrypted {
    fn start(settings: &str) -> Result<Self, Failed> {
        let folder = Folder::with(&[])?;
        let authority = Authority::new(&folder.path(""))?;
        let files = Files::new(&folder.path(""), "edge");
        authority.sign(&files, OffsetDateTime::now_utc() + Duration::from_secs(86_400))?;
        let listener =
            format!(", tls: {{certificate: '{}', key: '{}'}}", files.certificate.display(), files.key.display());
        let stub = Stub::start(|_, stream| stream.write_all(EMPTY))?;
        let settings = format!("pools: {{main: ['{}']}}\n{settings}", stub.url());
        let edge = Edge::with_listener(&listener, &settings, Alone::start)?;
        Ok(Encrypted { edge, authority, _stub: stub, _folder: folder })
    }

    fn connect(&self) -> Result<TcpStream, Failed> {
        connect(&self.edge)
    }

    fn failed(&self) -> Result<f64, Failed> {
        self.edge.metric("dendron_tls_handshakes_failed_total", &[])
    }

    /// What a client says first.
    fn hello(&self) -> Result<Vec<u8>, Failed> {
        let mut hello = Vec::new();
        self.authority.client(&[])?.write_tls(&mut hello)?;
        Ok(hello)
    }
}

fn connect(edge: &Edge) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(("127.0.0.1", edge.port))?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

fn wait_for_open(edge: &Edge, count: f64) -> Result<(), Failed> {
    eventually(SOON, || {
        ensure_eq!(edge.metric("dendron_connections", &[])?, count, "open connections");
        Ok(())
    })
}

/// One client says nothing, one stops within its first word, and one says that word byte by byte.
fn a_stalled_one_ends_in_time() -> Result<(), Failed> {
    let target = Encrypted::start("timeouts: {client: {head: 2s}}\n")?;
    let hello = target.hello()?;
    let mut silent = target.connect()?;
    let mut stalled = target.connect()?;
    stalled.write_all(&hello[..hello.len() / 2])?;
    let mut slow = target.connect()?;
    wait_for_open(&target.edge, 3.0)?;
    let begun = Instant::now();
    for byte in &hello {
        if begun.elapsed() > 2 * HANDSHAKE || slow.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(HANDSHAKE / 20);
    }
    for stream in [&mut silent, &mut stalled] {
        ensure_eq!(stream.read(&mut [0; 16])?, 0, "bytes for a client that stalls");
    }
    // What it sent meanwhile may have met a closed connection, which is told as a reset.
    ensure!(slow.read(&mut [0; 16]).unwrap_or(0) == 0, "bytes for a client that is slow");
    let took = begun.elapsed();
    ensure!(took >= HANDSHAKE - HANDSHAKE / 4 && took < 3 * HANDSHAKE, "it took {took:?}");
    wait_for_open(&target.edge, 0.0)?;
    ensure_eq!(target.failed()?, 3.0, "failed handshakes");
    // The time of the handshake is not the connection's.
    let mut good = target.authority.connect(target.edge.port)?;
    std::thread::sleep(HANDSHAKE + HANDSHAKE / 4);
    good.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut start = [0; 12];
    good.read_exact(&mut start)?;
    ensure_eq!(&start, b"HTTP/1.1 200", "the answer over TLS");
    Ok(())
}

/// Whoever scans ports, or closes a laptop, is counted, and writes no line into the log.
fn clients_that_leave_are_no_errors() -> Result<(), Failed> {
    for front in ["", "front: off\n"] {
        let target = Encrypted::start(front)?;
        let hello = target.hello()?;
        let first_words: [&[u8]; 3] = [b"", &hello[..hello.len() / 2], b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"];
        for words in first_words {
            let mut stream = target.connect()?;
            stream.write_all(words)?;
            stream.shutdown(Shutdown::Write)?;
            // An alert, or nothing.
            let _ = stream.read_to_end(&mut Vec::new());
        }
        eventually(SOON, || {
            ensure_eq!(target.failed()?, 3.0, "failed handshakes");
            Ok(())
        })?;
        // After the handshake: nothing, half a head, half a preface of HTTP/2.
        drop(target.authority.connect(target.edge.port)?);
        target.authority.connect(target.edge.port)?.write_all(HALF_A_HEAD)?;
        drop(Http2::connect(&target.authority, target.edge.port)?);
        Http2::connect(&target.authority, target.edge.port)?.send(&MAGIC[..10]);
        wait_for_open(&target.edge, 0.0)?;
        ensure_eq!(target.failed()?, 3.0, "failed handshakes");
        ensure_silent(&target.edge.dendron.stop()?, front)?;

        let plain = Edge::start(&format!("pools: {{main: ['http://127.0.0.1:1']}}\n{front}"))?;
        drop(connect(&plain)?);
        connect(&plain)?.write_all(HALF_A_HEAD)?;
        wait_for_open(&plain, 0.0)?;
        ensure_silent(&plain.dendron.stop()?, front)?;
    }
    Ok(())
}

fn ensure_silent(said: &str, front: &str) -> Result<(), Failed> {
    let told: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    ensure!(told.is_empty(), "with {front:?} the log has {told:#?}");
    Ok(())
}

/// Pingora would refuse them with a bare status.
fn tunnels_are_refused_over_http2_as_well() -> Result<(), Failed> {
    for front in ["", "front: off\n"] {
        let target = Encrypted::start(front)?;
        let mut client = Http2::connect(&target.authority, target.edge.port)?;
        let tunnel = block(&[(":method", "CONNECT"), (":authority", "localhost:22")]);
        client.send(&[MAGIC, &frame(SETTINGS, 0, 0, &setting(1, 0))].concat());
        client.send(&frame(HEADERS, END_HEADERS, 1, &tunnel));
        let (mut answered, mut body) = (None, Vec::new());
        while let Next::Frame(frame) = client.next(SOON) {
            if frame.stream == 1 && frame.kind == HEADERS {
                answered = status(&frame.payload);
            } else if frame.stream == 1 {
                body.extend_from_slice(&frame.payload);
            }
            if frame.stream == 1 && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        ensure_eq!(answered, Some(405), "status");
        let body = String::from_utf8_lossy(&body).into_owned();
        ensure!(body.contains("\"errcode\":\"M_UNRECOGNIZED\""), "{body}");
        client.send(&frame(DATA, END_STREAM, 1, b""));
        eventually(SOON, || {
            let labels = [("answered_by", "edge"), ("code", "405")];
            ensure_eq!(target.edge.metric("dendron_requests_total", &labels)?, 1.0, "counted");
            Ok(())
        })?;
    }
    Ok(())
}
