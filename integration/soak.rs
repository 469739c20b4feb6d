//! The soak: every kind of client at once before a real Synapse whose processes restart meanwhile, and in the end dendron
//! holds what it held in the beginning.
//!
//! - `traffic`: the clients.
//! - `tally`: what became of their requests, and what may.
//! - `measure`: memory, descriptors, threads and tasks.
//!
//! In the suite it is short. `./dev soak [minutes]` makes it long, by `DENDRON_SOAK_MINUTES`.

pub mod measure;
pub mod tally;
mod traffic;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::Value;
use time::OffsetDateTime;

use crate::Test;
use crate::harness::alone::Folder;
use crate::harness::eventually::eventually;
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::harness::stacks::Stacks;
use crate::harness::tls::{Authority, Files};
use crate::harness::{ensure, ensure_eq};
use measure::{Sample, Tolerance};
use tally::Tally;
use traffic::{CLIENTS, Scene, body_of, download_of};

pub const TESTS: &[Test] = &[("soak::it_ends_where_it_began", it_ends_where_it_began)];

/// How long an idle connection to Synapse is kept here, so that quiet is soon quiet.
const IDLE: Duration = Duration::from_secs(3);
/// How long it may take until everything is given back.
const QUIET: Duration = Duration::from_secs(40);
/// How long a process may take to be there again.
const RESTART: Duration = Duration::from_secs(90);
/// For how long after that a request may still meet a connection from before.
const SETTLING: Duration = Duration::from_secs(3);
/// How often dendron is measured meanwhile.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long it is, and what may be left.
struct Plan {
    warm_up: Duration,
    length: Duration,
    /// The pause after each restart.
    pause: Duration,
    /// The processes that restart, in turns; main is among them once.
    victims: Vec<&'static str>,
    tolerance: Tolerance,
}

impl Plan {
    /// The short form, or one of as many minutes as are wished for.
    fn wished() -> Result<Self, Failed> {
        let minutes = std::env::var("DENDRON_SOAK_MINUTES").ok().filter(|minutes| !minutes.is_empty());
        let tolerance = Tolerance { memory: 5.0, descriptors: 2.0, threads: 1.0, tasks: 1.0 };
        let Some(minutes) = minutes else {
            return Ok(Plan {
                warm_up: Duration::from_secs(6),
                length: Duration::from_secs(22),
                pause: Duration::from_secs(3),
                victims: vec!["media1", "main"],
                tolerance,
            });
        };
        let length = Duration::from_secs(minutes.parse::<u64>()?.clamp(1, 24 * 60) * 60);
        let workers = ["sync1", "media1", "generic1", "events1", "writer1", "sync2"];
        let mut victims: Vec<&str> = workers.into_iter().cycle().take(1000).collect();
        victims.insert(3, "main");
        Ok(Plan {
            warm_up: Duration::from_secs(60).min(length / 4),
            length,
            pause: Duration::from_secs(30).min(length / 20),
            victims,
            tolerance,
        })
    }
}

fn it_ends_where_it_began(_: &Stacks) -> Result<(), Failed> {
    let plan = Plan::wished()?;
    let folder = Folder::with(&[])?;
    let (mut stack, scene) = prepare(&folder)?;
    let id = stack.dendron()?.id();
    let admin = stack.admin();
    let mut rounds = [0; CLIENTS.len()];

    let (restarts, _) = play(&stack, &scene, id, &mut rounds, plan.warm_up, &[], Duration::ZERO)?;
    ensure_eq!(restarts, 0, "restarts while it warms up");
    wait_for_quiet(&stack)?;
    let first = Sample::take(id, &admin)?;

    let (restarts, most) = play(&stack, &scene, id, &mut rounds, plan.length, &plan.victims, plan.pause)?;
    wait_for_quiet(&stack)?;
    let settled = eventually(QUIET, || {
        let last = Sample::take(id, &admin)?;
        let rows = Sample::rows(first, most, last, plan.tolerance);
        ensure!(rows.iter().all(measure::Row::holds), "it holds more than in the beginning");
        Ok(())
    });
    let last = Sample::take(id, &admin)?;
    let lost = nothing_is_lost(&scene);
    report(&plan, restarts, &Sample::rows(first, most, last, plan.tolerance), &scene.tally);

    settled?;
    lost?;
    let (counts, faults) = scene.tally.result();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure_eq!(counts.len(), CLIENTS.len(), "kinds of clients that did anything");
    let idle = counts.iter().find(|(_, counts)| counts.good < 2);
    ensure!(idle.is_none(), "nothing was tested of {idle:?}");
    ensure!(restarts > 1, "only {restarts} restarts");
    ensure_eq!(stack.dendron()?.id(), id, "dendron's process");
    stack.stop_dendron()?;
    let said = std::fs::read_to_string(stack.dendron_log())?;
    ensure!(!said.contains("panicked"), "dendron panicked; see {}", stack.dendron_log().display());
    Ok(())
}

