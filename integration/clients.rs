//! Real client libraries, which know nothing of dendron, hold whole conversations through it.
//!
//! The programs are in `clients/`; each tests every step of its own. Here is tested what dendron says of their requests
//! afterwards, and what it must not say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Failed;

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::matrix::{User, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::{checkout, dev_folder, ensure, ensure_eq, fail, program};
use crate::login::edge::until_answering;

pub const TESTS: &[Test] = &[
    ("clients::matrix_nio_on_monolith", |stacks| stacks.on_monolith(|stack| converse(stack, &NIO))),
    ("clients::matrix_nio_on_workers", |stacks| stacks.on_workers(|stack| converse(stack, &NIO))),
    ("clients::matrix_js_sdk_on_monolith", |stacks| stacks.on_monolith(|stack| converse(stack, &JS_SDK))),
    ("clients::matrix_js_sdk_on_workers", |stacks| stacks.on_workers(|stack| converse(stack, &JS_SDK))),
];

/// How long a program may take. It stops by itself after two minutes, and then says at which step.
const PROGRAM: Duration = Duration::from_secs(150);
/// The password of the programs' users, which must not be seen again.
const PASSWORD: &str = "never-to-be-logged-4f1d";
/// How Synapse begins every access token of a user.
const TOKEN: &str = "syt_";
const REQUESTS: &str = "dendron_requests_total";
const FORWARDED: &str = "dendron_logins_forwarded_total";
const SYNCS: &str = "dendron_sync_outcomes_total";

/// A client program.
struct Client {
    name: &'static str,
    interpreter: fn() -> PathBuf,
    script: &'static str,
    /// Classes of which it must have made requests that Synapse granted, beside [`COMMON`].
    classes: &'static [&'static str],
}

const NIO: Client = Client {
    name: "matrix-nio",
    interpreter: clients_python,
    script: "nio_client.py",
    classes: &["presence", "room_messages", "sliding_sync", "user_directory"],
};

const JS_SDK: Client = Client { name: "matrix-js-sdk", interpreter: node, script: "js_client.mjs", classes: &[] };

/// The classes of requests that every client makes.
const COMMON: &[&str] = &[
    "account_data",
    "client_read",
    "encryption",
    "event_send",
    "initial_sync",
    "login",
    "media",
    "media_upload",
    "profile",
    "push_rules",
    "receipts",
    "room_create",
    "room_join",
    "sync",
    "to_device",
    "typing",
];

fn converse(stack: &mut Stack, client: &Client) -> Result<(), Failed> {
    let admin = stack.admin();
    until_answering(&admin)?;
    let before = Metrics::scrape(&admin)?;
    let log_before = std::fs::read_to_string(stack.dendron_log())?.len();

    let script = checkout().join("integration/clients").join(client.script);
    let url = stack.client().base().to_owned();
    let arguments = [path_text(&script), "--url", &url, "--password", PASSWORD];
    let said = program::run(&(client.interpreter)(), &arguments, &stack.folder().join("client.out"), PROGRAM)?;
    ensure!(said.trim_end().ends_with("steps passed"), "{} ended without its last line:\n{said}", client.name);

    let after = Metrics::scrape(&admin)?;
    for class in COMMON.iter().chain(client.classes) {
        let labels = [("class", *class), ("code", "200"), ("answered_by", "synapse")];
        let granted = after.sum(REQUESTS, &labels) - before.sum(REQUESTS, &labels);
        ensure!(granted >= 1.0, "no request of class {class} was granted through dendron");
    }
    logins_are_answered_here(&before, &after)?;
    parked(&before, &after)?;
    no_server_error(&before, &after)?;
    every_endpoint_is_known(&before, &after)?;
    every_request_is_logged_once(stack, &before, log_before)?;
    no_secret_is_told(stack)
}

