//! Synapse's processes under dendron's care, from their start to their end.
//!
//! What is seen here is what the system says of processes and what Synapse says of itself; dendron's own word is held
//! against that.

use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Test;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::processes::{self, Process};
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// One test, because a start of Synapse with workers is dear, and what follows a start is its stop.
pub const TESTS: &[Test] = &[("supervision::from_start_to_end", from_start_to_end)];

/// How long Synapse's main process may take to make its tables and to listen.
const MAIN_START: Duration = Duration::from_secs(120);
/// How long a worker may take to be there again.
const WORKER_START: Duration = Duration::from_secs(90);
/// How long everything may take to end in order: ten seconds for the workers, ten for main, and some more.
const STOP: Duration = Duration::from_secs(30);
/// How long everything may take to end by itself, once dendron is gone.
const ABANDONED: Duration = Duration::from_secs(10);
/// The waits before a first and a second restart.
const DELAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1000)];
const RESTARTS: &str = "dendron_supervised_restarts_total";
const MAIN: &str = "main";

fn from_start_to_end(_: &Stacks) -> Result<(), Failed> {
    let mut stack = Stack::prepare("supervision", "demo", &[])?;
    main_is_ready_before_a_worker_starts(&mut stack)?;
    stack.wait_until_ready()?;
    let user = User::register(&stack.client(), "supervised")?;
    let room = user.create_room()?;
    let event = user.say(&room, "1", "before the restart")?;

    let victim = process_of_syncs(&stack, &user)?;
    a_killed_worker_is_started_again(&stack, &user, &victim)?;
    interrupted_it_ends_workers_first(&mut stack)?;

    // At once, in the same folder.
    stack.start_dendron()?;
    stack.wait_until_ready()?;
    let target = format!("/_matrix/client/v3/rooms/{}/event/{}", encoded(&room), encoded(&event));
    let kept = expect_ok(&user.get(&target)?, "the event from before")?;
    ensure_eq!(kept["content"]["body"], "before the restart", "the event from before");
    killed_it_leaves_nothing(&mut stack)?;

    // At once again, although nobody could clear up; and a stop in the midst of the start.
    main_is_ready_before_a_worker_starts(&mut stack)?;
    end_by_interrupt(&mut stack)?;
    nothing_is_left(&stack)
}

