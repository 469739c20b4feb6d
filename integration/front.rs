//! The front: heads that come too slowly or are no clean HTTP are refused so that a client of Matrix understands it and an
//! administrator sees it; requests follow each other; idle connections cost little. What strangers send byte by byte is
//! `hostile`'s.
//!
//! - `answers`: what is answered without the proxy.
//! - `edge`: a dendron before a real Synapse.
//! - `questions`: what goes to its process without a session.
//! - `parked`: what a parked sync costs.
//! - `soak`: all that clients do, for a while, and what is left of it.

mod answers;
mod edge;
mod parked;
mod questions;
mod soak;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::Test;
use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http2::{END_HEADERS, END_STREAM, HEADERS, MAGIC, SETTINGS, first_status, frame, head, setting};
use crate::harness::metrics::Metrics;
use crate::harness::stub::{EMPTY, Stub, read_body};
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("front::a_slow_head_is_cut_and_told", |_| a_slow_head_is_cut_and_told()),
    ("front::silence_between_requests_ends", |_| silence_between_requests_ends()),
    ("front::refusals_are_matrix_errors_and_logged", |_| refusals_are_matrix_errors_and_logged()),
    ("front::a_refused_upload_hears_it", |_| a_refused_upload_hears_it()),
    ("front::requests_follow_each_other", |_| requests_follow_each_other()),
    ("front::a_client_that_goes_cancels_its_request", |_| a_client_that_goes_cancels_its_request()),
    ("front::another_protocol_has_no_fence", |_| another_protocol_has_no_fence()),
    ("front::http2_may_come_without_tls", |_| http2_may_come_without_tls()),
    ("front::answers_are_the_filters_own", |_| answers::they_are_the_filters_own()),
    ("front::a_pipeline_is_answered_together", |_| answers::a_pipeline_is_answered_together()),
    ("front::plain_questions_need_no_session", |_| questions::they_need_no_session()),
    ("front::parked_syncs_cost_little", |stacks| stacks.on_monolith(parked::they_cost_little)),
    ("front::soak_ends_where_it_began", |stacks| stacks.on_monolith(soak::it_ends_where_it_began)),
    ("front::idle_connections_cost_little", |_| idle_connections_cost_little()),
];

const SECOND: Duration = Duration::from_secs(1);
/// The deadline of a head, and how long a connection may be idle, where they matter.
const HEAD: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(2);
/// What an idle connection may cost, in kilobytes.
const IDLE_MAX: f64 = 3.5;
const TIMES: &str = "timeouts: {client: {head: 3s, idle: 2s}}\n";
const VERSIONS: &[u8] = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A dendron of the test's own before a stub, with a plain and an encrypted listener.
struct Edge {
    dendron: Alone,
    port: u16,
    tls_port: u16,
    authority: Authority,
    _stub: Stub,
    folder: Folder,
}