/// A stack of the test's own, with TLS, and a user in a room.
fn prepare(folder: &Folder) -> Result<(Stack, Scene), Failed> {
    let authority = Authority::new(&folder.path(""))?;
    let files = Files::new(&folder.path(""), "edge");
    authority.sign(&files, OffsetDateTime::now_utc() + Duration::from_secs(7 * 86_400))?;
    let (certificate, key) = (folder.text("edge.pem"), folder.text("edge.key"));
    let mut stack = Stack::prepare("soak", "workers", &["--tls-certificate", &certificate, "--tls-key", &key])?;
    let config = stack.text(&["dendron", "config"]);
    let settings = std::fs::read_to_string(&config)?;
    ensure!(!settings.contains("timeouts:"), "the stack's own timeouts would be lost: {settings}");
    std::fs::write(&config, format!("{settings}\ntimeouts: {{idle: {}s}}\n", IDLE.as_secs()))?;
    stack.start_dendron()?;
    stack.wait_until_ready()?;

    let user = User::register(&stack.client(), "soak")?;
    let room = user.create_room()?;
    // A new client, whose first connection is still to be made: the one before would count to the end.
    let user = user.through(&stack.client());
    let listeners = stack.facts["dendron"]["listeners"].as_array().cloned().unwrap_or_default();
    let encrypted = listeners.iter().find(|listener| listener["tls"] == true).ok_or("no listener has TLS")?;
    let port = encrypted["address"].as_str().and_then(|address| address.rsplit(':').next()).unwrap_or_default();
    let scene = Scene {
        address: stack.client().base().trim_start_matches("http://").to_owned(),
        tls_port: port.parse()?,
        authority,
        user,
        room,
        tally: Tally::default(),
        wanted: AtomicBool::new(false),
        since: Mutex::default(),
        uploads: Mutex::default(),
        messages: Mutex::default(),
    };
    Ok((stack, scene))
}

/// Lets all clients play for a time, or as long as the restarts take; returns how many processes were restarted, and
/// the most that dendron held meanwhile.
fn play(
    stack: &Stack,
    scene: &Scene,
    id: u32,
    rounds: &mut [u32],
    length: Duration,
    victims: &[&str],
    pause: Duration,
) -> Result<(usize, Sample), Failed> {
    scene.wanted.store(true, Ordering::Relaxed);
    let admin = stack.admin();
    std::thread::scope(|scope| {
        for (kind, rounds) in CLIENTS.into_iter().zip(rounds) {
            scope.spawn(move || scene.play(kind, rounds));
        }
        let sampler = scope.spawn(move || {
            let mut most = Sample::default();
            while scene.wanted.load(Ordering::Relaxed) {
                // Between two samples it may not be asked at all, which the next one makes good.
                most = Sample::take(id, &admin).map_or(most, |sample| most.most(sample));
                std::thread::sleep(SAMPLE_INTERVAL);
            }
            most
        });
        let restarts = restart_in_turns(stack, &scene.tally, length, victims, pause);
        scene.wanted.store(false, Ordering::Relaxed);
        let most = sampler.join().map_err(|_| "the sampler has panicked")?;
        Ok((restarts?, most))
    })
}

