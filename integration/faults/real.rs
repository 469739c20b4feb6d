//! A real Synapse with workers, of which processes are killed and stopped while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::Signal;

use super::{is_matrix_error, is_told_to_wait};
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::{Answer, Client};
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::{ensure, ensure_eq};

/// For how long there is load after a process was killed.
const LOAD: Duration = Duration::from_secs(4);
/// How long a process may take to be there again.
const RESTART: Duration = Duration::from_secs(60);
/// How long the class of the hanging process is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long checks that are not answered may take to be believed: three, of five seconds each, and the waits between.
const HANG_IS_KNOWN: Duration = Duration::from_secs(30);
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
/// Only main serves it.
const PUSHERS: &str = "/_matrix/client/v3/pushers";

/// One test, because a start of Synapse with workers is dear.
pub fn synapse_dies_and_hangs_under_load(_: &Stacks) -> Result<(), Failed> {
    let mut stack = Stack::prepare("faults", "demo", &[])?;
    let config = stack.text(&["dendron", "config"]);
    let settings = std::fs::read_to_string(&config)?;
    ensure!(!settings.contains("timeouts:"), "the stack's own timeouts would be lost: {settings}");
    std::fs::write(&config, format!("{settings}\ntimeouts: {{classes: {{client_read: {}s}}}}\n", PATIENCE.as_secs()))?;
    stack.start_dendron()?;
    stack.wait_until_ready()?;
    let user = User::register(&stack.client(), "faulty")?;
    a_sync_worker_is_killed(&stack, &user)?;
    the_only_worker_of_a_pool_is_killed(&stack, &user)?;
    main_is_killed(&stack, &user)?;
    a_worker_hangs(&stack, &user)
}

/// Whichever worker serves the user: nobody notices, because the other takes over.
fn a_sync_worker_is_killed(stack: &Stack, user: &User) -> Result<(), Failed> {
    let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "the first sync")?;
    let since = encoded(first["next_batch"].as_str().unwrap_or_default());
    // Held ones are in flight when their process dies. A timeout that is said twice is none that the edge would park for.
    let held = format!("/_matrix/client/v3/sync?timeout=1000&timeout=1000&since={since}");
    let quick = format!("/_matrix/client/v3/sync?timeout=0&timeout=0&since={since}");
    for victim in ["sync1", "sync2"] {
        let load = Load::start(user, &[&held, &held, &quick, WHOAMI]);
        std::thread::sleep(Duration::from_millis(300));
        stack.signal(victim, Signal::KILL)?;
        std::thread::sleep(LOAD / 2);
        load.end_without_failures(victim)?;
        is_ready_again(stack, victim)?;
    }
    let retries = Metrics::scrape(&stack.admin())?.sum("dendron_upstream_retries_total", &[]);
    ensure!(retries >= 1.0, "no request was sent on, so nothing was tested");
    Ok(())
}

/// Main stands in for reads. A message that was on its way is sent again by its client until it is taken, and stands in
/// the room once.
fn the_only_worker_of_a_pool_is_killed(stack: &Stack, user: &User) -> Result<(), Failed> {
    const MESSAGES: usize = 8;
    let room = user.create_room()?;
    let load = Load::start(user, &[WHOAMI, WHOAMI]);
    for number in 0..MESSAGES {
        if number == 2 {
            stack.signal("generic1", Signal::KILL)?;
        }
        let transaction = format!("t{number}");
        eventually(SOON, || user.say(&room, &transaction, &transaction).map(drop))?;
    }
    load.end_without_failures("generic1")?;
    let target = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", encoded(&room));
    let messages = expect_ok(&user.get(&target)?, "messages")?;
    let events = messages["chunk"].as_array().cloned().unwrap_or_default();
    let said = events.iter().filter(|event| event["type"] == "m.room.message");
    let mut bodies: Vec<&str> = said.map(|event| event["content"]["body"].as_str().unwrap_or_default()).collect();
    bodies.sort_unstable();
    let expected: Vec<String> = (0..MESSAGES).map(|number| format!("t{number}")).collect();
    ensure_eq!(bodies, expected, "the messages in the room");
    is_ready_again(stack, "generic1")
}