/// Starts dendron. Whenever a worker is seen, main has begun to serve.
fn main_is_ready_before_a_worker_starts(stack: &mut Stack) -> Result<(), Failed> {
    ensure!(synapse_of(stack).is_empty(), "Synapse runs already: {:?}", synapse_of(stack));
    let main = Client::new(&address_of(stack, MAIN)?);
    stack.start_dendron()?;
    let begun = Instant::now();
    let mut main_alone = false;
    loop {
        let (mains, workers): (Vec<_>, Vec<_>) = synapse_of(stack).into_iter().partition(is_main);
        // Asked after the look at the workers: a worker that was there then had been started before this.
        let serves = main.get("/health").is_ok_and(|answer| answer.status == 200);
        main_alone |= mains.len() == 1 && workers.is_empty() && !serves;
        if !workers.is_empty() {
            ensure!(serves, "a worker was started before main served: {workers:?}");
            ensure!(main_alone, "main was never seen alone, so nothing was tested");
            return Ok(());
        }
        ensure!(begun.elapsed() < MAIN_START, "no worker was started; {}", stack.admin().get("/status")?.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The name of the worker that serves this user's syncs.
fn process_of_syncs(stack: &Stack, user: &User) -> Result<String, Failed> {
    let first = expect_ok(&user.get("/_matrix/client/v3/sync")?, "the first sync")?;
    let since = first["next_batch"].as_str().unwrap_or_default();
    expect_ok(&user.get(&sync_since(since))?, "a second sync")?;
    eventually(SOON, || {
        let log = std::fs::read_to_string(stack.dendron_log())?;
        let line = log.lines().rfind(|line| line.contains(" class=sync ")).ok_or("no sync is logged")?;
        let process = line.split(" process=").nth(1).and_then(|rest| rest.split(' ').next());
        Ok(process.filter(|name| name.starts_with("sync")).ok_or_else(|| line.to_owned())?.to_owned())
    })
}

/// A worker that dies is started again after a wait, which is longer the second time. Meanwhile its user is served.
fn a_killed_worker_is_started_again(stack: &Stack, user: &User, victim: &str) -> Result<(), Failed> {
    let first = expect_ok(&user.get("/_matrix/client/v3/sync")?, "a sync")?;
    let sync = sync_since(first["next_batch"].as_str().unwrap_or_default());

    let (killed, begun) = kill(stack, victim)?;
    let mut served = 0;
    let mut started = None;
    loop {
        expect_ok(&user.get(&sync)?, &format!("a sync {:?} after its process was killed", begun.elapsed()))?;
        served += 1;
        let now = supervised(stack, victim)?;
        if started.is_none() && now["pid"].as_u64().is_some_and(|id| id != u64::from(killed)) {
            started = Some(begun.elapsed());
        }
        if started.is_some() && now["state"] == "ready" {
            break;
        }
        ensure!(begun.elapsed() < WORKER_START, "{victim} is not ready again: {now}");
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(served > 5, "only {served} requests were made in the meantime, which shows nothing");
    waited(started, DELAYS[0])?;
    let now = supervised(stack, victim)?;
    ensure_eq!(now["restarts"], 1, "restarts of {victim} in /status");
    ensure!(now["last_exit"].as_str().is_some_and(|exit| exit.contains('9')), "how it ended: {now}");
    ensure_eq!(restarts(stack)?, [(victim.to_owned(), 1.0)], "restarts in the metrics");

    let (killed, begun) = kill(stack, victim)?;
    let started = eventually(WORKER_START, || {
        let now = supervised(stack, victim)?;
        ensure!(now["pid"].as_u64().is_some_and(|id| id != u64::from(killed)), "{victim} is not started: {now}");
        Ok(begun.elapsed())
    })?;
    waited(Some(started), DELAYS[1])?;
    ensure_eq!(restarts(stack)?, [(victim.to_owned(), 2.0)], "restarts in the metrics");
    Ok(())
}

/// It was started again no earlier than after the wait, and not very much later.
fn waited(started: Option<Duration>, delay: Duration) -> Result<(), Failed> {
    let started = started.unwrap_or_default();
    ensure!(started >= delay, "it was started again after {started:?}, before a wait of {delay:?}");
    ensure!(started < delay + SOON, "it was started again only after {started:?}");
    Ok(())
}

fn interrupted_it_ends_workers_first(stack: &mut Stack) -> Result<(), Failed> {
    let before = synapse_of(stack);
    let mains = before.iter().filter(|process| is_main(process)).count();
    ensure_eq!((mains, before.len()), (1, stack.synapse_processes().len()), "main and all processes before the end");
    let (main, workers): (Vec<Process>, Vec<Process>) = before.into_iter().partition(is_main);
    let runs = |process: &Process| processes::command_of(process.id).as_ref() == Some(&process.command);

    stack.dendron()?.signal(Signal::INT);
    let mut main_outlived_workers = false;
    while stack.dendron()?.is_running() {
        let main_runs = main.iter().any(runs);
        // Seen after the look at main: if main was gone then, all of these must have been gone before.
        let left: Vec<&Process> = workers.iter().filter(|process| runs(process)).collect();
        ensure!(main_runs || left.is_empty(), "main has ended before {left:?}");
        main_outlived_workers |= left.is_empty() && main.iter().any(runs);
        std::thread::sleep(Duration::from_millis(2));
    }
    ensure!(main_outlived_workers, "main was never seen without workers");
    end_by_interrupt(stack)?;
    nothing_is_left(stack)
}

/// Sends an interrupt if dendron still runs, and waits for its end, which must be no failure.
fn end_by_interrupt(stack: &mut Stack) -> Result<(), Failed> {
    stack.dendron()?.signal(Signal::INT);
    let status = stack.dendron()?.wait(STOP)?;
    ensure_eq!(status.code(), Some(0), "dendron's exit code");
    Ok(())
}

/// When dendron has ended in order, all that it started is gone, without any further wait.
fn nothing_is_left(stack: &Stack) -> Result<(), Failed> {
    let left = synapse_of(stack);
    ensure!(left.is_empty(), "these outlived dendron: {left:?}");
    Ok(())
}

fn killed_it_leaves_nothing(stack: &mut Stack) -> Result<(), Failed> {
    ensure_eq!(synapse_of(stack).len(), stack.synapse_processes().len(), "processes before the kill");
    stack.dendron()?.signal(Signal::KILL);
    stack.dendron()?.wait(STOP)?;
    eventually(ABANDONED, || nothing_is_left(stack))
}

/// Kills a worker that dendron started, and returns its process id and that time, when it is gone.
fn kill(stack: &Stack, worker: &str) -> Result<(u32, Instant), Failed> {
    let known = supervised(stack, worker)?;
    let id = known["pid"].as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| format!("no pid: {known}"))?;
    // Nothing else than this stack's worker is killed, whatever dendron says.
    let command = processes::command_of(id).unwrap_or_default();
    let own = format!("{}/workers/{worker}.yaml", stack.folder().display());
    ensure!(command.contains(&own), "process {id} is not {worker} but {command}");
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    let begun = Instant::now();
    kill_process(pid, Signal::KILL)?;
    // Until its last thread has ended the system takes connections in its name, which are then broken off.
    // What dendron sends again then is `faults`' matter; here it is what comes after.
    eventually(SOON, || {
        ensure!(!Path::new(&format!("/proc/{id}")).exists(), "{worker} was killed, and is not gone");
        Ok(())
    })?;
    Ok((id, begun))
}

/// What `/status` says of a process that dendron started.
fn supervised(stack: &Stack, name: &str) -> Result<Value, Failed> {
    let status = expect_ok(&stack.admin().get("/status")?, "/status")?;
    let processes = status["supervised"].as_array().cloned().unwrap_or_default();
    Ok(processes.into_iter().find(|process| process["name"] == name).ok_or_else(|| format!("no {name}: {status}"))?)
}

/// The processes that were started again, by the metrics.
fn restarts(stack: &Stack) -> Result<Vec<(String, f64)>, Failed> {
    let metrics = Metrics::scrape(&stack.admin())?;
    let all = metrics.by(RESTARTS, &[], "process");
    ensure_eq!(all.len(), stack.synapse_processes().len(), "processes in {RESTARTS}");
    Ok(all.into_iter().filter(|(_, count)| *count > 0.0).collect())
}

/// The running processes of this stack's Synapse.
fn synapse_of(stack: &Stack) -> Vec<Process> {
    let all = processes::of_folder(stack.folder());
    all.into_iter().filter(|process| process.command.contains("synapse.app.")).collect()
}

fn is_main(process: &Process) -> bool {
    process.command.contains("synapse.app.homeserver")
}

fn address_of(stack: &Stack, name: &str) -> Result<String, Failed> {
    let processes = stack.facts["synapse"]["processes"].as_array().cloned().unwrap_or_default();
    let process = processes.iter().find(|process| process["name"] == name);
    let address = process.and_then(|process| process["address"].as_str());
    Ok(address.ok_or_else(|| format!("stack.json has no address of {name}"))?.to_owned())
}

fn sync_since(since: &str) -> String {
    format!("/_matrix/client/v3/sync?timeout=0&since={}", encoded(since))
}
