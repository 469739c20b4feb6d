//! A login is one request among others on its connection, and its body comes as it likes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::cases::{Case, LOGIN, password_body};
use super::edge::{Edge, until_answering};
use super::{synapse_address, users};
use crate::harness::http::Client;
use crate::harness::http2::{DATA, END_HEADERS, HEADERS, MAGIC, SETTINGS, first_status, frame, head, setting};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause in a body that comes in parts.
const PAUSE: Duration = Duration::from_millis(50);

pub fn a_connection_carries_more_than_a_login(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        let mut edge = Edge::answering(stack, "login-connections", "")?;
        for (name, pieces) in exchanges() {
            let theirs = statuses(&synapse_address(stack), &pieces, &name)?;
            let ours = statuses(&edge.address, &pieces, &name)?;
            ensure_eq!(ours, theirs, "{name}");
            ensure!(!ours.is_empty(), "{name}: no answer");
        }
        edge.stop().map(drop)
    })
}

/// What is sent on one connection, piece by piece.
fn exchanges() -> Vec<(String, Vec<Vec<u8>>)> {
    let good = request("", &password_body("l-plain", "hush-plain"), "");
    let wrong = request("", &password_body("l-plain", "wrong"), "");
    let versions = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let last = request("Connection: close\r\n", &password_body("nobody", "wrong"), "");
    let bad = request("", b"no json", "");
    let whole = [&good[..], &versions, &wrong, &bad, &good, &last].concat();
    let mut exchanges = vec![
        ("one after the other".to_owned(), vec![good.clone(), versions.clone(), wrong.clone(), bad, last.clone()]),
        ("all at once".to_owned(), vec![whole]),
    ];
    // A body that comes byte by byte, in halves, and after its head.
    let end = good.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
    for cut in [end, end + 1, end + 40, good.len() - 1] {
        let pieces = vec![good[..cut].to_vec(), good[cut..].to_vec(), last.clone()];
        exchanges.push((format!("cut at {cut}"), pieces));
    }
    let drops = good[end..].chunks(20).map(<[u8]>::to_vec);
    let pieces = std::iter::once(good[..end].to_vec()).chain(drops).chain([last.clone()]);
    exchanges.push(("in drops".to_owned(), pieces.collect()));
    // More than is told of belongs to the next request; here that is none.
    let short = request("Connection: close\r\n", &password_body("l-plain", "hush-plain"), "GARBAGE");
    exchanges.push(("more than was told".to_owned(), vec![short]));
    exchanges
}

fn request(headers: &str, body: &[u8], after: &str) -> Vec<u8> {
    let head = format!("POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body, after.as_bytes()].concat()
}

/// Sends the pieces and returns the status lines of all that comes back.
fn statuses(address: &str, pieces: &[Vec<u8>], name: &str) -> Result<Vec<String>, Failed> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for piece in pieces {
        stream.write_all(piece)?;
        std::thread::sleep(PAUSE);
    }
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    ensure!(ended.is_ok() || !bytes.is_empty(), "{name}: {ended:?}");
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.match_indices("HTTP/1.1 ").map(|(start, _)| text[start..].lines().next().unwrap_or_default());
    Ok(lines.map(str::to_owned).collect())
}

/// Bodies that never come hold up nobody but their senders.
pub fn half_a_login_holds_up_nobody(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        users::make(stack)?;
        let mut edge = Edge::answering(stack, "login-halves", "")?;
        let good = request("", &password_body("l-plain", "hush-plain"), "");
        let mut held = Vec::new();
        for number in 0..50 {
            let mut stream = TcpStream::connect(&edge.address)?;
            stream.write_all(&good[..good.len() - 1 - number % 30])?;
            held.push(stream);
        }
        let devices = devices(stack)?;
        for number in 0..5 {
            let begun = Instant::now();
            let case = Case::new(&password_body("l-other", "hush-other"), None, None);
            let answer = crate::transparency::client::send(&edge.address, &case.bytes(&format!("whole-{number}")))?;
            ensure!(answer.status.contains(" 200 "), "a whole login among halves: {}", answer.status);
            ensure!(begun.elapsed() < Duration::from_secs(5), "it took {} ms", begun.elapsed().as_millis());
        }
        drop(held);
        std::thread::sleep(PAUSE * 10);
        ensure_eq!(self::devices(stack)?, devices, "devices of who sent halves");
        edge.stop().map(drop)
    })
}

/// A body is waited for as long as a client may be silent, over HTTP/2 as well.
pub fn half_a_login_over_http2_is_given_up(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let mut edge = Edge::with(stack, "login-halves", "", "timeouts: {client: {silence: 2s}}\n")?;
        until_answering(edge.admin())?;
        let mut stream = TcpStream::connect(&edge.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let post = head("POST", LOGIN, &[("content-length", "100")]);
        let settings = frame(SETTINGS, 0, 0, &setting(1, 0));
        let half = [frame(HEADERS, END_HEADERS, 1, &post), frame(DATA, 0, 1, b"{")].concat();
        stream.write_all(&[MAGIC, &settings, &half].concat())?;
        ensure_eq!(first_status(&mut stream)?, Some(408), "the answer to half a login");
        edge.stop().map(drop)
    })
}

/// How many devices the user has who sends halves, one for this question included.
fn devices(stack: &Stack) -> Result<usize, Failed> {
    let client = Client::new(&format!("http://{}", synapse_address(stack)));
    let body = r#"{"type":"m.login.password","user":"l-plain","password":"hush-plain","device_id":"ASKS"}"#;
    let login = client.send("POST", LOGIN, &[], body.as_bytes())?.json();
    let authorization = format!("Bearer {}", login["access_token"].as_str().unwrap_or_default());
    let answer =
        client.send("GET", "/_matrix/client/v3/devices", &[("Authorization", authorization.as_str())], b"")?.json();
    let count = answer["devices"].as_array().map(Vec::len);
    count.ok_or_else(|| format!("no devices: {answer}").into())
}
