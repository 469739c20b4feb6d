//! How dendron ends: at once by SIGINT, and by SIGTERM when the requests that are under way have ended.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::Signal;

use crate::Test;
use crate::harness::matrix::{User, expect_ok};
use crate::harness::stack::{Stack, bare_dendron};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("stop::sigterm_without_requests_ends_at_once", |stacks| stacks.on_monolith(sigterm_without_requests)),
    ("stop::sigterm_lets_a_request_end", |stacks| stacks.on_monolith(sigterm_lets_a_request_end)),
    ("stop::sigterm_waits_no_longer_than_its_grace", |stacks| stacks.on_monolith(sigterm_has_a_bound)),
];

/// A dendron of its own before the stack's Synapse.
fn settings(stack: &Stack, grace: &str) -> String {
    let main = stack.facts["synapse"]["processes"][0]["address"].as_str().unwrap_or_default().to_owned();
    format!("pools: {{main: [\"{main}\"]}}\nshutdown: {{grace: {grace}}}\n")
}

fn sigterm_without_requests(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, mut child) = bare_dendron(&stack.subfolder("stop-idle")?, &settings(stack, "20s"))?;
    expect_ok(&edge.get("/_matrix/client/versions")?, "versions")?;
    let begun = Instant::now();
    let status = child.stop(Signal::TERM)?;
    ensure_eq!(status.code(), Some(0), "exit code");
    ensure!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    Ok(())
}

fn sigterm_lets_a_request_end(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, mut child) = bare_dendron(&stack.subfolder("stop-busy")?, &settings(stack, "20s"))?;
    let user = User::register(&stack.client(), "stop")?.through(&edge);
    let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "first sync")?;
    let target =
        format!("/_matrix/client/v3/sync?timeout=4000&since={}", first["next_batch"].as_str().unwrap_or_default());
    let poll = std::thread::spawn(move || user.get(&target).map(|answer| answer.status).ok());
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    child.signal(Signal::TERM);
    let status = child.wait(Duration::from_secs(15))?;
    let polled = poll.join().map_err(|_| "the poll panicked")?;
    ensure_eq!(polled, Some(200), "the poll that was under way");
    ensure_eq!(status.code(), Some(0), "exit code");
    ensure!(begun.elapsed() < Duration::from_secs(12), "it took {:?}", begun.elapsed());
    Ok(())
}

fn sigterm_has_a_bound(stack: &mut Stack) -> Result<(), Failed> {
    let (edge, mut child) = bare_dendron(&stack.subfolder("stop-bound")?, &settings(stack, "2s"))?;
    let user = User::register(&stack.client(), "bound")?.through(&edge);
    let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "first sync")?;
    let since = first["next_batch"].as_str().unwrap_or_default().to_owned();
    let target = format!("/_matrix/client/v3/sync?timeout=30000&since={since}");
    let poll = std::thread::spawn(move || user.get(&target).map(|answer| answer.status).ok());
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    child.signal(Signal::TERM);
    child.wait(Duration::from_secs(10))?;
    ensure!(begun.elapsed() > Duration::from_secs(1), "the grace was not given: {:?}", begun.elapsed());
    let _ = poll.join();
    Ok(())
}
