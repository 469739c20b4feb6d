//! Connections of clients: the bound that follows from the limit of open files, and what becomes of those beyond it.
//!
//! - `dead_peers`: clients that are gone without a word.

mod dead_peers;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Test;
use crate::harness::alone::{Alone, Edge, Folder, run};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::fronted;
use crate::harness::stub::{EMPTY, Stub};
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("connections::descriptors_do_not_run_out", |_| descriptors_do_not_run_out()),
    ("connections::whoever_waits_gets_the_next_place", |_| whoever_waits_gets_the_next_place()),
    ("connections::handshakes_are_bounded_as_well", |_| handshakes_are_bounded_as_well()),
    ("connections::idle_ones_cost_little_and_end", |_| idle_ones_cost_little_and_end()),
    ("connections::dead_peers_are_asked_for", |_| dead_peers::they_are_asked_for()),
    ("connections::check_warns_of_a_low_limit", |_| check_warns_of_a_low_limit()),
];

/// How long the stub holds a request that asks for it.
const HELD: Duration = Duration::from_secs(4);
const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
const QUICK: &str = "GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// What is said when descriptors have run out.
const RUN_OUT: &str = "Too many open files";

/// A dendron of the test's own before a stub.
struct Before {
    edge: Edge,
    _stub: Stub,
}

impl Before {
    fn start(descriptors: u32, settings: &str) -> Result<Self, Failed> {
        let stub = Stub::start(|head, stream| {
            if head.starts_with("GET /hold ") {
                std::thread::sleep(HELD);
            }
            stream.write_all(EMPTY)
        })?;
        let settings = format!("pools: {{main: ['{}']}}\n{settings}", stub.url());
        Ok(Before { edge: Edge::limited(&settings, descriptors)?, _stub: stub })
    }

    fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(("127.0.0.1", self.edge.port))?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    }

    fn number(&self, metric: &str) -> Result<f64, Failed> {
        self.edge.metric(metric, &[])
    }

    /// The bound, as a count.
    fn limit(&self) -> Result<usize, Failed> {
        let status = self.edge.dendron.admin().get("/status")?.json();
        let limit = status["connections_limit"].as_u64().ok_or("/status names no limit")?;
        ensure_eq!(self.number("dendron_connections_limit")?, limit as f64, "the metric and /status");
        Ok(usize::try_from(limit)?)
    }

    fn wait_for_open(&self, count: usize) -> Result<(), Failed> {
        eventually(SOON, || {
            ensure_eq!(self.number("dendron_connections")?, count as f64, "open connections");
            Ok(())
        })
    }
}

