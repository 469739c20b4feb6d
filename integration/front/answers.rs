//! What the front answers by itself is, byte for byte but for the moment, what the filters answer with the front switched
//! off, and is logged and counted as theirs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::harness::alone::{Alone, Folder, free_port};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::metrics::Metrics;
use crate::harness::{ensure, ensure_eq};
use crate::learned::Impostor;

/// What is asked: lines of requests, and of headers.
const LINES: [&str; 12] = [
    "GET /_matrix/client/versions",
    "HEAD /_matrix/client/versions?a=b",
    "OPTIONS /_matrix/client/v3/sync?since=s1",
    "OPTIONS /nothing/at/all",
    "GET /_matrix/client/v3/login",
    "GET /.well-known/matrix/client",
    "HEAD /.well-known/matrix/server",
    "GET /.well-known/matrix/support",
    "GET /_matrix/key/v2/server/ed25519:a",
    "GET /_matrix/federation/v1/version",
    "GET /_synapse/admin/v1/users",
    "GET /_synapse/replication/a",
];
const HEADERS: [&str; 9] = [
    "",
    "Connection: keep-alive\r\n",
    "Connection: close\r\n",
    "connection: CLOSE\r\n",
    "Accept-Encoding: gzip\r\nOrigin: https://app.example.org\r\nUser-Agent: a\r\n",
    "X-Request-Id: given\r\nX-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n",
    "Content-Length: 0\r\n",
    "Connection: close, X-Forwarded-For\r\n",
    "Expect: 100-continue\r\n",
];
const SETTINGS: &str = "trusted_proxies: ['127.0.0.1']\n\
    answers: {well_known_support: {support_page: 'https://example.org/'}}\n";

/// A dendron before a server that says it is Synapse.
struct Edge {
    dendron: Alone,
    port: u16,
    folder: Folder,
}

impl Edge {
    fn start(synapse: &Impostor, settings: &str) -> Result<Self, Failed> {
        let [port, admin] = [free_port()?, free_port()?];
        let folder = Folder::with(&[])?;
        let config = format!(
            "listeners: [{{address: '127.0.0.1:{port}'}}]\nadmin: {{address: '127.0.0.1:{admin}'}}\n\
             pools: {{main: ['{}']}}\nlog: {{format: json, access: {}}}\n{SETTINGS}{settings}",
            synapse.url(),
            folder.text("access.log"),
        );
        folder.write("dendron.yaml", &config)?;
        let dendron = Alone::start(&folder.path("dendron.yaml"), admin, &folder.path("output"))?;
        Ok(Edge { dendron, port, folder })
    }

    /// Waits until everything is learned: the last item is, after all the others.
    fn until_learned(&self) -> Result<(), Failed> {
        eventually(SOON, || {
            self.ask("GET /_matrix/client/v3/account/whoami", "Connection: close\r\nAuthorization: Basic none\r\n")?;
            let labels = [("answer", "federation_version")];
            self.ask("GET /_matrix/federation/v1/version", "Connection: close\r\n")?;
            ensure!(self.metrics()?.sum("dendron_answers_total", &labels) > 0.0, "not learned");
            Ok(())
        })
    }

    /// All that comes back.
    fn ask(&self, line: &str, headers: &str) -> Result<String, Failed> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(SOON))?;
        // The second request ends the connection, unless the first one did.
        write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")?;
        stream.write_all(b"GET /.well-known/matrix/support HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n")?;
        let mut said = Vec::new();
        // A connection that ended with the first request may meet the second one with a reset.
        let _ = stream.read_to_end(&mut said);
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn metrics(&self) -> Result<Metrics, Failed> {
        Metrics::scrape(self.dendron.admin())
    }

    /// Waits until every request that was counted is logged, which is a moment later; how many that are.
    fn until_logged(&self) -> Result<usize, Failed> {
        let mut lines = 0;
        eventually(SOON, || {
            lines = self.log()?.len();
            ensure_eq!(lines as f64, self.metrics()?.sum("dendron_requests_total", &[]), "lines of the access log");
            Ok(())
        })?;
        Ok(lines)
    }

    /// The lines of the access log without what differs from one request to the next.
    fn log(&self) -> Result<Vec<Value>, Failed> {
        let text = std::fs::read_to_string(self.folder.path("access.log"))?;
        let mut lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        for line in &mut lines {
            if let Some(fields) = line.as_object_mut() {
                fields.retain(|name, value| {
                    let is_made = name == "request_id" && *value != "given";
                    !is_made && name != "time" && !name.ends_with("_ms")
                });
            }
        }
        Ok(lines)
    }
}

