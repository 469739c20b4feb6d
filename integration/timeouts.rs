//! It is silence that ends a request, never its length. A Synapse cannot be made to trickle, so a stub stands in for it,
//! and a class's patience, or that with clients, is shortened to a second.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;

use crate::Test;
use crate::harness::alone::Edge;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::stub::{EMPTY, Stub, read_body};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("timeouts::upload_that_moves_is_not_cut", |_| upload_that_moves()),
    ("timeouts::download_that_moves_is_not_cut", |_| download_that_moves()),
    ("timeouts::silence_is_given_up", |_| silence_is_given_up()),
    ("timeouts::a_sync_is_given_its_own_timeout", |_| sync_is_given_its_own_timeout()),
    ("timeouts::a_client_that_says_nothing_is_let_go", |_| client_that_says_nothing()),
    ("timeouts::a_client_that_takes_nothing_is_let_go", |_| client_that_takes_nothing()),
];

/// The patience of the classes in question, and what a whole transfer takes at least: several times that.
const PATIENCE: Duration = Duration::from_secs(1);
const TRANSFER: Duration = Duration::from_secs(3);
const PIECES: u32 = 12;

/// A dendron with little patience before a stub.
struct Impatient {
    edge: Edge,
    _stub: Stub,
}

impl Impatient {
    fn before(stub: Stub) -> Result<Self, Failed> {
        let settings = format!(
            "pools: {{main: [\"{}\"]}}\ntimeouts: {{classes: {{media_upload: 1s, media: 1s, client_read: 1s, sync: 1s}}}}\n",
            stub.url()
        );
        Ok(Impatient { edge: Edge::start(&settings)?, _stub: stub })
    }

    fn stop(self) -> Result<(), Failed> {
        self.edge.dendron.stop().map(drop)
    }
}

fn upload_that_moves() -> Result<(), Failed> {
    let impatient = Impatient::before(Stub::start(|head, stream| {
        read_body(head, stream)?;
        stream.write_all(EMPTY)
    })?)?;
    let mut client = TcpStream::connect(("127.0.0.1", impatient.edge.port))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head = format!(
        "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        PIECES * 1000
    );
    client.write_all(head.as_bytes())?;
    let begun = Instant::now();
    for _ in 0..PIECES {
        client.write_all(&[b'x'; 1000])?;
        std::thread::sleep(TRANSFER / PIECES);
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    ensure!(begun.elapsed() > 2 * PATIENCE, "the upload was too quick to show anything");
    impatient.stop()
}

fn download_that_moves() -> Result<(), Failed> {
    let impatient = Impatient::before(Stub::start(|_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * 1000);
        stream.write_all(head.as_bytes())?;
        for _ in 0..PIECES {
            stream.write_all(&[b'x'; 1000])?;
            std::thread::sleep(TRANSFER / PIECES);
        }
        Ok(())
    })?)?;
    let begun = Instant::now();
    let answer = impatient.edge.client.get("/_matrix/client/v1/media/download/a.example/b")?;
    ensure_eq!(answer.body.len(), PIECES as usize * 1000, "bytes");
    ensure!(begun.elapsed() > 2 * PATIENCE, "the download was too quick to show anything");
    impatient.stop()
}

fn silence_is_given_up() -> Result<(), Failed> {
    let impatient = Impatient::before(Stub::start(|_, _| {
        std::thread::sleep(TRANSFER * 3);
        Ok(())
    })?)?;
    let begun = Instant::now();
    let answer = impatient.edge.client.get("/_matrix/client/v3/capabilities")?;
    ensure_eq!(answer.status, 504, "{}", answer.text());
    ensure_eq!(answer.json()["errcode"], json!("M_UNKNOWN"), "errcode");
    ensure_eq!(answer.header("access-control-allow-origin"), "*", "CORS");
    ensure!(begun.elapsed() >= PATIENCE && begun.elapsed() < 3 * PATIENCE, "it took {:?}", begun.elapsed());
    impatient.stop()
}

fn sync_is_given_its_own_timeout() -> Result<(), Failed> {
    let impatient = Impatient::before(Stub::start(|_, stream| {
        std::thread::sleep(TRANSFER);
        stream.write_all(EMPTY)
    })?)?;
    // With the margin of a second, a poll of three is waited for four, and one of half a second is not.
    let answer = impatient.edge.client.get("/_matrix/client/v3/sync?since=s1&timeout=3000")?;
    ensure_eq!(answer.status, 200, "{}", answer.text());
    let begun = Instant::now();
    let answer = impatient.edge.client.get("/_matrix/client/v3/sync?since=s1&timeout=500")?;
    ensure_eq!(answer.status, 504, "{}", answer.text());
    ensure!(begun.elapsed() < TRANSFER, "it took {:?}", begun.elapsed());
    impatient.stop()
}

/// A dendron that lets clients go after a second, before a stub.
fn before_quick_clients(stub: &Stub) -> Result<Edge, Failed> {
    let times = "timeouts: {client: {idle: 1s, silence: 1s}}";
    Edge::start(&format!("pools: {{main: ['{}']}}\n{times}\n", stub.url()))
}

fn client_that_says_nothing() -> Result<(), Failed> {
    let stub = Stub::start(|head, stream| {
        read_body(head, stream)?;
        stream.write_all(EMPTY)
    })?;
    let edge = before_quick_clients(&stub)?;
    let upload = "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxxxx";
    let table = [
        // Between two requests: the connection ends without a word.
        ("GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 "),
        // In the middle of a body: the client is told.
        (upload, "HTTP/1.1 408 "),
    ];
    for (said, expected) in table {
        let mut client = TcpStream::connect(("127.0.0.1", edge.port))?;
        client.set_read_timeout(Some(SOON))?;
        client.write_all(said.as_bytes())?;
        let begun = Instant::now();
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        let waited = begun.elapsed();
        ensure!(answer.starts_with(expected), "{said}: {answer}");
        ensure_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{said}: {answer}");
        ensure!(waited >= PATIENCE && waited < 4 * PATIENCE, "{said}: it took {waited:?}");
    }
    edge.dendron.stop().map(drop)
}

fn client_that_takes_nothing() -> Result<(), Failed> {
    let stub = Stub::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        (0..1000).try_for_each(|_| stream.write_all(&[b'x'; 100_000]))
    })?;
    let edge = before_quick_clients(&stub)?;
    let mut client = TcpStream::connect(("127.0.0.1", edge.port))?;
    client.write_all(b"GET /_matrix/client/v1/media/download/a.example/b HTTP/1.1\r\nHost: a\r\n\r\n")?;
    eventually(SOON, || {
        ensure_eq!(edge.metric("dendron_in_flight_requests", &[])?, 1.0, "in flight");
        Ok(())
    })?;
    let begun = Instant::now();
    eventually(SOON, || {
        ensure_eq!(edge.metric("dendron_connections", &[])?, 0.0, "connections");
        ensure_eq!(edge.metric("dendron_in_flight_requests", &[])?, 0.0, "in flight");
        Ok(())
    })?;
    ensure!(begun.elapsed() < 5 * PATIENCE, "it took {:?}", begun.elapsed());
    drop(client);
    edge.dendron.stop().map(drop)
}
