//! Bodies: refused in words that the client hears, passed on byte for byte, and never kept.
//!
//! What Synapse has a say in is tried on a real one. The rest stands before a stub, because bodies of 100 MB would be a
//! test of Synapse's disk, and it takes no chunked upload at all.

mod edge;
mod media_stub;
mod memory;

use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::alone::{self, Alone, Folder};
use crate::harness::http::{Answer, Client, raw_tcp};
use crate::harness::matrix::{User, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::tls::{Authority, Files};
use crate::harness::{checkout, ensure, ensure_eq, program, synapse_python};

use edge::Edge;
use media_stub::Pattern;

pub const TESTS: &[Test] = &[
    ("bodies::curl_hears_that_its_upload_is_too_large", |_| curl_hears_a_refusal()),
    ("bodies::curl_passes_both_ways", |_| curl_passes_both_ways()),
    ("bodies::python_hears_that_its_upload_is_too_large", |_| python_hears_a_refusal()),
    ("bodies::every_refusal_is_heard", |_| every_refusal_is_heard()),
    ("bodies::endless_upload_is_cut", |_| endless_upload_is_cut()),
    ("bodies::upload_at_the_limit_passes", |_| upload_at_the_limit_passes()),
    ("bodies::refusal_is_heard_before_synapse", |stacks| stacks.on_monolith(refusal_before_synapse)),
    ("bodies::one_continue_and_one_answer", |stacks| stacks.on_monolith(one_continue)),
    ("bodies::refusal_is_heard_before_workers", |stacks| stacks.on_workers(refusal_before_synapse)),
    ("bodies::one_continue_and_one_answer_of_workers", |stacks| stacks.on_workers(one_continue)),
    ("bodies::an_upload_without_a_length_is_synapses_to_refuse", |stacks| stacks.on_monolith(upload_without_length)),
    ("bodies::head_range_and_etag_are_synapses", |stacks| stacks.on_monolith(head_range_and_etag)),
    ("bodies::chunks_pass_both_ways", |_| memory::chunks_pass_both_ways()),
    ("bodies::uploads_are_not_kept", |_| memory::uploads_are_not_kept()),
    ("bodies::downloads_are_not_kept", |_| memory::downloads_are_not_kept()),
    ("bodies::encrypted_bodies_are_not_kept", |_| memory::encrypted_bodies_are_not_kept()),
    ("bodies::refused_uploads_are_not_kept", |_| memory::refused_uploads_are_not_kept()),
    ("bodies::slow_reader_costs_no_memory", |_| memory::slow_reader_costs_no_memory()),
];

const CHUNKED: &str = "Transfer-Encoding: chunked";
const PYTHON: [&str; 3] = ["http.client", "requests", "socket"];
const REQUESTS: &str = "dendron_requests_total";
const UPLOAD: &str = "/_matrix/media/v3/upload";
/// How long one program may take with one body.
const PROGRAM: Duration = Duration::from_secs(60);

/// The limit of the tests' own dendron.
const LIMIT: u64 = 8 << 20;
/// One byte too many; far more than socket buffers take; more than dendron is ready to throw away.
const SIZES: [u64; 3] = [LIMIT + 1, 100 << 20, 400 << 20];

fn curl_hears_a_refusal() -> Result<(), Failed> {
    let edge = Edge::start(LIMIT)?;
    let file = edge.path("body");
    let from = file.display().to_string();
    for size in SIZES {
        std::fs::File::create(&file)?.set_len(size)?;
        for (url, option, version) in edge.ways() {
            // Curl expects a `100 Continue` of its own accord; with the header emptied it sends at once.
            for header in ["X-Nothing: 1", "Expect:", CHUNKED] {
                let what = format!("{size} bytes to {url} by curl {option} {header}");
                let target = format!("{url}{UPLOAD}");
                let more = ["--request", "POST", "--header", header, "--upload-file", &from, &target];
                let (how, body) = edge.curl(option, &more).map_err(|error| because(&what, &error))?;
                ensure_eq!(how, format!("413 over {version}"), "{what}");
                let body: Value = serde_json::from_str(&body)?;
                ensure_eq!(errcode(&body), "M_TOO_LARGE", "{what}");
            }
        }
    }
    edge.is_well()
}

fn curl_passes_both_ways() -> Result<(), Failed> {
    let edge = Edge::start(LIMIT)?;
    let (file, back) = (edge.path("body"), edge.path("back"));
    let (from, to) = (file.display().to_string(), back.display().to_string());
    Pattern::new().write(&mut std::fs::File::create(&file)?, LIMIT, false)?;
    for (url, option, version) in edge.ways() {
        let ok = format!("200 over {version}");
        for (header, framing) in [("Expect:", ""), ("Expect: 100-continue", ""), (CHUNKED, "chunked")] {
            let what = format!("an upload to {url} by curl {option} {header}");
            let target = format!("{url}{UPLOAD}");
            let more = ["--request", "POST", "--header", header, "--upload-file", &from, &target];
            let (how, _) = edge.curl(option, &more).map_err(|error| because(&what, &error))?;
            ensure_eq!(how, ok, "{what}");
            let seen = edge.stub.last()?;
            ensure!(seen.is_whole && seen.length == LIMIT, "{what}: {seen:?}");
            ensure_eq!(seen.head.header("transfer-encoding"), framing, "{what}: framing");
        }
        for query in ["", "?chunked"] {
            let target = format!("{url}/_matrix/client/v1/media/download/stub/{LIMIT}{query}");
            let (how, _) = edge.curl(option, &["--output", &to, &target])?;
            ensure_eq!(how, ok, "{target} by curl {option}");
            ensure!(std::fs::read(&back)? == std::fs::read(&file)?, "{target} by curl {option}: other bytes came");
        }
    }
    Ok(())
}

fn python_hears_a_refusal() -> Result<(), Failed> {
    let edge = Edge::start(LIMIT)?;
    for size in SIZES {
        for way in PYTHON {
            for framing in [&[][..], &["--chunked"]] {
                let what = format!("{size} bytes by {way} {framing:?}");
                // Those that look for an answer only after the last byte are heard out, but not without end.
                if size > edge::HEARD_OUT && way == "http.client" {
                    continue;
                }
                let url = format!("{}{UPLOAD}", edge.url());
                let answer = python(&url, way, size, framing, &edge.path("python.out"));
                let answer = answer.map_err(|error| because(&what, &error))?;
                ensure_eq!(answer["status"], 413, "{what}");
                ensure_eq!(errcode(&answer["body"]), "M_TOO_LARGE", "{what}");
            }
        }
    }
    edge.is_well()
}

/// The size is not the only reason for which dendron answers before a body has come.
fn every_refusal_is_heard() -> Result<(), Failed> {
    let mut edge = Edge::start(SIZES[1])?;
    let output = edge.path("python.out");
    let hear = |url: String, way| python(&url, way, SIZES[1], &[], &output);
    for way in PYTHON {
        let answer = hear(format!("{}/_synapse/admin/v1/media", edge.url()), way)?;
        ensure_eq!(errcode(&answer["body"]), "M_UNRECOGNIZED", "a path that is not offered, by {way}");
    }
    edge.point_at_nobody()?;
    for way in PYTHON {
        let answer = hear(format!("{}{UPLOAD}", edge.url()), way)?;
        ensure_eq!(answer["status"], 502, "an upload while Synapse is down, by {way}");
    }
    Ok(())
}

/// A sender that never ends, and never looks for an answer, is cut.
fn endless_upload_is_cut() -> Result<(), Failed> {
    let edge = Edge::start(LIMIT)?;
    let begun = Instant::now();
    let outcome = edge.upload(u64::MAX >> 1, false);
    ensure!(outcome.is_err(), "an endless upload came to an end");
    ensure!(begun.elapsed() < Duration::from_secs(35), "it was cut after {:?}", begun.elapsed());
    edge.is_well()
}

fn upload_at_the_limit_passes() -> Result<(), Failed> {
    let edge = Edge::start(LIMIT)?;
    for chunked in [false, true] {
        let status = edge.upload(LIMIT, chunked)?;
        ensure_eq!(status, "HTTP/1.1 200 OK", "chunked: {chunked}");
        let seen = edge.stub.last()?;
        ensure!(seen.is_whole && seen.length == LIMIT, "chunked: {chunked}: {seen:?}");
    }
    // Only uploads of media are measured.
    let other = Client::new(&edge.url()).send("POST", "/_matrix/client/v3/x", &[], &vec![0; LIMIT as usize + 1])?;
    ensure_eq!(other.status, 200, "a large request of another class");
    Ok(())
}

/// The limit is the one in Synapse's own files, and Synapse is not bothered.
fn refusal_before_synapse(stack: &mut Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "large")?;
    let limit = user.get("/_matrix/client/v1/media/config")?.json()["m.upload.size"].as_u64();
    let limit = limit.ok_or("Synapse does not tell its limit")?;
    let folder = stack.subfolder("bodies")?;
    let url = format!("{}{UPLOAD}", stack.client().base());
    let labels = [("class", "media_upload"), ("code", "413"), ("answered_by", "edge")];
    let before = Metrics::scrape(&stack.admin())?.sum(REQUESTS, &labels);
    let answer = python(&url, "requests", limit + 1, &[], &folder.join("python.out"))?;
    ensure_eq!(answer["status"], 413, "an upload over Synapse's limit");
    ensure_eq!(errcode(&answer["body"]), "M_TOO_LARGE", "an upload over Synapse's limit");
    let after = Metrics::scrape(&stack.admin())?.sum(REQUESTS, &labels);
    ensure_eq!(after, before + 1.0, "answers by dendron itself");
    // It is refused before Synapse is asked who it is from, which Synapse itself does for smaller ones.
    let answer = python(&url, "requests", 1000, &[], &folder.join("python.out"))?;
    ensure_eq!(answer["body"]["errcode"], "M_MISSING_TOKEN", "an upload by nobody");
    Ok(())
}

