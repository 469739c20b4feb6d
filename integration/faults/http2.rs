//! Requests over HTTP/2 without TLS, as curl makes them.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;
use ureq::http::Response;

use crate::harness::http::Answer;
use crate::harness::program;

/// How long curl may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends one request, over a connection of its own.
pub fn send(base: &str, method: &str, target: &str, body: &[u8]) -> Result<Answer, Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("body");
    std::fs::write(&file, body)?;
    let (file, url) = (format!("@{}", file.display()), format!("{base}{target}"));
    let mut arguments = vec!["--silent", "--show-error", "--include", "--http2-prior-knowledge"];
    match method {
        "HEAD" => arguments.push("--head"),
        "PUT" | "POST" => arguments.extend(["--request", method, "--data-binary", &file]),
        _ => arguments.extend(["--request", method]),
    }
    arguments.push(&url);
    let said = program::run(Path::new("curl"), &arguments, &folder.path().join("said"), PATIENCE)?;
    answer(&said).ok_or_else(|| format!("no answer over HTTP/2: {said}").into())
}

fn answer(said: &str) -> Option<Answer> {
    let (head, body) = said.split_once("\r\n\r\n")?;
    let mut lines = head.strip_prefix("HTTP/2 ")?.split("\r\n");
    let status = lines.next()?.trim().parse().ok()?;
    let mut built = Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        built = built.header(name, value);
    }
    Some(Answer { status, head: built.body(()).ok()?, body: body.as_bytes().to_vec() })
}
