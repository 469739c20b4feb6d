//! (m): what a connection costs that waits: with a sync that dendron has parked, beside a long-poll that the others hold;
//! and with nothing at all. Each contender is started anew, because memory that was used once is seldom given back.
//!
//! Dendron stands before a real Synapse for the parked ones, since nothing else makes it sure that nothing has happened.
//! The others hold theirs before the suite's own upstream: a connection costs them the same whoever is behind it.

use std::time::Duration;

use serde_json::json;

use super::Suite;
use super::rounds::progress;
use crate::contenders::{Contender, Name};
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::waiting::{Waiting, Wire};
use crate::generate::{devices, plain};
use crate::homeserver::edge::Edge;
use crate::homeserver::stack::Homeserver;
use crate::homeserver::users::{self, Device};
use crate::mix;

/// On how many connections each user waits: dendron parks no more than 64 syncs of one device.
const EACH: usize = 50;
/// How long they would wait.
const TIMEOUT: Duration = Duration::from_secs(110);
/// What follows the last one until memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);
/// Connections that stand before the first look: what a process makes once is nobody's.
const FIRST: usize = 500;

/// The contenders' memory for what waits.
struct Parts {
    plain: Measured,
    encrypted: Measured,
    idle: Measured,
}

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let users = suite.by_size(2, 40, 100);
    let count = users * EACH;
    let rounds = suite.by_size(1, 2, 2).min(suite.rounds);
    let mut homeserver = Homeserver::databases()?;
    homeserver.run_synapse(&json!({ "presence": { "enabled": false } }))?;
    let people = users::households(&homeserver.client(), "m", users, 1, 1)?;
    let mut parts = Parts {
        plain: Measured::new(format!("{count} syncs, parked by dendron and held by the others")),
        encrypted: Measured::new(format!("{count} syncs over TLS, parked by dendron and held by the others")),
        idle: Measured::new(format!("{count} connections that have had an answer and wait for a request")),
    };
    for round in 0..rounds {
        for place in 0..Name::PROXIES.len() {
            let name = Name::PROXIES[(place + round) % Name::PROXIES.len()];
            progress(&format!("  round {} of {rounds}: {}", round + 1, name.text()));
            for (encrypted, measured) in [(false, &mut parts.plain), (true, &mut parts.encrypted)] {
                let bytes = match name {
                    Name::Dendron => parked(suite, &homeserver, &people, count, encrypted)?,
                    _ => held(suite, name, count, encrypted)?,
                };
                add(measured, name, bytes, count);
            }
            add(&mut parts.idle, name, idle(suite, name, count)?, count);
        }
    }
    progress("");
    Ok(vec![parts.plain, parts.encrypted, parts.idle])
}

fn add(measured: &mut Measured, name: Name, bytes: u64, count: usize) {
    measured.add(name, Figure::MemoryPerConnection, bytes as f64 / 1e3 / count as f64);
    measured.failed(name, 0);
}

/// What dendron's memory grows by while it has parked so many syncs.
fn parked(
    suite: &Suite<'_>,
    homeserver: &Homeserver,
    people: &[Device],
    count: usize,
    encrypted: bool,
) -> Outcome<u64> {
    // Whom dendron trusts it tells how a sync was answered.
    let settings = format!("threads: {}\ntrusted_proxies: [127.0.0.1]\n", suite.stage.threads);
    let edge = Edge::start(&suite.stage, homeserver, &settings, |status| status["syncs"]["gate"] == "live")?;
    let polls = devices::settled(edge.port, people, TIMEOUT)?;
    let wire = wire(suite, (edge.port, edge.tls), encrypted)?;
    let first = Waiting::answered(&wire, &preflight(), FIRST)?;
    let before = edge.usage()?.resident_bytes;
    let waiting = Waiting::ask(&wire, polls.iter().map(Vec::as_slice).cycle().take(count))?;
    edge.wait_for("dendron_sync_parked", |parked| parked == count as f64)?;
    std::thread::sleep(SETTLE);
    let during = edge.usage()?.resident_bytes;
    drop((first, waiting));
    Ok(during.saturating_sub(before))
}

/// What a proxy's memory grows by while it holds so many long-polls.
fn held(suite: &Suite<'_>, name: Name, count: usize, encrypted: bool) -> Outcome<u64> {
    let upstream = suite.stage.upstream;
    upstream.wait_for_held(0)?;
    let contender = Contender::start(name, &suite.stage)?;
    let wire = wire(suite, (contender.plain, contender.tls), encrypted)?;
    let first = Waiting::answered(&wire, &preflight(), FIRST)?;
    let before = contender.usage()?.resident_bytes;
    let polls: Vec<Vec<u8>> = (0..count).map(|number| plain::bytes(&mix::long_poll(number))).collect();
    let waiting = Waiting::ask(&wire, polls.iter().map(Vec::as_slice))?;
    upstream.wait_for_held(count)?;
    let during = contender.usage()?.resident_bytes;
    upstream.order("release")?;
    drop((first, waiting));
    Ok(during.saturating_sub(before))
}

/// What a proxy's memory grows by for so many connections on which nothing happens any more.
fn idle(suite: &Suite<'_>, name: Name, count: usize) -> Outcome<u64> {
    let contender = Contender::start(name, &suite.stage)?;
    let wire = Wire::Plain(contender.plain);
    let first = Waiting::answered(&wire, &preflight(), FIRST)?;
    let before = contender.usage()?.resident_bytes;
    let waiting = Waiting::answered(&wire, &preflight(), count)?;
    std::thread::sleep(SETTLE);
    let during = contender.usage()?.resident_bytes;
    drop((first, waiting));
    Ok(during.saturating_sub(before))
}

fn wire(suite: &Suite<'_>, (plain, tls): (u16, u16), encrypted: bool) -> Outcome<Wire> {
    if encrypted { Wire::encrypted(tls, &suite.stage.certificate.der) } else { Ok(Wire::Plain(plain)) }
}

fn preflight() -> Vec<u8> {
    plain::bytes(&mix::preflight("/_matrix/client/v3/sync"))
}