/// An answer, cut out of what came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Edge {
    fn start(stub: Stub, settings: &str) -> Result<Self, Failed> {
        let [port, tls_port, admin] = [free_port()?, free_port()?, free_port()?];
        let folder = Folder::with(&[])?;
        let files = Files::new(&folder.path(""), "edge");
        let authority = Authority::new(&folder.path(""))?;
        authority.sign(&files, time::OffsetDateTime::now_utc() + time::Duration::days(2))?;
        let config = format!(
            "listeners:\n- address: '127.0.0.1:{port}'\n- address: '127.0.0.1:{tls_port}'\n  \
             tls: {{certificate: edge.pem, key: edge.key}}\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
             pools: {{main: ['{}']}}\nlog: {{format: json, access: {}}}\n{settings}",
            stub.url(),
            folder.text("access.log"),
        );
        folder.write("dendron.yaml", &config)?;
        let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
        Ok(Edge { dendron, port, tls_port, authority, _stub: stub, folder })
    }

    fn connect(&self) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    }

    /// Sends bytes and reads all that comes until dendron closes.
    fn all_of(&self, bytes: &[u8]) -> Result<String, Failed> {
        let mut stream = self.connect()?;
        stream.write_all(bytes)?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// The lines of the access log.
    fn lines(&self) -> Result<Vec<Value>, Failed> {
        let text = std::fs::read_to_string(self.folder.path("access.log"))?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    fn metrics(&self) -> Result<Metrics, Failed> {
        Metrics::scrape(self.dendron.admin())
    }
}

/// The first answer in a text and what stands behind it.
fn first(text: &str) -> Result<(Answer, &str), Failed> {
    let (head, rest) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no length")?;
    let (body, rest) = rest.split_at_checked(length.parse()?).ok_or_else(|| format!("a short body: {text:?}"))?;
    Ok((Answer { status, head, body: body.to_owned() }, rest))
}

/// Whether it is what a client of Matrix, in a browser too, understands, and the last of its connection.
fn ensure_refused(answer: &Answer, status: u16) -> Result<(), Failed> {
    ensure_eq!(answer.status, status, "status of {answer:?}");
    let body: Value = serde_json::from_str(&answer.body)?;
    ensure!(body["errcode"].as_str().is_some_and(|code| code.starts_with("M_")), "{answer:?}");
    for line in ["access-control-allow-origin: *", "content-type: application/json", "connection: close", "date: "] {
        ensure!(answer.head.contains(line), "{line} is not in {answer:?}");
    }
    Ok(())
}

fn quick() -> Result<Stub, Failed> {
    Stub::start(|head, stream| {
        read_body(head, stream)?;
        stream.write_all(EMPTY)
    })
}

fn a_slow_head_is_cut_and_told() -> Result<(), Failed> {
    let edge = Edge::start(quick()?, TIMES)?;
    let mut plain = edge.connect()?;
    let mut encrypted = edge.authority.connect(edge.tls_port)?;
    // Each has had an answer before, so that it is no new connection's deadline.
    plain.write_all(VERSIONS)?;
    encrypted.write_all(VERSIONS)?;
    read_answer(&mut plain)?;
    read_answer(&mut encrypted)?;
    let begun = Instant::now();
    let line = b"GET /_matrix/client/versions HTTP/1.1\r\n";
    plain.write_all(line)?;
    encrypted.write_all(line)?;
    for byte in b"Host: localhost\r\nX-Slow: yes\r\n" {
        // Dendron may have closed meanwhile.
        if plain.write_all(&[*byte]).and_then(|()| encrypted.write_all(&[*byte])).is_err() {
            break;
        }
        if begun.elapsed() > HEAD + SECOND {
            break;
        }
        std::thread::sleep(SECOND / 5);
    }
    let said = read_answer(&mut plain)?;
    ensure_refused(&said, 408)?;
    ensure_refused(&read_answer(&mut encrypted)?, 408)?;
    let took = begun.elapsed();
    ensure!(took >= HEAD && took < HEAD + 3 * SECOND, "it took {took:?}");
    ensure_eq!(plain.read(&mut [0; 16])?, 0, "bytes behind the refusal");
    let lines = edge.lines()?;
    let slow: Vec<&Value> = lines.iter().filter(|line| line["status"] == 408).collect();
    ensure_eq!(slow.len(), 2, "lines of {lines:?}");
    for line in slow {
        let total = line["total_ms"].as_f64().unwrap_or_default();
        ensure!((2_900.0..5_000.0).contains(&total), "{line}");
        ensure_eq!((&line["answered_by"], &line["ended"]), (&"edge".into(), &"bad_request".into()), "{line}");
        ensure_eq!(line["endpoint"], "/_matrix/client/versions", "{line}");
    }
    Ok(())
}

/// Whoever says nothing is not told anything either.
fn silence_between_requests_ends() -> Result<(), Failed> {
    let edge = Edge::start(quick()?, TIMES)?;
    let mut plain = edge.connect()?;
    let mut encrypted = edge.authority.connect(edge.tls_port)?;
    for _ in 0..2 {
        plain.write_all(VERSIONS)?;
        encrypted.write_all(VERSIONS)?;
        ensure_eq!(read_answer(&mut plain)?.status, 200, "status");
        ensure_eq!(read_answer(&mut encrypted)?.status, 200, "status");
        std::thread::sleep(SECOND);
    }
    let begun = Instant::now();
    ensure_eq!(plain.read(&mut [0; 16])?, 0, "bytes for a silent client");
    // TLS is ended as it should be, else this were an error.
    ensure_eq!(encrypted.read(&mut [0; 16])?, 0, "bytes for a silent client over TLS");
    let took = begun.elapsed();
    ensure!(took >= IDLE - 2 * SECOND && took < IDLE + 2 * SECOND, "it took {took:?}");
    ensure_eq!(edge.lines()?.len(), 4, "lines");
    Ok(())
}

fn read_answer(stream: &mut impl Read) -> Result<Answer, Failed> {
    let mut said = Vec::new();
    let mut byte = [0];
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if text.contains("\r\n\r\n")
            && let Ok((answer, _)) = first(&text)
        {
            return Ok(answer);
        }
        ensure!(stream.read(&mut byte)? == 1, "the connection ended after {text:?}");
        said.push(byte[0]);
    }
}

