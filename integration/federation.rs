//! Two homeservers, each behind a dendron of its own, federate over TLS.
//!
//! Synapse signs each request to another homeserver together with its path and query, and the other one checks the
//! signature against what reaches it. So a dendron that changed a single byte of a target would end federation.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::federated::Federated;
use crate::harness::metrics::Metrics;
use crate::harness::stacks::Stacks;
use crate::harness::tls::{Authority, Connection, replace};
use crate::harness::{checkout, dev_folder, ensure, ensure_eq, program};

/// One test, because what it stands on is started for it alone.
pub const TESTS: &[Test] = &[("federation::two_homeservers_over_tls", two_homeservers)];

/// How long the program may take. It stops by itself after two minutes, and then says at which step.
const PROGRAM: Duration = Duration::from_secs(150);
const REQUESTS: &str = "dendron_requests_total";
const EXPIRY: &str = "dendron_certificate_expiry_timestamp_seconds";

/// The classes of requests that homeservers make on each other. The keys are those of `/_matrix/key/v2/server`.
const CLASSES: [&str; 4] = ["federation_transaction", "federation_read", "federation_join", "well_known"];

fn two_homeservers(_: &Stacks) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path())?;
    // They start side by side, and differ in when their certificates expire.
    let mut a = Federated::start("federation-a", &authority, folder.path(), rcgen::date_time_ymd(2040, 1, 1), &[])?;
    let mut b = Federated::start("federation-b", &authority, folder.path(), rcgen::date_time_ymd(2041, 2, 3), &[])?;
    a.stack.wait_until_ready()?;
    b.stack.wait_until_ready()?;

    expiry_is_shown(&a)?;
    expiry_is_shown(&b)?;
    // Each is the one that asks once.
    federate(&a, &b, &authority, folder.path())?;
    federate(&b, &a, &authority, folder.path())?;
    all_was_granted(&a)?;
    all_was_granted(&b)?;
    both_versions_of_http(&a, &authority)?;
    new_certificates_are_served(&mut a, &authority)
}

fn federate(a: &Federated, b: &Federated, authority: &Authority, folder: &Path) -> Result<(), Failed> {
    let script = checkout().join("integration/clients/federation.py");
    let python: PathBuf = dev_folder().join("clients/bin/python");
    let (a_name, b_name) = (a.name(), b.name());
    let arguments = [
        path_text(&script),
        "--a-url",
        &a.url,
        "--a-name",
        &a_name,
        "--b-url",
        &b.url,
        "--b-name",
        &b_name,
        "--ca-file",
        path_text(&authority.file),
    ];
    let said = program::run(&python, &arguments, &folder.join("federation.out"), PROGRAM)?;
    ensure!(said.trim_end().ends_with("steps passed"), "it ended without its last line:\n{said}");
    Ok(())
}

/// The other homeserver's requests arrived through this dendron, and no signature was found wrong.
fn all_was_granted(server: &Federated) -> Result<(), Failed> {
    let metrics = Metrics::scrape(&server.stack.admin())?;
    let name = server.name();
    for class in CLASSES {
        let granted = metrics.sum(REQUESTS, &[("class", class), ("code", "200")]);
        ensure!(granted >= 1.0, "{name}: no request of class {class} was granted");
        let refused = metrics.sum(REQUESTS, &[("class", class), ("code", "401")]);
        ensure_eq!(refused, 0.0, "{name}: requests of class {class} whose signature was refused");
    }
    for (code, count) in metrics.by(REQUESTS, &[], "code") {
        ensure!(!code.starts_with('5'), "{name}: {count} requests were answered with {code}");
    }
    Ok(())
}

fn both_versions_of_http(server: &Federated, authority: &Authority) -> Result<(), Failed> {
    // Over HTTP/2 the name comes as `:authority`, and without a name there is only the default certificate.
    let by_address = server.url.replace("localhost", "127.0.0.1");
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for url in [&server.url, &by_address] {
            let target = format!("{url}/_matrix/client/versions");
            let output = server.stack.folder().join("curl.out");
            let wanted = ["--write-out", "\n%{http_code} over %{http_version}"];
            let arguments = ["--silent", "--show-error", "--cacert", path_text(&authority.file), option];
            let arguments = [&arguments[..], &wanted, &[&target]].concat();
            let said = program::run(Path::new("curl"), &arguments, &output, SOON)?;
            let (body, how) = said.rsplit_once('\n').unwrap_or_default();
            ensure_eq!(how, format!("200 over {version}"), "{target} by curl {option}");
            ensure!(body.contains("\"versions\""), "{target} by curl {option}: {body}");
        }
    }
    Ok(())
}

/// Files that were replaced are served without a restart; those that are no certificates leave the last good ones.
fn new_certificates_are_served(server: &mut Federated, authority: &Authority) -> Result<(), Failed> {
    let dendron = server.stack.dendron()?.id();
    let old = authority.shown(server.port)?;
    let mut kept = authority.connect(server.port)?;
    ask(&mut kept)?;

    server.expires = rcgen::date_time_ymd(2042, 3, 4);
    let new = authority.sign(&server.files, server.expires)?;
    ensure!(new != old, "the new certificate is the old one");
    eventually(SOON, || {
        ensure!(authority.shown(server.port)? == new, "the old certificate is still served");
        Ok(())
    })?;
    expiry_is_shown(server)?;
    ask(&mut kept).map_err(|reason| format!("a connection from before: {}", reason.message().unwrap_or_default()))?;

    replace(&server.files.certificate, "no certificate")?;
    eventually(SOON, || {
        let log = std::fs::read_to_string(server.stack.dendron_log())?;
        ensure!(log.contains("the last good certificates stay in use"), "nothing is said of a wrong file");
        Ok(())
    })?;
    ensure!(authority.shown(server.port)? == new, "the last good certificate is not served any more");
    ensure!(server.stack.dendron()?.is_running(), "dendron has ended");
    ensure_eq!(server.stack.dendron()?.id(), dendron, "dendron's process");
    Ok(())
}

fn expiry_is_shown(server: &Federated) -> Result<(), Failed> {
    let shown = Metrics::scrape(&server.stack.admin())?.sum(EXPIRY, &[("listener", &server.address)]);
    ensure_eq!(shown, server.expires.unix_timestamp() as f64, "{EXPIRY} of {}", server.address);
    Ok(())
}

/// Sends a request over a connection that stays open.
fn ask(connection: &mut Connection) -> Result<(), Failed> {
    connection.write_all(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    // The body of this answer is one JSON object, which ends in two braces or more; its length is not looked at.
    while !answer.ends_with(b"}}") && !answer.ends_with(b"}}\r\n0\r\n\r\n") {
        let mut bytes = [0; 4096];
        let length = connection.read(&mut bytes)?;
        ensure!(length > 0, "the connection ended after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..length]);
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "answered with {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
