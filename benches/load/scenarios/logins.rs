//! (h): a storm of logins, as after an outage, at the cost of a password that Synapse has by default and at the least that
//! there is; what other requests notice of it; and near-static answers beside Synapse's own.

use std::time::Duration;

use serde_json::{Value, json};

use super::Suite;
use super::rounds::progress;
use crate::accounting::Usage;
use crate::contenders::Name;
use crate::fault::{Outcome, wrong};
use crate::figures::{Figure, Measured};
use crate::generate::paced::{Latencies, Pace};
use crate::generate::plain;
use crate::generate::storm::{Storm, bare_loop, storm};
use crate::generate::wrk::{self, Wrk};
use crate::homeserver::edge::Edge;
use crate::homeserver::stack::Homeserver;
use crate::homeserver::users::{self, Device};
use crate::mix::{self, Request};

/// Clients that log in at the same time.
const CLIENTS: usize = 24;
/// What is compared differs by so much that more rounds tell nothing.
const ROUNDS_MAX: usize = 3;
/// Other requests a second, and over how many connections.
const OTHERS_PER_SECOND: f64 = 40.0;
const OTHERS_CONNECTIONS: usize = 4;
/// Who asks for near-static answers at once.
const CONNECTIONS: usize = 16;

/// Who is held against whom.
const PAIR: [Name; 2] = [Name::Dendron, Name::Synapse];

/// A homeserver with a dendron before it.
struct Pair<'suite> {
    homeserver: &'suite Homeserver,
    edge: &'suite Edge,
}

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let mut homeserver = Homeserver::databases()?;
    let mut parts = Vec::new();
    for cost in [12, 4] {
        homeserver.run_synapse(&json!({ "bcrypt_rounds": cost }))?;
        for client in 0..CLIENTS {
            users::register(&homeserver.client(), &name(cost, client))?;
        }
        // As many threads as Synapse has for it: one for each core.
        let threads = cores();
        let settings = format!("login: {{threads: {threads}}}\n");
        let edge = Edge::start(&suite.stage, &homeserver, &settings, answers_logins)?;
        parts.push(logins(suite, &Pair { homeserver: &homeserver, edge: &edge }, cost)?);
    }
    homeserver.run_synapse(&json!({ "bcrypt_rounds": 12 }))?;
    let other = users::register(&homeserver.client(), "other")?;
    {
        let edge = Edge::start(&suite.stage, &homeserver, "", answers_logins)?;
        let pair = Pair { homeserver: &homeserver, edge: &edge };
        parts.push(others(suite, &pair, &other, "")?);
        parts.push(near_static(suite, &pair)?);
    }
    homeserver.run_worker()?;
    let edge = Edge::start(&suite.stage, &homeserver, "", answers_logins)?;
    parts.push(others(suite, &Pair { homeserver: &homeserver, edge: &edge }, &other, ", which a worker serves,")?);
    progress("");
    Ok(parts)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The user whom a client logs in.
fn name(cost: u32, client: usize) -> String {
    format!("cost{cost}-{client}")
}

fn answers_logins(status: &Value) -> bool {
    status["logins"]["ready"] == true
}

/// What each client of a storm sends.
fn requests(cost: u32) -> Vec<Vec<u8>> {
    let login = |client| {
        let body = users::login_body(&name(cost, client)).to_string();
        let headers = vec![("Content-Type", "application/json".to_owned())];
        plain::bytes(&Request {
            method: "POST",
            target: "/_matrix/client/v3/login".to_owned(),
            headers,
            body,
            pool: "",
        })
    };
    (0..CLIENTS).map(login).collect()
}

impl Pair<'_> {
    /// Where logins go.
    fn port(&self, name: Name) -> u16 {
        if name == Name::Dendron { self.edge.port } else { self.homeserver.port() }
    }

    /// Where all else goes.
    fn port_of_others(&self, name: Name) -> u16 {
        if name == Name::Dendron { self.edge.port } else { self.homeserver.worker_port() }
    }

    /// What both have used.
    fn usage(&self) -> Outcome<Usage> {
        Ok(self.edge.usage()? + self.homeserver.usage()?)
    }
}

/// One round after the other, each beginning with the next one.
fn in_turn(suite: &Suite<'_>, what: &str, names: &[Name], mut measure: impl FnMut(Name) -> Outcome<()>) -> Outcome<()> {
    let rounds = suite.rounds.min(ROUNDS_MAX);
    for round in 0..rounds {
        for place in 0..names.len() {
            let name = names[(round + place) % names.len()];
            progress(&format!("  {what}, round {} of {rounds}: {}", round + 1, name.text()));
            measure(name)?;
        }
    }
    Ok(())
}

