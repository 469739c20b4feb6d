//! The soak of the front: many clients, a third of them over TLS, that ask in pipelines, wait, are woken, go and change the
//! protocol as chance will have it, before a real Synapse. Every answer must be the right one, and in the end nothing is
//! left.
//!
//! - `player`: a user and its clients, and what they do.
//! - `client`: one of these.
//! - `requests`: what they ask.
//!
//! In the suite it is short. `./dev front-soak [minutes]` makes it long, by `DENDRON_FRONT_SOAK_MINUTES`.

mod client;
mod player;
mod requests;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libtest_mimic::Failed;

use super::edge::Edge;
use crate::harness::eventually::eventually;
use crate::harness::matrix::User;
use crate::harness::stack::Stack;
use crate::harness::stub::{EMPTY, Stub};
use crate::harness::{ensure, ensure_eq};
use crate::soak::measure::{Row, Sample, Tolerance};
use crate::soak::tally::Tally;
use player::Player;

/// How many users there are, each with a player of its own.
const PLAYERS: usize = 20;
/// How long it may take until everything is given back.
const QUIET: Duration = Duration::from_secs(40);
/// Idle connections to Synapse are closed soon, and clients' only when they want it. Synapse lets fifty new connections
/// wait, and to those beyond it a busy machine may answer late.
const TIMES: &str = "timeouts: {connect: 20s, idle: 3s, client: {idle: 1h, silence: 1h}}\n";
/// How much more there may be in the end.
const TOLERANCE: Tolerance = Tolerance { memory: 30.0, descriptors: 2.0, threads: 1.0, tasks: 1.0 };
/// What must have happened.
const KINDS: [&str; 15] = [
    "opened",
    "pipelines",
    "upgraded",
    "aborted",
    "refused",
    "parked",
    "aborted parked",
    "half-closed",
    "sent behind",
    "answered",
    "answered behind",
    "replayed",
    "woken",
    "news",
    "settled",
];

/// How long it is, and how much happens.
pub struct Plan {
    length: Duration,
    /// How many clients each player has.
    clients: usize,
    /// How long a player rests after each thing that a client does.
    pause: Duration,
    /// After how long a player's user has something to hear.
    wake_interval: Duration,
}

/// What the players share.
pub struct Scene<'edge> {
    edge: &'edge Edge,
    plan: Plan,
    seed: u64,
    tally: Tally,
    /// Whether the players go on.
    wanted: AtomicBool,
}

impl Plan {
    /// The short form, or one of as many minutes as are wished for.
    fn wished() -> Result<Self, Failed> {
        let minutes = std::env::var("DENDRON_FRONT_SOAK_MINUTES").ok().filter(|minutes| !minutes.is_empty());
        let Some(minutes) = minutes else {
            return Ok(Plan {
                length: Duration::from_secs(18),
                clients: 50,
                pause: Duration::from_millis(60),
                wake_interval: Duration::from_secs(6),
            });
        };
        Ok(Plan {
            length: Duration::from_secs(minutes.parse::<u64>()?.clamp(1, 24 * 60) * 60),
            clients: 150,
            pause: Duration::from_millis(150),
            wake_interval: Duration::from_secs(20),
        })
    }
}

/// What speaks another protocol if it is asked to: it says again what it is told.
fn echo() -> Result<Stub, Failed> {
    Stub::start(|head, stream| {
        // Dendron does not pass on what concerns one hop alone.
        if !head.starts_with("GET /_matrix/media/v3/upgrade ") {
            return stream.write_all(EMPTY);
        }
        // Were this there before Pingora has passed on the end of the request's empty body, it would end the whole of it.
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")?;
        let mut part = [0; 4096];
        loop {
            let count = stream.read(&mut part)?;
            if count == 0 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            stream.write_all(&part[..count])?;
        }
    })
}

pub fn it_ends_where_it_began(stack: &mut Stack) -> Result<(), Failed> {
    super::raise_own_limit()?;
    let (plan, echo) = (Plan::wished()?, echo()?);
    let edge = Edge::start(stack, "soak", &format!("front: on\n{TIMES}pools: {{media: ['{}']}}\n", echo.url()))?;
    let users: Vec<User> = (0..PLAYERS)
        .map(|number| User::register(&stack.client(), &format!("front{number}")))
        .collect::<Result<_, _>>()?;
    let (id, admin) = (edge.dendron.id(), edge.dendron.admin().clone());
    let scene = Scene { edge: &edge, plan, seed: 0x2b1d_0001, tally: Tally::default(), wanted: AtomicBool::new(true) };
    // The first connection shows dendron what it runs on, whose tasks are counted from then on.
    ensure_eq!(edge.client().get("/_matrix/client/versions")?.status, 200, "versions");
    wait_for_quiet(&edge)?;
    let first = Sample::take(id, &admin)?;
    let most = play(&scene, &users)?;
    wait_for_quiet(&edge)?;
    let settled = eventually(QUIET, || {
        let rows = Sample::rows(first, most, Sample::take(id, &admin)?, TOLERANCE);
        ensure!(rows.iter().all(Row::holds), "it holds more than in the beginning");
        Ok(())
    });
    report(&scene, &Sample::rows(first, most, Sample::take(id, &admin)?, TOLERANCE));
    let (counts, faults) = scene.tally.result();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    settled?;
    let missing = KINDS.iter().find(|kind| counts.iter().all(|(name, _)| name != *kind));
    ensure_eq!(missing, None, "what never happened");
    ensure!(!edge.said()?.contains("panicked"), "dendron panicked:\n{}", edge.said()?);
    Ok(())
}

/// Lets all players play; returns the most that dendron held meanwhile.
fn play(scene: &Scene<'_>, users: &[User]) -> Result<Sample, Failed> {
    let (id, admin) = (scene.edge.dendron.id(), scene.edge.dendron.admin());
    std::thread::scope(|scope| {
        let players = (0..PLAYERS).map(|number| scope.spawn(move || Player::new(scene, users, number).play()));
        let players: Vec<_> = players.collect();
        let begun = std::time::Instant::now();
        let mut most = Sample::default();
        while begun.elapsed() < scene.plan.length {
            std::thread::sleep(Duration::from_secs(1));
            most = Sample::take(id, admin).map_or(most, |sample| most.most(sample));
        }
        scene.wanted.store(false, Ordering::Relaxed);
        for player in players {
            player.join().map_err(|_| "a player has panicked")?;
        }
        Ok(most)
    })
}

/// Until no client is connected, nobody waits, and nothing is under way.
fn wait_for_quiet(edge: &Edge) -> Result<(), Failed> {
    eventually(QUIET, || {
        for name in
            ["dendron_connections", "dendron_sync_parked", "dendron_upstream_connections", "dendron_in_flight_requests"]
        {
            ensure_eq!(edge.number(name)?, 0.0, "{name} without clients");
        }
        Ok(())
    })
}

fn report(scene: &Scene<'_>, rows: &[Row]) {
    let Plan { length, clients, .. } = scene.plan;
    println!("\nsoak of the front: {} s with {} clients at once", length.as_secs(), clients * PLAYERS);
    println!("{:<22}{:>10}{:>10}{:>10}{:>12}", "", "beginning", "most", "end", "tolerance");
    for row in rows {
        println!("{:<22}{:>10.1}{:>10.1}{:>10.1}{:>12}", row.name, row.first, row.most, row.last, row.tolerance);
    }
    println!("{:<22}{:>10}{:>10}", "what", "good", "faults");
    for (what, counts) in scene.tally.result().0 {
        println!("{what:<22}{:>10}{:>10}", counts.good, counts.faults);
    }
}