/// Every login with a password was answered by dendron itself, and there were some.
fn logins_are_answered_here(before: &Metrics, after: &Metrics) -> Result<(), Failed> {
    let more = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    let labels = [("class", "login"), ("method", "POST"), ("code", "200"), ("answered_by", "edge")];
    let answered = more(REQUESTS, &labels);
    ensure!(answered >= 1.0, "no login was answered at the edge");
    for (reason, _) in after.by(FORWARDED, &[], "reason") {
        let forwarded = more(FORWARDED, &[("reason", &reason)]);
        ensure!(forwarded == 0.0 || reason == "other_type", "{forwarded} logins were forwarded: {reason}");
    }
    Ok(())
}

/// Polls were held at the edge: some until their time was over, and some until a message came.
fn parked(before: &Metrics, after: &Metrics) -> Result<(), Failed> {
    for outcome in ["replayed", "woken"] {
        let labels = [("outcome", outcome)];
        let more = after.sum(SYNCS, &labels) - before.sum(SYNCS, &labels);
        ensure!(more >= 1.0, "no sync was {outcome}");
    }
    Ok(())
}

fn no_server_error(before: &Metrics, after: &Metrics) -> Result<(), Failed> {
    for (code, count) in after.by(REQUESTS, &[], "code") {
        let more = count - before.sum(REQUESTS, &[("code", &code)]);
        ensure!(!code.starts_with('5') || more == 0.0, "{more} requests were answered with {code}");
    }
    Ok(())
}

/// A client may ask for what this Synapse does not have, but what it has dendron must know by name.
fn every_endpoint_is_known(before: &Metrics, after: &Metrics) -> Result<(), Failed> {
    let labels = [("class", "unknown"), ("code", "200")];
    let more = after.sum(REQUESTS, &labels) - before.sum(REQUESTS, &labels);
    ensure_eq!(more, 0.0, "requests to unknown endpoints that Synapse served");
    Ok(())
}

/// What was counted since, and what was logged since, are the same requests. Polls that the program left open end a
/// moment later than the program.
fn every_request_is_logged_once(stack: &Stack, before: &Metrics, log_before: usize) -> Result<(), Failed> {
    eventually(SOON, || {
        let counted = Metrics::scrape(&stack.admin())?.sum(REQUESTS, &[]) - before.sum(REQUESTS, &[]);
        let log = std::fs::read_to_string(stack.dendron_log())?;
        let lines = log.get(log_before..).unwrap_or_default().lines().filter(|line| line.contains(" class="));
        ensure_eq!(lines.count() as f64, counted, "lines in the access log, and requests counted");
        Ok(())
    })
}

/// Neither tokens nor passwords stand in anything that dendron says, even if a client puts its token into the query.
fn no_secret_is_told(stack: &Stack) -> Result<(), Failed> {
    let user = User::register(&stack.client(), "secret")?;
    ensure!(user.token.starts_with(TOKEN), "Synapse's tokens begin in another way, so this test sees nothing");
    let whoami = format!("/_matrix/client/v3/account/whoami?access_token={}", user.token);
    let logged_before = count_of(&std::fs::read_to_string(stack.dendron_log())?, WHOAMI);
    expect_ok(&stack.client().get(&whoami)?, "whoami by a token in the query")?;
    let log = eventually(SOON, || {
        let log = std::fs::read_to_string(stack.dendron_log())?;
        ensure!(count_of(&log, WHOAMI) > logged_before, "the request is not logged");
        Ok(log)
    })?;
    let metrics = stack.admin().get("/metrics")?.text();
    let status = stack.admin().get("/status")?.text();
    for (place, text) in [("log", log), ("metrics", metrics), ("status", status)] {
        for secret in [TOKEN, PASSWORD, "access_token"] {
            if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                fail!("\"{secret}\" stands in dendron's {place}: {line}");
            }
        }
    }
    Ok(())
}

const WHOAMI: &str = "/account/whoami";

fn count_of(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// The Python that has matrix-nio.
fn clients_python() -> PathBuf {
    dev_folder().join("clients/bin/python")
}

/// The Node.js that `scripts/install.sh` chose, or whichever there is where it was not run.
fn node() -> PathBuf {
    let chosen = dev_folder().join("bin/node");
    if chosen.exists() { chosen } else { PathBuf::from("node") }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
