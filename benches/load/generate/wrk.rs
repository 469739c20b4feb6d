//! wrk: as many requests as go, one after the other on each connection.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fault::{Doing, Outcome, wrong};
use crate::mix::Request;

/// What a generator did in one burst.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burst {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Requests that were not answered, or with an error.
    pub(crate) errors: u64,
}

/// How wrk is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrk<'script> {
    pub(crate) script: &'script Path,
    pub(crate) is_encrypted: bool,
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
}

/// The word before the numbers of a result.
const RESULT: &str = "RESULT";

/// Writes the script that has wrk send these requests in turn. With `closes` each has a connection of its own.
pub(crate) fn script(path: PathBuf, requests: &[Request], closes: bool) -> Outcome<PathBuf> {
    let mut text = String::from("requests = {}\nlocal turn = 0\nfunction init(args)\n");
    for (place, request) in requests.iter().enumerate() {
        let headers = request.headers.iter().map(|(name, value)| format!("[{name:?}] = {value:?}"));
        let mut headers: Vec<String> = headers.collect();
        if closes {
            headers.push("[\"Connection\"] = \"close\"".to_owned());
        }
        let body = if request.body.is_empty() { "nil".to_owned() } else { format!("{:?}", request.body) };
        let (method, target) = (request.method, &request.target);
        let _ = writeln!(
            text,
            "requests[{}] = wrk.format({method:?}, {target:?}, {{{}}}, {body})",
            place + 1,
            headers.join(", ")
        );
    }
    text.push_str("end\nfunction request()\n  turn = turn % #requests + 1\n  return requests[turn]\nend\n");
    let errors = "e.connect + e.read + e.write + e.timeout + e.status";
    let _ = writeln!(
        text,
        "function done(summary)\n  local e = summary.errors\n  io.write(string.format(\"{RESULT} %d %d %d\\n\", \
         summary.requests, summary.duration, {errors}))\nend"
    );
    std::fs::write(&path, text).doing(format!("writing {}", path.display()))?;
    Ok(path)
}

impl Wrk<'_> {
    /// Sends for as long as was said.
    pub(crate) fn run(&self, port: u16) -> Outcome<Burst> {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let output = Command::new("wrk")
            .args([
                "-t1",
                &format!("-c{}", self.connections),
                &format!("-d{}s", self.seconds),
                "--timeout",
                "10s",
                "-s",
            ])
            .arg(self.script)
            .arg(format!("{scheme}://localhost:{port}/"))
            .output()
            .doing("starting wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers = text.lines().find_map(|line| line.strip_prefix(RESULT));
        let numbers: Vec<u64> =
            numbers.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [requests, microseconds, errors] = *numbers else {
            return Err(wrong(format!("wrk has said no result:\n{text}{}", String::from_utf8_lossy(&output.stderr))));
        };
        Ok(Burst { requests, seconds: microseconds as f64 / 1e6, errors })
    }
}
