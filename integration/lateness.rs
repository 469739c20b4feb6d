//! No message is late: whoever polls through an edge that parks is told the same as who polls at Synapse, and hardly later.
//!
//! The programs are in `lateness/` (Python, `main.py --help`); each has an edge of its own beside a stack, and judges what
//! it sees. Here the stacks are made, and the whole stream is heard beside it, so that no row of it is one without a rule.
//!
//! In the suite all of it is short. `DENDRON_LATENESS=long` plays everything with and without presence, and every fault;
//! `./dev quiet-soak [replays]` checks replays for as long as it takes, by `DENDRON_LATENESS_REPLAYS`.

use std::path::PathBuf;
use std::time::Duration;

use dendron::replication::Stream;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::federated::Federated;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::tls::Authority;
use crate::harness::{checkout, dendron, dev_folder, ensure, ensure_eq, program};
use crate::replication::Listener;

pub const TESTS: &[Test] = &[
    ("lateness::what_counts_as_told", what_counts_as_told),
    ("lateness::on_a_monolith", on_a_monolith),
    ("lateness::with_every_writer_apart", with_every_writer_apart),
    ("lateness::with_another_homeserver", with_another_homeserver),
    ("lateness::every_replay_is_checked", every_replay_is_checked),
];

/// How long a program may take; each of its waits is bounded, and much shorter.
const PROGRAM: Duration = Duration::from_secs(20 * 60);
/// How many devices the long soak has: about so many replays come in a second.
const WATCHERS: &str = "100";

/// What Synapse is to have on, so that every source of wakes can be fired.
fn settings(has_presence: bool) -> Value {
    json!({
        "presence": { "enabled": has_presence },
        "experimental_features": { "msc4306_enabled": true, "msc4354_enabled": true },
        "server_notices": { "system_mxid_localpart": "notices" },
    })
}

/// Whether everything is to be done that there is time for elsewhere.
fn is_long() -> bool {
    std::env::var("DENDRON_LATENESS").is_ok_and(|wish| wish == "long")
}

fn what_counts_as_told(_: &Stacks) -> Result<(), Failed> {
    let folder = checkout().join("integration/lateness").display().to_string();
    let arguments = ["-m", "unittest", "discover", "-s", &folder];
    let said = program::run(&python(), &arguments, &dev_folder().join("log/comparison.out"), Duration::from_secs(60))?;
    ensure!(said.trim_end().ends_with("OK") && !said.contains("Ran 0 tests"), "{said}");
    Ok(())
}

fn on_a_monolith(_: &Stacks) -> Result<(), Failed> {
    let stack = start("lateness-monolith", "monolith", false)?;
    differential(&stack, &[])?;
    differential(&stack, &["--sliding"])?;
    if is_long() {
        run(&stack, "faults", &["--long"])?;
        drop(stack);
        let stack = start("lateness-monolith", "monolith", true)?;
        differential(&stack, &["--presence"])?;
        differential(&stack, &["--presence", "--sliding"])?;
    }
    Ok(())
}

/// Only in the long form: it takes many minutes.
fn with_every_writer_apart(_: &Stacks) -> Result<(), Failed> {
    if !is_long() {
        println!("not run: DENDRON_LATENESS=long has it");
        return Ok(());
    }
    let stack = start("lateness-sharded", "sharded", true)?;
    differential(&stack, &["--presence"])?;
    run(&stack, "faults", &["--long"])?;
    differential(&stack, &["--presence", "--sliding"])?;
    drop(stack);
    differential(&start("lateness-sharded", "sharded", false)?, &[])
}

/// What another homeserver brings: its users in rooms here, and its rooms.
fn with_another_homeserver(_: &Stacks) -> Result<(), Failed> {
    if !is_long() {
        return federate(false, &[&[]]);
    }
    federate(false, &[&[], &["--sliding"]])?;
    federate(true, &[&["--presence"], &["--presence", "--sliding"]])
}

/// Fires it between two stacks, once with each of these options.
fn federate(has_presence: bool, each: &[&[&str]]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path())?;
    let settings = settings(has_presence).to_string();
    let start = |name| {
        let expires = rcgen::date_time_ymd(2040, 1, 1);
        Federated::start(name, &authority, folder.path(), expires, &["--settings", &settings])
    };
    // They start side by side.
    let (mut here, mut there) = (start("lateness-here")?, start("lateness-there")?);
    here.stack.wait_until_ready()?;
    there.stack.wait_until_ready()?;
    let other = there.stack.folder().display().to_string();
    each.iter().try_for_each(|more| differential(&here.stack, &[&["--other", &other], *more].concat()))
}

fn every_replay_is_checked(_: &Stacks) -> Result<(), Failed> {
    let replays = std::env::var("DENDRON_LATENESS_REPLAYS").ok().filter(|replays| !replays.is_empty());
    let Some(replays) = replays else {
        return run(&start("lateness-soak", "monolith", false)?, "soak", &["--seconds", "20"]).map(drop);
    };
    let stack = start("lateness-soak", "sharded", false)?;
    let today = time::OffsetDateTime::now_utc().date();
    let report = checkout().join(format!("benches/reports/quiet-soak-{today}.md")).display().to_string();
    println!("{}", run(&stack, "soak", &["--replays", &replays, "--watchers", WATCHERS, "--report", &report])?);
    Ok(())
}

fn start(name: &str, shape: &str, has_presence: bool) -> Result<Stack, Failed> {
    Stack::start(name, shape, &["--settings", &settings(has_presence).to_string()])
}

/// Fires every source, while another ear hears what Synapse publishes.
fn differential(stack: &Stack, more: &[&str]) -> Result<(), Failed> {
    let listener = Listener::start(stack)?;
    run(stack, "differential", more)?;
    let heard = listener.stop()?;
    ensure!(heard.rows.len() > 100, "only {} rows were heard", heard.rows.len());
    ensure!(heard.strange.is_empty(), "lines that are not understood: {:?}", heard.strange);
    let unknown: Vec<&String> = heard.rows.iter().filter(|row| Stream::of_name(row) == Stream::Unknown).collect();
    ensure_eq!(unknown, Vec::<&String>::new(), "rows of streams without a rule");
    Ok(())
}

/// Runs a program to its end, which must say that all holds.
fn run(stack: &Stack, mode: &str, more: &[&str]) -> Result<String, Failed> {
    let script = checkout().join("integration/lateness/main.py").display().to_string();
    let (folder, binary) = (stack.folder().display().to_string(), dendron().display().to_string());
    let mut arguments = vec![script.as_str(), mode, "--stack", &folder, "--dendron", &binary];
    arguments.extend(more);
    let output = stack.folder().join(format!("{mode}.out"));
    let within = if mode == "soak" { Duration::MAX } else { PROGRAM };
    let said = program::run(&python(), &arguments, &output, within)?;
    ensure!(said.trim_end().lines().last().is_some_and(|line| line.contains(" hold")), "{mode} ended early:\n{said}");
    Ok(said)
}

fn python() -> PathBuf {
    dev_folder().join("clients/bin/python")
}
