//! h2load: as many requests as go over HTTP/2, several at once on each connection.

use std::path::PathBuf;
use std::process::Command;

use super::wrk::Burst;
use crate::fault::{Doing, Outcome, wrong};
use crate::mix::Request;

/// Connections, and requests at once on each.
const CONNECTIONS: &str = "-c16";
const STREAMS: &str = "-m4";

/// Writes the file of targets that h2load asks for in turn.
pub(crate) fn targets(path: PathBuf, requests: &[Request]) -> Outcome<PathBuf> {
    let lines = requests.iter().map(|request| format!("https://localhost{}\n", request.target));
    std::fs::write(&path, lines.collect::<String>()).doing(format!("writing {}", path.display()))?;
    Ok(path)
}

/// Asks for so many seconds, with one token for all.
pub(crate) fn run(targets: &std::path::Path, token: &str, port: u16, seconds: u64) -> Outcome<Burst> {
    let output = Command::new("h2load")
        .args(["-t1", CONNECTIONS, STREAMS, &format!("-D{seconds}"), "-H", &format!("authorization: {token}"), "-i"])
        .arg(targets)
        .arg("-B")
        .arg(format!("https://localhost:{port}"))
        .output()
        .doing("starting h2load")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |line: &str, behind: &str| -> Option<u64> {
        let line = text.lines().find(|known| known.starts_with(line))?;
        line.split(',').find(|part| part.trim_end().ends_with(behind))?.split_whitespace().rev().nth(1)?.parse().ok()
    };
    let requests = number("requests:", "done").filter(|count| *count > 0);
    let requests = requests.ok_or_else(|| wrong(format!("h2load has said no result:\n{text}")))?;
    // What is under way when the time is over counts neither as done nor as failed.
    let failed =
        number("status codes:", "5xx").unwrap_or_default() + number("status codes:", "4xx").unwrap_or_default();
    Ok(Burst { requests, seconds: seconds as f64, errors: failed })
}