/// Answers with their headers in one order, and without the moment.
fn comparable(said: &str) -> Vec<(Vec<String>, String)> {
    let mut answers = Vec::new();
    for answer in said.split("HTTP/1.1 ").skip(1) {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        // Pingora writes the names that it knows with capitals, and the front all of them.
        let small = |line: &str| line.split_once(": ").map(|(name, value)| format!("{}: {value}", name.to_lowercase()));
        let undated = head.lines().filter(|line| !line.starts_with("Date: "));
        let mut lines: Vec<String> = undated.map(|line| small(line).unwrap_or_else(|| line.to_owned())).collect();
        ensure_dated(head, &mut lines);
        lines[1..].sort();
        answers.push((lines, body.to_owned()));
    }
    answers
}

/// There is a date, though not which.
fn ensure_dated(head: &str, lines: &mut Vec<String>) {
    lines.push(format!("dates: {}", head.matches("\r\nDate: ").count()));
}

pub fn they_are_the_filters_own() -> Result<(), Failed> {
    // What is learned counts how often it was asked, so both learn from the same questions only if these are few: what is
    // compared leaves the count out.
    let synapse = Impostor::start("Synapse/1")?;
    let (with, without) = (Edge::start(&synapse, "")?, Edge::start(&synapse, "front: off\n")?);
    with.until_learned()?;
    without.until_learned()?;
    let log_before = [with.until_logged()?, without.until_logged()?];
    let before = [with.metrics()?, without.metrics()?];
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for line in LINES {
        for headers in HEADERS {
            let (ours, theirs) = (with.ask(line, headers)?, without.ask(line, headers)?);
            let (ours, theirs) = (comparable(&uncounted(&ours)), comparable(&uncounted(&theirs)));
            ensure!(ours == theirs, "{line} {headers:?}:\nwith {ours:#?}\nwithout {theirs:#?}");
            *counts.entry(ours.len()).or_default() += 1;
        }
    }
    ensure!(counts.contains_key(&1) && counts.contains_key(&2), "answers on a connection: {counts:?}");
    let total = |metrics: &Metrics| metrics.sum("dendron_requests_total", &[("answered_by", "edge")]);
    eventually(SOON, || {
        let after = [with.metrics()?, without.metrics()?];
        let grown = [total(&after[0]) - total(&before[0]), total(&after[1]) - total(&before[1])];
        ensure_eq!(grown[0], grown[1], "answered by the edge, with the front and without");
        ensure!(grown[0] > 150.0, "only {} were answered by the edge", grown[0]);
        for name in ["versions", "preflight", "login_flows", "server_keys", "federation_version"] {
            let answered = |metrics: &Metrics| metrics.sum("dendron_answers_total", &[("answer", name)]);
            let grown = [answered(&after[0]) - answered(&before[0]), answered(&after[1]) - answered(&before[1])];
            ensure_eq!(grown[0], grown[1], "answers {name}");
        }
        let logs = [with.log()?.split_off(log_before[0]), without.log()?.split_off(log_before[1])];
        ensure_eq!(logs[0].len(), logs[1].len(), "lines of the access logs");
        for (ours, theirs) in logs[0].iter().zip(&logs[1]) {
            ensure_eq!(ours, theirs, "a line of the access log");
        }
        Ok(())
    })
}

/// Without the count that the server puts into its answers, which has one digit more now and then.
fn uncounted(said: &str) -> String {
    let mut text = String::new();
    let mut rest = said;
    let marks = ["\"count\":", "X-Count: ", "x-count: ", "Content-Length: "];
    while let Some((place, mark)) = marks.iter().filter_map(|mark| Some((rest.find(mark)?, mark))).min() {
        let (before, behind) = rest.split_at(place + mark.len());
        text.push_str(before);
        rest = behind.trim_start_matches(|digit: char| digit.is_ascii_digit());
    }
    text + rest
}

/// Many at once are answered in few pieces, and in order.
pub fn a_pipeline_is_answered_together() -> Result<(), Failed> {
    const COUNT: usize = 2000;
    let synapse = Impostor::start("Synapse/1")?;
    let edge = Edge::start(&synapse, "connections: {requests: 1999}\n")?;
    edge.until_learned()?;
    let mut stream = TcpStream::connect(("127.0.0.1", edge.port))?;
    stream.set_read_timeout(Some(SOON))?;
    let mut writer = stream.try_clone()?;
    let sending = std::thread::spawn(move || {
        for _ in 0..COUNT {
            writer.write_all(b"OPTIONS /a HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        }
        Ok::<_, std::io::Error>(())
    });
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    let _ = sending.join();
    ensure_eq!(said.matches("HTTP/1.1 204 No Content").count(), COUNT - 1, "answers");
    ensure_eq!(said.matches("Connection: close").count(), 1, "last answers");
    ensure!(said.trim_end().lines().rev().take(8).any(|line| line == "Connection: close"), "the last is another one");
    eventually(SOON, || {
        let answered = edge.metrics()?.sum("dendron_requests_total", &[("method", "OPTIONS"), ("code", "204")]);
        ensure_eq!(answered, (COUNT - 1) as f64, "counted");
        Ok(())
    })
}