/// What workers serve goes on; what main serves fails cleanly, and works again when main does.
fn main_is_killed(stack: &Stack, user: &User) -> Result<(), Failed> {
    let first = expect_ok(&user.get("/_matrix/client/v3/sync?timeout=0")?, "a sync")?;
    let since = encoded(first["next_batch"].as_str().unwrap_or_default());
    let load = Load::start(user, &[&format!("/_matrix/client/v3/sync?timeout=0&since={since}"), WHOAMI]);
    expect_ok(&user.get(PUSHERS)?, "pushers")?;
    stack.signal("main", Signal::KILL)?;
    let mut failures = 0;
    let begun = Instant::now();
    loop {
        let answer = user.get(PUSHERS)?;
        if answer.status == 200 {
            break;
        }
        ensure!([502, 503].contains(&answer.status), "pushers: {} {}", answer.status, answer.text());
        is_told_to_wait(&answer)?;
        failures += 1;
        ensure!(begun.elapsed() < RESTART, "main is not there again");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(failures > 0, "nobody missed main, so nothing was tested");
    load.end_without_failures("main")?;
    is_ready_again(stack, "main")
}

/// Who is silent is given up in the time of the class, then known for it, and taken back when it is well.
fn a_worker_hangs(stack: &Stack, user: &User) -> Result<(), Failed> {
    expect_ok(&user.get(WHOAMI)?, "whoami")?;
    stack.signal("generic1", Signal::STOP)?;
    // A connection that stands is given the request as well as a new one, which the system takes in the process's name.
    let begun = Instant::now();
    let answer = user.get(WHOAMI);
    let took = begun.elapsed();
    let known = eventually(HANG_IS_KNOWN, || expect_ok(&user.get(WHOAMI)?, "whoami while generic1 hangs"));
    stack.signal("generic1", Signal::CONT)?;
    let answer = answer?;
    ensure_eq!(answer.status, 504, "while it hangs: {}", answer.text());
    is_matrix_error(&answer)?;
    ensure!((PATIENCE..PATIENCE * 2).contains(&took), "the answer took {took:?}");
    known?;
    eventually(SOON, || {
        let healthy = Metrics::scrape(&stack.admin())?.sum("dendron_process_healthy", &[("process", "generic1")]);
        ensure!(healthy > 0.0, "generic1 goes on, and does not count as healthy");
        Ok(())
    })?;
    expect_ok(&user.get(WHOAMI)?, "whoami in the end").map(drop)
}

/// Requests without a pause, a thread for each target, until the end is wished.
struct Load {
    wanted: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<usize, String>>>,
}

impl Load {
    fn start(user: &User, targets: &[&str]) -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let threads = targets.iter().map(|target| {
            let (wanted, target) = (Arc::clone(&wanted), (*target).to_owned());
            // A client of its own is a connection of its own.
            let user = user.through(&Client::new(user.client.base()));
            std::thread::spawn(move || {
                let mut served = 0;
                while wanted.load(Ordering::Relaxed) {
                    let answer = user.get(&target).map_err(|error| format!("{error:?}"))?;
                    succeeded(&answer).map_err(|reason| format!("{target}: {reason}"))?;
                    served += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(served)
            })
        });
        Load { threads: threads.collect(), wanted }
    }

    /// Ends the load, of which every request must have been answered by Synapse.
    fn end_without_failures(self, victim: &str) -> Result<(), Failed> {
        self.wanted.store(false, Ordering::Relaxed);
        for thread in self.threads {
            let served = thread.join().map_err(|_| "a thread of the load has panicked")?;
            let served = served.map_err(|reason| format!("while {victim} was killed: {reason}"))?;
            ensure!(served > 1, "only {served} requests were made while {victim} was killed");
        }
        Ok(())
    }
}

fn succeeded(answer: &Answer) -> Result<(), String> {
    if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
}

/// Waits until a process was started again, is ready, and the checks know it.
fn is_ready_again(stack: &Stack, name: &str) -> Result<(), Failed> {
    eventually(RESTART, || {
        let now = stack.supervised(name)?;
        ensure!(now["state"] == "ready" && now["restarts"].as_u64() > Some(0), "{name}: {now}");
        all_are_healthy(stack)
    })
}

/// Whether every process is in the service of every pool that it is in.
fn all_are_healthy(stack: &Stack) -> Result<(), Failed> {
    let metrics = Metrics::scrape(&stack.admin())?;
    let processes = metrics.by("dendron_in_flight_requests", &[], "process");
    for (process, _) in processes {
        let pools = metrics.by("dendron_process_healthy", &[("process", &process)], "pool");
        ensure!(pools.iter().all(|(_, healthy)| *healthy == 1.0), "{process} is not healthy in {pools:?}");
    }
    Ok(())
}