fn logins(suite: &Suite<'_>, pair: &Pair<'_>, cost: u32) -> Outcome<Measured> {
    let mut measured = Measured::new(format!("logins at cost {cost}, {CLIENTS} clients at once"));
    let time = Duration::from_secs(suite.by_size(1, 4, 5));
    let (requests, threads) = (requests(cost), cores());
    let rate = |storm: Storm| storm.count as f64 / storm.seconds;
    in_turn(suite, "logins", &[Name::Dendron, Name::Synapse, Name::Loop], |name| {
        if name == Name::Loop {
            measured.add(name, Figure::Logins, rate(bare_loop(threads, cost, time)?));
            return Ok(());
        }
        let (before, synapse_before) = (pair.usage()?, pair.homeserver.usage()?);
        let storm = storm(pair.port(name), &requests, time)?;
        let (after, synapse_after) = (pair.usage()?, pair.homeserver.usage()?);
        let per_login = |cpu: Duration| cpu.as_secs_f64() * 1e3 / storm.count.max(1) as f64;
        measured.add(name, Figure::Logins, rate(storm));
        measured.add(name, Figure::CpuPerLogin, per_login(after.cpu - before.cpu));
        measured.add(name, Figure::SynapsePerLogin, per_login(synapse_after.cpu - synapse_before.cpu));
        measured.failed(name, storm.errors);
        Ok(())
    })?;
    Ok(measured)
}

fn others(suite: &Suite<'_>, pair: &Pair<'_>, device: &Device, where_served: &str) -> Outcome<Measured> {
    let mut measured = Measured::new(format!(
        "{OTHERS_PER_SECOND} other requests a second{where_served} beside a storm of logins at cost 12"
    ));
    let time = Duration::from_secs(suite.by_size(2, 6, 6));
    let requests = requests(12);
    in_turn(suite, "others", &PAIR, |name| {
        let quiet = paced(pair.port_of_others(name), device, time)?;
        let begun = std::time::Instant::now();
        let stormy = std::thread::scope(|scope| {
            let storm = scope.spawn(|| storm(pair.port(name), &requests, time + Duration::from_secs(1)));
            // It has begun when the first are hashed.
            std::thread::sleep(Duration::from_secs(1));
            let stormy = paced(pair.port_of_others(name), device, time.saturating_sub(begun.elapsed()));
            storm.join().map_err(|_| wrong("the storm has failed"))??;
            stormy
        })?;
        let [before, during] = [&quiet, &stormy].map(|latencies| latencies.of_thousand(990) / 1e3);
        measured.add(name, Figure::QuietPercentile99, before);
        measured.add(name, Figure::StormPercentile99, during);
        measured.add(name, Figure::StormRatio, during / before);
        measured.failed(name, quiet.errors + stormy.errors);
        Ok(())
    })?;
    measured.notes.push(
        "Dendron hashes on one core less than there are, so that one is free for everything else, Synapse included."
            .to_owned(),
    );
    Ok(measured)
}

fn paced(port: u16, device: &Device, duration: Duration) -> Outcome<Latencies> {
    let of = |target: &str| {
        let headers = vec![("Authorization", format!("Bearer {}", device.token))];
        let target = target.to_owned();
        plain::bytes(&Request { method: "GET", target, headers, body: String::new(), pool: "" })
    };
    let requests = ["account/whoami", "pushrules/", "joined_rooms", "capabilities"];
    let requests: Vec<Vec<u8>> = requests.iter().map(|path| of(&format!("/_matrix/client/v3/{path}"))).collect();
    Pace { requests: &requests, per_second: OTHERS_PER_SECOND, connections: OTHERS_CONNECTIONS, duration }.run(port)
}

fn near_static(suite: &Suite<'_>, pair: &Pair<'_>) -> Outcome<Measured> {
    let mut measured = Measured::new("three preflights to one look at versions, beside Synapse's own answers");
    let script = wrk::script(suite.folder().join("static.lua"), &mix::answerable(), false)?;
    let wrk = Wrk { script: &script, is_encrypted: false, connections: CONNECTIONS, seconds: suite.by_size(1, 3, 5) };
    in_turn(suite, "near-static answers", &PAIR, |name| {
        let before = pair.usage()?;
        let burst = wrk.run(pair.port(name))?;
        let cpu = (pair.usage()?.cpu - before.cpu).as_secs_f64();
        measured.add(name, Figure::Cpu, cpu * 1e6 / burst.requests.max(1) as f64);
        measured.add(name, Figure::Throughput, burst.requests as f64 / burst.seconds);
        measured.failed(name, burst.errors);
        Ok(())
    })?;
    Ok(measured)
}