fn one_continue(stack: &mut Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "continue")?;
    let address = stack.client().base().trim_start_matches("http://").to_owned();
    let head = |length: u64| {
        let token = &user.token;
        format!(
            "POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: text/plain\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n"
        )
    };
    let taken = edge::after_continue(&address, &format!("{}\r\n", head(5)), b"hello")?;
    ensure_eq!(taken.matches("HTTP/1.1 100 ").count(), 1, "times told to continue: {taken}");
    ensure_eq!(taken.matches("HTTP/1.1 200 ").count(), 1, "answers: {taken}");
    ensure!(taken.contains("mxc://"), "no media: {taken}");

    // Nothing is sent after the head, as by a client that waits to be told to go on.
    let begun = Instant::now();
    let refused = raw_tcp(&address, format!("{}\r\n", head(1 << 40)).as_bytes(), Duration::from_secs(20))?;
    ensure!(refused.starts_with("HTTP/1.1 413 "), "an upload of a terabyte: {refused}");
    ensure!(!refused.contains("HTTP/1.1 100 "), "told to continue: {refused}");
    ensure!(begun.elapsed() < Duration::from_secs(5), "the end was told after {:?}", begun.elapsed());
    Ok(())
}

/// Synapse's upload servlet wants a `Content-Length` (`rest/media/upload_resource.py`), which over HTTP/2 a client need
/// not send. It says so itself, the same to everybody.
fn upload_without_length(stack: &mut Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "lengthless")?;
    let direct = stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default().to_owned();
    let folder = Folder::with(&[("body", "a body")])?;
    let authority = Authority::new(&folder.path(""))?;
    let files = Files::new(&folder.path(""), "edge");
    authority.sign(&files, time::OffsetDateTime::now_utc() + time::Duration::days(2))?;
    let tls = format!(", tls: {{certificate: '{}', key: '{}'}}", files.certificate.display(), files.key.display());
    let edge = alone::Edge::with_listener(&tls, &format!("pools: {{main: ['{direct}']}}\n"), Alone::start)?;

    let encrypted = format!("https://localhost:{}", edge.port);
    let authority = authority.file.display().to_string();
    let authorization = format!("Authorization: Bearer {}", user.token);
    let curl = |base: &str, version: &str, header: &str| {
        let (target, body) = (format!("{base}{UPLOAD}"), folder.text("body"));
        let fixed =
            ["--silent", "--show-error", "--cacert", &authority, "--write-out", "\n%{http_code} %{http_version}"];
        let request = ["--request", "POST", "--header", &authorization, "--header", header, "--upload-file", &body];
        let arguments = [&fixed[..], &[version], &request, &[&target]].concat();
        program::run(Path::new("curl"), &arguments, &folder.path("curl.out"), PROGRAM)
    };
    let theirs = curl(&direct, "--http1.1", CHUNKED)?;
    ensure!(theirs.contains("must specify a Content-Length") && theirs.ends_with("\n400 1.1"), "Synapse said {theirs}");
    ensure_eq!(curl(&encrypted, "--http1.1", CHUNKED)?, theirs, "over HTTP/1.1");
    let ours = curl(&encrypted, "--http2", "Content-Length:")?;
    ensure_eq!(ours, theirs.replace("400 1.1", "400 2"), "over HTTP/2");
    let ours = curl(&encrypted, "--http2", "Content-Type: text/plain")?;
    ensure!(ours.ends_with("\n200 2"), "with a length, over HTTP/2: {ours}");
    edge.dendron.stop().map(drop)
}