fn refusals_are_matrix_errors_and_logged() -> Result<(), Failed> {
    let edge = Edge::start(quick()?, "")?;
    let versions = "/_matrix/client/versions";
    let get = |headers: &str| format!("GET {versions} HTTP/1.1\r\n{headers}\r\n");
    let table = [
        (get("Host: a\r\nHost: b\r\n"), 400, "GET", versions),
        (get(""), 400, "GET", versions),
        (get("Host: a\r\nContent-Length: five\r\n"), 400, "GET", versions),
        (get("Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n"), 400, "GET", versions),
        (get("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "GET", versions),
        (get("Host: a\r\nTransfer-Encoding: gzip\r\n"), 400, "GET", versions),
        (get(&format!("Host: a\r\nX: {}\r\n", "x".repeat(50_000))), 431, "GET", versions),
        (get("Host: a\r\nX: \x01\r\n"), 400, "GET", versions),
        (format!("POST {versions} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "POST", versions),
        (format!("GET {versions} HTTP/3.0\r\nHost: a\r\n\r\n"), 400, "-", "unread"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), 400, "-", "unread"),
        ("nonsense\r\n\r\n".to_owned(), 400, "-", "unread"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), 405, "CONNECT", ""),
    ];
    for (number, (request, status, method, endpoint)) in table.iter().enumerate() {
        let what = &request[..request.len().min(80)];
        let said = edge.all_of(request.as_bytes()).map_err(|error| format!("{what:?}: {error:?}"))?;
        let (answer, rest) = first(&said)?;
        ensure_refused(&answer, *status)?;
        ensure_eq!(rest, "", "behind {what:?}");
        ensure_eq!(answer.head.contains("\nallow: "), *status == 405, "{what:?}");
        let lines = eventually(SOON, || {
            let lines = edge.lines()?;
            ensure_eq!(lines.len(), number + 1, "lines after {what:?}");
            Ok(lines)
        })?;
        let line = &lines[number];
        ensure_eq!((&line["status"], &line["method"]), (&(*status).into(), &(*method).into()), "{what:?}: {line}");
        ensure!(endpoint.is_empty() || line["endpoint"] == *endpoint, "{what:?}: {line}");
        ensure_eq!(line["bytes_out"].as_u64(), Some(answer.body.len() as u64), "{what:?}: {line}");
        ensure_eq!((&line["client"], &line["answered_by"]), (&"127.0.0.1".into(), &"edge".into()), "{line}");
    }
    let refused = edge.metrics()?.sum("dendron_requests_total", &[("answered_by", "edge")]);
    ensure_eq!(refused, table.len() as f64, "counted");
    Ok(())
}

/// Much is sent behind the fault, and the client looks for an answer only when it has sent everything.
fn a_refused_upload_hears_it() -> Result<(), Failed> {
    let edge = Edge::start(quick()?, "")?;
    let mut stream = edge.connect()?;
    stream.write_all(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +8388608\r\n\r\n")?;
    let part = [b'x'; 1 << 16];
    (0..128).try_for_each(|_| stream.write_all(&part))?;
    ensure_refused(&read_answer(&mut stream)?, 400)
}

fn requests_follow_each_other() -> Result<(), Failed> {
    let edge = Edge::start(quick()?, "")?;
    let requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
                    POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                    OPTIONS /3 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\
                    GET /4 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n\
                    GET /5 HTTP/1.1\r\nHost: a\r\n\r\nGET /6 HTTP/1.1\r\n\r\n";
    let said = edge.all_of(requests.as_bytes())?;
    let mut rest = said.as_str();
    for number in 1..=5 {
        let (answer, behind) = first(rest)?;
        ensure_eq!(answer.status, 200, "answer {number} of {said:?}");
        rest = behind;
    }
    let (last, rest) = first(rest)?;
    ensure_refused(&last, 400)?;
    ensure_eq!(rest, "", "behind the last answer");
    Ok(())
}

fn a_client_that_goes_cancels_its_request() -> Result<(), Failed> {
    let stub = Stub::start(|_, stream| {
        // Until dendron hangs up.
        while stream.read(&mut [0; 16])? > 0 {}
        Err(ErrorKind::BrokenPipe.into())
    })?;
    let edge = Edge::start(stub, "")?;
    let in_flight = |expected: f64| {
        eventually(SOON, || {
            let count = edge.metrics()?.sum("dendron_in_flight_requests", &[]);
            ensure_eq!(count, expected, "requests in flight");
            Ok(())
        })
    };
    // The second client has sent one more request, behind which its end must be seen.
    for behind in ["", "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream = edge.connect()?;
        stream.write_all(format!("GET /held HTTP/1.1\r\nHost: a\r\n\r\n{behind}").as_bytes())?;
        in_flight(1.0)?;
        stream.shutdown(Shutdown::Both)?;
        in_flight(0.0)?;
    }
    eventually(SOON, || {
        let gone = edge.lines()?.iter().filter(|line| line["ended"] == "client_gone").count();
        ensure_eq!(gone, 2, "clients that went");
        Ok(())
    })
}

fn another_protocol_has_no_fence() -> Result<(), Failed> {
    let stub = Stub::start(|_, stream| {
        stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nserver speaks first",
        )?;
        let mut frame = [0; 5];
        stream.read_exact(&mut frame)?;
        stream.write_all(&frame)?;
        Err(ErrorKind::BrokenPipe.into())
    })?;
    let edge = Edge::start(stub, "")?;
    let mut stream = edge.connect()?;
    stream
        .write_all(b"GET /_matrix/client/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")?;
    let mut said = String::new();
    while !said.ends_with("first") {
        let mut part = [0; 1024];
        let count = stream.read(&mut part)?;
        ensure!(count > 0, "the connection ended after {said:?}");
        said.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    ensure!(said.starts_with("HTTP/1.1 101 "), "{said}");
    stream.write_all(b"frame")?;
    let mut frame = [0; 5];
    stream.read_exact(&mut frame)?;
    ensure_eq!(&frame, b"frame", "what came back");
    Ok(())
}

/// The tests hold many connections themselves.
fn raise_own_limit() -> Result<(), Failed> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// It is told from HTTP/1 by its first bytes, however they are cut.
fn http2_may_come_without_tls() -> Result<(), Failed> {
    let edge = Edge::start(quick()?, "")?;
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", "/h", &[]));
    let bytes = [MAGIC, &frame(SETTINGS, 0, 0, &setting(1, 0)), &request].concat();
    for piece in [1, 7, 20, 1000] {
        let mut stream = edge.connect()?;
        stream.set_nodelay(true)?;
        for part in bytes.chunks(piece) {
            stream.write_all(part)?;
        }
        ensure_eq!(first_status(&mut stream)?, Some(200), "in pieces of {piece}");
    }
    // Behind a request it is none, and neither is what only looks like it.
    let late = [b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", MAGIC].concat();
    let said = edge.all_of(&late)?;
    let (_, rest) = first(&said)?;
    ensure_refused(&first(rest)?.0, 400)?;
    ensure_refused(&first(&edge.all_of(b"PRI * HTTP/2.0\r\n\r\nXX")?)?.0, 400)
}

fn idle_connections_cost_little() -> Result<(), Failed> {
    raise_own_limit()?;
    let (with, without) = (idle_kilobytes("")?, idle_kilobytes("front: off\n")?);
    println!("an idle connection costs {with:.1} KB, without the front {without:.1} KB");
    ensure!(with < IDLE_MAX && with * 3.0 < without, "{with:.1} KB with the front, {without:.1} KB without");
    Ok(())
}

/// What an idle connection costs that has made a request.
fn idle_kilobytes(settings: &str) -> Result<f64, Failed> {
    const COUNT: usize = 2000;
    let edge = Edge::start(quick()?, settings)?;
    let open = |count: usize| {
        let mut open = Vec::new();
        for _ in 0..count {
            let mut stream = edge.connect()?;
            stream.write_all(VERSIONS)?;
            ensure_eq!(read_answer(&mut stream)?.status, 200, "status");
            open.push(stream);
        }
        Ok::<_, Failed>(open)
    };
    let memory = || Ok::<_, Failed>(edge.metrics()?.sum("dendron_resident_memory_bytes", &[]));
    drop(open(50)?);
    let before = memory()?;
    let idle = open(COUNT)?;
    let each = (memory()? - before) / 1024.0 / COUNT as f64;
    drop(idle);
    Ok(each)
}
