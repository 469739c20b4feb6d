//! Tests against the real thing: the built binary before a real Synapse, PostgreSQL and Redis.
//!
//! The suite is one program, so that stacks are started once and shared; it stops them itself when all tests have
//! ended. Run it with `./dev test`, which installs what it needs; a filter as in `./dev test forward` chooses tests by
//! name.

#![expect(unreachable_pub, reason = "a test program exports nothing, so the shorter word says all")]

mod harness;

// How dendron is told what to do, and what it says of it. These need no stack.
mod command_line;
// The table of endpoints against the servlets of the installed Synapse.
mod servlets;
// The source itself: imports, sizes, documents.
mod tidy;

// What every request goes through, on a monolith and with workers.
mod forward;
// Slow heads, refusals, pipelines and idle connections before Pingora's proxy.
mod front;
// What strangers send: nothing that two readers could read in two ways goes on.
mod hostile;
// What HTTP/2 demands of a server.
mod http2;
// The same answers with and without dendron.
mod transparency;
// Logins, whoever answers them.
mod login;
// The near-static answers, without Synapse.
mod learned;
// The error of those who show no token, at every endpoint.
mod missing_token;
// How often one may try at several edges.
mod shared_limits;
// Logins that are the Matrix Authentication Service's.
mod authentication;
// Which process served a request, by Synapse's own account.
mod who_served;
// What is read of Synapse's database.
mod database;
// Devices, registered by the main process.
mod devices;
// Metrics, health and status, read by a real Prometheus.
mod admin;
// Bodies of every size and framing.
mod bodies;
// Real client libraries.
mod clients;
// Dendron inside another Pingora server.
mod embed;
// What clients do before their first request.
mod handshakes;
// How many clients may be connected, and what becomes of the rest.
mod connections;
// How many requests a process is given, and who waits.
mod queues;
// What a load balancer says of a connection's client.
mod proxy_protocol;
// How dendron ends.
mod stop;
// How long is waited, and for what.
mod timeouts;

// What Synapse tells its workers over Redis.
mod replication;
// Quiet syncs, parked at the edge.
mod quiet;
// Who is behind a token.
mod tokens;

// That nobody is told later who polls through dendron.
mod lateness;

// Synapse's processes under dendron's care.
mod supervision;
// Processes that die, break off or hang.
mod faults;
// Everything at once for a while, and in the end it is as it was.
mod soak;
// Two homeservers behind two dendrons.
mod federation;
// `./dev run` in a fresh clone.
mod two_commands;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use harness::stacks::Stacks;

/// A test: its name, and what it does with the stacks.
type Test = (&'static str, fn(&Stacks) -> Result<(), Failed>);

/// How many of the tests that took longest are named in the end.
const SLOWEST: usize = 12;

/// What is told of the tests when all have ended, besides what has become of each.
#[derive(Default)]
struct Journal {
    /// Those that passed only when they were tried again.
    unsteady: Vec<&'static str>,
    taken: Vec<(Duration, &'static str)>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One test at a time, on this thread: the stacks are shared, and the processes that tests start end with the thread
    // that started them.
    arguments.test_threads = Some(1);
    let stacks = Arc::new(Stacks::default());
    let journal = Arc::new(Mutex::new(Journal::default()));
    let trials = tests().into_iter().map(|(name, test)| {
        let (stacks, journal) = (Arc::clone(&stacks), Arc::clone(&journal));
        Trial::test(name, move || {
            let begun = Instant::now();
            let ended = tried((name, test), &stacks, &journal);
            journal.lock().map_err(|_| "a test has panicked")?.taken.push((begun.elapsed(), name));
            ended
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(stacks);
    if let Ok(mut journal) = journal.lock() {
        journal.tell();
    }
    conclusion.exit_code()
}

/// Runs a test. Where `DENDRON_AGAIN` is set one that fails is tried once more, which is told: on machines that others
/// share, a second in which nothing ran is no fault of dendron's.
fn tried((name, test): Test, stacks: &Stacks, journal: &Mutex<Journal>) -> Result<(), Failed> {
    let Err(failed) = test(stacks) else { return Ok(()) };
    if std::env::var_os("DENDRON_AGAIN").is_none() {
        return Err(failed);
    }
    println!("has failed, and is tried again: {}", failed.message().unwrap_or("for no reason told"));
    test(stacks)?;
    journal.lock().map_err(|_| "a test has panicked")?.unsteady.push(name);
    Ok(())
}

impl Journal {
    fn tell(&mut self) {
        self.taken.sort_unstable_by(|one, other| other.cmp(one));
        let all: Duration = self.taken.iter().map(|(time, _)| *time).sum();
        println!("the longest of {} tests, which took {} s in all:", self.taken.len(), all.as_secs());
        for (time, name) in self.taken.iter().take(SLOWEST) {
            println!("{:6.1} s  {name}", time.as_secs_f64());
        }
        for name in &self.unsteady {
            println!("unsteady: {name} has passed only when it was tried again");
        }
    }
}

fn tests() -> Vec<Test> {
    let suites: &[&[Test]] = &[
        tidy::TESTS,
        command_line::TESTS,
        servlets::TESTS,
        forward::TESTS,
        front::TESTS,
        hostile::TESTS,
        http2::TESTS,
        transparency::TESTS,
        login::TESTS,
        learned::TESTS,
        missing_token::TESTS,
        authentication::TESTS,
        shared_limits::TESTS,
        who_served::TESTS,
        database::TESTS,
        devices::TESTS,
        admin::TESTS,
        bodies::TESTS,
        clients::TESTS,
        embed::TESTS,
        handshakes::TESTS,
        connections::TESTS,
        queues::TESTS,
        proxy_protocol::TESTS,
        stop::TESTS,
        timeouts::TESTS,
        replication::TESTS,
        quiet::TESTS,
        tokens::TESTS,
        lateness::TESTS,
        supervision::TESTS,
        faults::TESTS,
        soak::TESTS,
        federation::TESTS,
        two_commands::TESTS,
    ];
    suites.concat()
}