/// Reads one answer of the stub's.
fn answer(stream: &mut TcpStream) -> Result<(), Failed> {
    let mut read = Vec::new();
    let mut buffer = [0; 1024];
    while !read.ends_with(b"\r\n\r\n{}") {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection ended after {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
    ensure!(read.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&read));
    Ok(())
}

/// Every place is taken and busy, so that each client has its connection to the stub; then twice as many come.
fn descriptors_do_not_run_out() -> Result<(), Failed> {
    raise_own_limit()?;
    let edge = Before::start(640, "")?;
    let limit = edge.limit()?;
    ensure!((100..300).contains(&limit), "a bound of {limit} for 640 descriptors");
    let mut standing = (0..limit).map(|_| edge.connect()).collect::<Result<Vec<_>, _>>()?;
    edge.wait_for_open(limit)?;
    standing.iter_mut().try_for_each(|stream| stream.write_all(HOLD.as_bytes()))?;

    let late = 2 * limit;
    let refused = (0..late).map(|_| edge.connect()).collect::<Result<Vec<_>, _>>()?;
    for mut stream in refused {
        // An end, not a reset.
        ensure_eq!(stream.read(&mut [0; 16])?, 0, "bytes for a client beyond the bound");
    }
    ensure_eq!(edge.number("dendron_connections_refused_total")?, late as f64, "refused");
    ensure_eq!(edge.number("dendron_connections_accepted_total")?, limit as f64, "accepted");
    standing.iter_mut().try_for_each(answer)?;
    standing.iter_mut().try_for_each(|stream| stream.write_all(QUICK.as_bytes()))?;
    standing.iter_mut().try_for_each(answer)?;

    // A new one gets in as soon as some are gone.
    standing.truncate(limit - 10);
    edge.wait_for_open(limit - 10)?;
    let mut new = edge.connect()?;
    new.write_all(QUICK.as_bytes())?;
    answer(&mut new)?;
    drop((standing, new));
    edge.wait_for_open(0)?;
    let said = edge.edge.dendron.stop()?;
    ensure!(!said.contains(RUN_OUT), "{said}");
    ensure_eq!(said.matches("as many connections are open as may be").count(), 1, "warnings in {said}");
    Ok(())
}

fn whoever_waits_gets_the_next_place() -> Result<(), Failed> {
    let edge = Before::start(1024, "connections: {max: 3}\n")?;
    ensure_eq!(edge.limit()?, 3, "the bound");
    let mut standing = (0..3).map(|_| edge.connect()).collect::<Result<Vec<_>, _>>()?;
    edge.wait_for_open(3)?;
    let mut waiting = edge.connect()?;
    waiting.write_all(QUICK.as_bytes())?;
    std::thread::sleep(Duration::from_millis(300));
    standing.pop();
    answer(&mut waiting)?;
    ensure_eq!(edge.number("dendron_connections_refused_total")?, 0.0, "refused");
    // Nobody leaves this time.
    let begun = Instant::now();
    ensure_eq!(edge.connect()?.read(&mut [0; 16])?, 0, "bytes for one who waits in vain");
    let waited = begun.elapsed();
    ensure!(waited > Duration::from_secs(1) && waited < Duration::from_secs(8), "it waited {waited:?}");
    ensure_eq!(edge.number("dendron_connections_refused_total")?, 1.0, "refused");
    Ok(())
}

/// Who never begins the handshake has a place, and no more than that.
fn handshakes_are_bounded_as_well() -> Result<(), Failed> {
    let folder = Folder::with(&[])?;
    let authority = Authority::new(&folder.path(""))?;
    let files = Files::new(&folder.path(""), "edge");
    authority.sign(&files, time::OffsetDateTime::now_utc() + time::Duration::days(2))?;
    let listener = format!(", tls: {{certificate: '{}', key: '{}'}}", files.certificate.display(), files.key.display());
    let stub = Stub::start(|_, stream| stream.write_all(EMPTY))?;
    let settings = format!("pools: {{main: ['{}']}}\nconnections: {{max: 4}}\n", stub.url());
    let edge = Before { edge: Edge::with_listener(&listener, &settings, Alone::start)?, _stub: stub };

    let mut silent = (0..3).map(|_| edge.connect()).collect::<Result<Vec<_>, _>>()?;
    edge.wait_for_open(3)?;
    let mut encrypted = authority.connect(edge.edge.port)?;
    encrypted.write_all(QUICK.as_bytes())?;
    let mut start = [0; 12];
    encrypted.read_exact(&mut start)?;
    ensure_eq!(&start, b"HTTP/1.1 200", "the answer over TLS");
    edge.wait_for_open(4)?;
    ensure_eq!(edge.connect()?.read(&mut [0; 16])?, 0, "bytes for a fifth client");
    ensure_eq!(edge.number("dendron_connections_refused_total")?, 1.0, "refused");
    // A handshake that fails gives its place back, and so does the end of a connection.
    for stream in &mut silent {
        stream.write_all(b"this is no handshake\r\n\r\n")?;
    }
    edge.wait_for_open(1)?;
    drop(encrypted);
    edge.wait_for_open(0)
}

fn idle_ones_cost_little_and_end() -> Result<(), Failed> {
    const COUNT: usize = 2000;
    // What an idle connection may cost. It was 2.6 when it was measured, and 39 without the front.
    let most = if fronted::by_default() { 8.0 } else { 50.0 };
    raise_own_limit()?;
    let edge = Before::start(16_384, "")?;
    let quick = |edge: &Before| -> Result<TcpStream, Failed> {
        let mut stream = edge.connect()?;
        stream.write_all(QUICK.as_bytes())?;
        answer(&mut stream)?;
        Ok(stream)
    };
    drop((0..20).map(|_| quick(&edge)).collect::<Result<Vec<_>, _>>()?);
    edge.wait_for_open(0)?;
    let before = edge.number("dendron_resident_memory_bytes")?;
    // Each has made a request, as an app has that goes quiet.
    let idle = (0..COUNT).map(|_| quick(&edge)).collect::<Result<Vec<_>, _>>()?;
    edge.wait_for_open(COUNT)?;
    let each = (edge.number("dendron_resident_memory_bytes")? - before) / 1024.0 / COUNT as f64;
    println!("an idle connection costs {each:.1} KB");
    ensure!(each < most, "an idle connection costs {each:.1} KB");
    for _ in 0..20 {
        let begun = Instant::now();
        drop(quick(&edge)?);
        ensure!(begun.elapsed() < Duration::from_secs(1), "a request took {:?}", begun.elapsed());
    }
    drop(idle);
    edge.wait_for_open(0)?;
    let descriptors = edge.number("dendron_open_descriptors")?;
    ensure!(descriptors < 200.0, "{descriptors} descriptors are open when all clients have gone");
    let said = edge.edge.dendron.stop()?;
    ensure!(!said.contains(RUN_OUT), "{said}");
    Ok(())
}

fn check_warns_of_a_low_limit() -> Result<(), Failed> {
    let config = "listeners: [{address: '127.0.0.1:8080'}]\npools: {main: ['http://127.0.0.1:8008']}\n";
    let folder = Folder::with(&[("dendron.yaml", config)])?;
    let file = folder.text("dendron.yaml");
    let check = |descriptors: u32| -> Result<String, Failed> {
        let limit = format!("--nofile={descriptors}:{descriptors}");
        let program = crate::harness::dendron().to_str().unwrap_or_default();
        let mut command = std::process::Command::new("prlimit");
        let output = command.args([&limit, "--", program, "check", "--config", &file]).output()?;
        ensure_eq!(output.status.code(), Some(0), "check with {descriptors} descriptors");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = check(1024)?;
    ensure!(said.contains("warning: connections: the limit of 1024 open files"), "{said}");
    ensure_eq!(check(8192)?, "", "what is said of 8192");
    folder.write("dendron.yaml", &format!("{config}connections: {{max: 5000}}\n"))?;
    let said = check(8192)?;
    ensure!(said.contains("warning: connections.max: the limit of 8192 open files"), "{said}");
    // Zero would serve nobody.
    folder.write("dendron.yaml", &format!("{config}connections: {{max: 0}}\n"))?;
    let output = run(&["check", "--config", &file])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("connections.max: "), "{said}");
    Ok(())
}

/// The tests hold many connections themselves.
fn raise_own_limit() -> Result<(), Failed> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