/// Restarts one process after the other until the time is over.
fn restart_in_turns(
    stack: &Stack,
    tally: &Tally,
    length: Duration,
    victims: &[&str],
    pause: Duration,
) -> Result<usize, Failed> {
    let begun = Instant::now();
    let mut restarts = 0;
    for (number, victim) in victims.iter().enumerate() {
        std::thread::sleep(pause);
        if begun.elapsed() + pause > length {
            break;
        }
        // Some are asked to end, and some are not.
        let signal = if number % 2 == 0 { Signal::KILL } else { Signal::TERM };
        tally.trouble_begins();
        let before = restarts_of(stack, victim)?;
        stack.signal(victim, signal)?;
        eventually(RESTART, || is_ready_again(stack, victim, before))?;
        std::thread::sleep(SETTLING);
        tally.trouble_ends();
        restarts += 1;
    }
    std::thread::sleep(length.saturating_sub(begun.elapsed()));
    Ok(restarts)
}

fn restarts_of(stack: &Stack, name: &str) -> Result<u64, Failed> {
    Ok(stack.supervised(name)?["restarts"].as_u64().ok_or("no count of restarts")?)
}

fn is_ready_again(stack: &Stack, name: &str, before: u64) -> Result<(), Failed> {
    let now = stack.supervised(name)?;
    ensure!(now["state"] == "ready" && now["restarts"].as_u64() > Some(before), "{name}: {now}");
    let metrics = Metrics::scrape(&stack.admin())?;
    let pools = metrics.by("dendron_process_healthy", &[("process", name)], "pool");
    // A process that other processes of Synapse alone talk to is in no pool.
    ensure!(pools.iter().all(|(_, healthy)| *healthy == 1.0), "{name} is not healthy: {pools:?}");
    Ok(())
}

/// Until no client is connected, no request is under way, and idle connections to Synapse have been closed.
fn wait_for_quiet(stack: &Stack) -> Result<(), Failed> {
    eventually(QUIET, || {
        let metrics = Metrics::scrape(&stack.admin())?;
        for name in ["dendron_connections", "dendron_upstream_connections", "dendron_in_flight_requests"] {
            ensure_eq!(metrics.sum(name, &[]), 0.0, "{name} without clients");
        }
        Ok(())
    })?;
    std::thread::sleep(IDLE * 2);
    Ok(())
}

/// Every upload that was confirmed is there whole, and every message that was confirmed stands in the room once.
fn nothing_is_lost(scene: &Scene) -> Result<(), Failed> {
    let uploads = scene.uploads.lock().map_err(|_| "a client has panicked")?;
    for (media, number) in uploads.iter() {
        let answer = scene.user.get(&download_of(media))?;
        ensure_eq!(answer.status, 200, "upload {number}, {media}");
        ensure!(answer.body == body_of(*number), "upload {number}, {media}, has other bytes");
    }
    let messages = scene.messages.lock().map_err(|_| "a client has panicked")?;
    let wanted: BTreeSet<&str> = messages.iter().map(String::as_str).collect();
    let found = messages_of(scene)?;
    let once: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    ensure_eq!(found.len(), once.len(), "messages in the room, and different ones");
    let lost: Vec<&&str> = wanted.difference(&once).collect();
    ensure!(lost.is_empty(), "confirmed and not in the room: {lost:?}");
    Ok(())
}

fn messages_of(scene: &Scene) -> Result<Vec<String>, Failed> {
    let mut found = Vec::new();
    let mut from = String::new();
    loop {
        let target = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=500{from}", encoded(&scene.room));
        let page: Value = expect_ok(&scene.user.get(&target)?, "messages")?;
        let events = page["chunk"].as_array().cloned().unwrap_or_default();
        let bodies = events.iter().filter(|event| event["type"] == "m.room.message");
        found.extend(bodies.filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)));
        match page["end"].as_str() {
            Some(end) if !events.is_empty() => from = format!("&from={}", encoded(end)),
            _ => return Ok(found),
        }
    }
}

fn report(plan: &Plan, restarts: usize, rows: &[measure::Row], tally: &Tally) {
    println!("\nsoak of {} s with {restarts} restarts", plan.length.as_secs());
    println!("{:<22}{:>10}{:>10}{:>10}{:>12}", "", "beginning", "most", "end", "tolerance");
    for row in rows {
        println!("{:<22}{:>10.1}{:>10.1}{:>10.1}{:>12}", row.name, row.first, row.most, row.last, row.tolerance);
    }
    println!("{:<22}{:>10}{:>10}{:>10}", "clients", "good", "excused", "faults");
    for (client, counts) in tally.result().0 {
        println!("{client:<22}{:>10}{:>10}{:>10}", counts.good, counts.excused, counts.faults);
    }
}
