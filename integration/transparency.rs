//! What Synapse answers is what a client of dendron's sees: the same requests are sent to Synapse's process directly and
//! through dendron, and status, headers and body must be equal but for the differences that are named here.
//!
//! - `requests`: the requests.
//! - `twin`: two users with the same history, for what changes something.
//! - `client`: sends what a client library would not.

pub mod client;
mod requests;
mod twin;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::harness::ensure;
use crate::harness::http::Client;
use crate::harness::stacks::Stacks;
use client::{Answer, send};
use requests::{Request, requests};
use twin::Twin;

pub const TESTS: &[Test] = &[
    ("transparency::answers_are_equal", answers_are_equal),
    ("transparency::differences_are_as_named", differences_are_as_named),
];

/// Headers that are not compared, and why.
const HEADERS: [(&str, &str); 4] = [
    ("date", "the moment"),
    ("connection", "belongs to one hop"),
    ("transfer-encoding", "belongs to one hop"),
    ("content-length", "the length of what may differ below; that it is the body's own is checked"),
];

/// Fields of JSON that are not compared, wherever they stand, and why.
const FIELDS: [(&str, &str); 15] = [
    ("age", "the moment"),
    ("age_ts", "the moment"),
    ("origin_server_ts", "the moment"),
    ("last_active_ago", "the moment"),
    ("last_seen_ts", "the moment"),
    ("valid_until_ts", "the moment, in which keys are signed anew"),
    ("signatures", "the moment is signed"),
    ("event_id", "drawn for each event"),
    ("room_id", "drawn for each room"),
    ("session", "drawn for each interactive authentication"),
    ("content_uri", "drawn for each upload"),
    ("filter_id", "counted"),
    ("next_batch", "a position in streams that go on"),
    ("prev_batch", "a position in streams that go on"),
    ("start", "a position in streams that go on"),
];

/// What is not compared in the text of an error: these words and the digits after them, and why.
const TEXTS: [(&str, &str); 1] = [("minimum_valid_until_ts=", "the moment")];

/// What is answered otherwise on purpose, or because Pingora cannot be told otherwise: a head without the empty line,
/// Synapse's status, dendron's, and why.
const DIFFERENT: [(&str, u16, u16, &str); 10] = [
    ("GET /_synapse/admin/v1/server_version HTTP/1.1\r\nHost: a", 200, 404, "not offered to strangers"),
    ("GET /_matrix/client/versions HTTP/1.1", 200, 400, "HTTP/1.1 wants a Host (RFC 9112, 3.2)"),
    ("GET x_matrix/client/versions HTTP/1.1\r\nHost: a", 404, 400, "no form of a target (RFC 9112, 3.2)"),
    ("GET /_matrix/client/versions#x HTTP/1.1\r\nHost: a", 404, 400, "a target has no fragment (RFC 9112, 3.2)"),
    ("GET /_matrix/nothing` HTTP/1.1\r\nHost: a", 404, 400, "Pingora's paths hold no such character"),
    ("GET /_matrix/client/versions HTTP/1.1\nHost: a", 400, 400, "line feeds alone end no line"),
    ("GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nHost: a", 200, 400, "one host (RFC 9112, 3.2)"),
    ("GET /_matrix/client/versions HTTP/1.1\r\nHost: a\r\nX: a\r\n b", 200, 400, "folded headers (RFC 9112, 5.2)"),
    ("CONNECT a:22 HTTP/1.1\r\nHost: a:22", 404, 405, "tunnels are not offered"),
    (
        "GET /_matrix/client/v3/password_policy HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For",
        200,
        400,
        "Pingora's own check",
    ),
];

fn answers_are_equal(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let behind = address(stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default());
        let edge = address(stack.client().base());
        let direct = Client::new(&format!("http://{behind}"));
        let (one, other) = (Twin::new(&direct, "twin-a")?, Twin::new(&direct, "twin-b")?);
        let requests = requests();
        ensure!(requests.len() >= 200, "only {} requests", requests.len());
        let mut faults = Vec::new();
        let mut good = 0;
        for request in &requests {
            // What reads is asked for the same user on both ways; what changes something, for each twin its own.
            let through = if request.changes() { &other } else { &one };
            let theirs = send(&behind, &request.bytes(&one))?;
            let ours = send(&edge, &request.bytes(through))?;
            good += usize::from(theirs.status.starts_with("HTTP/1.1 200 "));
            faults.extend(difference(request, (&theirs, &one), (&ours, through)));
        }
        // Neither the good nor the bad may be all that is compared.
        ensure!(good >= 100 && requests.len() - good >= 100, "{good} of {} are good", requests.len());
        ensure!(faults.is_empty(), "{} of {} differ:\n{}", faults.len(), requests.len(), faults.join("\n"));
        Ok(())
    })
}

fn differences_are_as_named(stacks: &Stacks) -> Result<(), Failed> {
    stacks.on_monolith(|stack| {
        let behind = address(stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default());
        let edge = address(stack.client().base());
        let mut faults = Vec::new();
        for (head, theirs, ours, why) in DIFFERENT {
            let last = if head.contains("Connection") { "" } else { "\r\nConnection: close" };
            let request = format!("{head}{last}\r\n\r\n");
            for (address, expected) in [(&behind, theirs), (&edge, ours)] {
                let answer = send(address, request.as_bytes())?;
                if !answer.status.starts_with(&format!("HTTP/1.1 {expected} ")) {
                    faults.push(format!("{head:?} ({why}) at {address}: {} is not {expected}", answer.status));
                }
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// How two answers differ, if they do.
fn difference(request: &Request, theirs: (&Answer, &Twin), ours: (&Answer, &Twin)) -> Option<String> {
    let (shown, expected) = (comparable(request, ours.0, ours.1), comparable(request, theirs.0, theirs.1));
    (shown != expected).then(|| format!("{}:\n  Synapse: {expected:?}\n  dendron: {shown:?}", request.name()))
}

/// All of an answer that must be equal.
fn comparable(request: &Request, answer: &Answer, twin: &Twin) -> (String, Vec<(String, String)>, String) {
    let is_ignored = |name: &str| HEADERS.iter().any(|(ignored, _)| *ignored == name);
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !is_ignored(name))
        .map(|(name, value)| (name.clone(), twin.strip(value)))
        .collect();
    let length = answer.headers.iter().find(|(name, _)| name == "content-length");
    if let Some((_, length)) = length {
        let is_own = *length == answer.body.len().to_string() || request.method == "HEAD";
        if !is_own {
            headers.push(("a length that is not the body's".to_owned(), length.clone()));
        }
    }
    headers.sort();
    let text = without_texts(twin.strip(&String::from_utf8_lossy(&answer.body)));
    let body = match serde_json::from_str::<Value>(&text) {
        Ok(mut value) => {
            mask(&mut value);
            value.to_string()
        }
        Err(_) => text,
    };
    (answer.status.clone(), headers, body)
}

fn without_texts(text: String) -> String {
    TEXTS.iter().fold(text, |text, (words, _)| {
        let mut parts = text.split(words);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |whole, part| whole + words + part.trim_start_matches(|digit: char| digit.is_ascii_digit()))
    })
}

/// Empties the fields that are not compared.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if FIELDS.iter().any(|(ignored, _)| ignored == name) {
                    *value = Value::Null;
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        _ => {}
    }
}