fn head_range_and_etag(stack: &mut Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "range")?;
    let direct = stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default().to_owned();
    let behind = user.through(&Client::new(&direct));
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let authorization = format!("Bearer {}", user.token);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/octet-stream")];
    let uploaded = expect_ok(&stack.client().send("POST", UPLOAD, &headers, &bytes)?, "upload")?;
    let place = uploaded["content_uri"].as_str().unwrap_or_default().trim_start_matches("mxc://").to_owned();
    let target = format!("/_matrix/client/v1/media/download/{place}");
    let etag = behind.get(&target)?.header("etag").to_owned();
    let questions: [(&str, &[(&str, &str)]); 6] = [
        ("GET", &[]),
        ("HEAD", &[]),
        ("GET", &[("If-None-Match", &etag)]),
        ("GET", &[("If-None-Match", "\"other\"")]),
        ("GET", &[("Range", "bytes=1000-1999")]),
        ("GET", &[("Range", "bytes=9000000-")]),
    ];
    for (method, more) in questions {
        let ours = user.send_with(method, &target, &Value::Null, more)?;
        let theirs = behind.send_with(method, &target, &Value::Null, more)?;
        ensure_eq!(ours.status, theirs.status, "{method} {more:?}: status");
        ensure!(ours.body == theirs.body, "{method} {more:?}: the bodies differ");
        for name in ["content-type", "content-length", "etag", "content-range", "accept-ranges", "cache-control"] {
            ensure_eq!(header(&ours, name), header(&theirs, name), "{method} {more:?}: {name}");
        }
    }
    Ok(())
}

fn because(what: &str, error: &Failed) -> Failed {
    format!("{what}: {}", error.message().unwrap_or_default()).into()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a [u8]> {
    answer.head.headers().get(name).map(|value| value.as_bytes())
}

fn errcode(body: &Value) -> &str {
    body["errcode"].as_str().unwrap_or_default()
}

/// What a Python program hears of an upload.
fn python(url: &str, way: &str, size: u64, more: &[&str], output: &Path) -> Result<Value, Failed> {
    let script = checkout().join("integration/bodies/uploads.py").display().to_string();
    let size = size.to_string();
    let arguments = [&[script.as_str(), "--url", url, "--way", way, "--size", &size][..], more].concat();
    let said = program::run(&synapse_python(), &arguments, output, PROGRAM)?;
    Ok(said.lines().last().map_or_else(|| Ok(json!(null)), serde_json::from_str)?)
}
