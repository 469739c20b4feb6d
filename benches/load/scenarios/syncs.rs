//! (i): idle devices, and what they cost Synapse with parking and without: for accounts of few and of many rooms, with
//! presence and without, and for two bounds on how long an answer is given again.
//!
//! Everything takes a tenth of its usual time: polls of 3 s in place of 30, and with them the bound R of 12 s in place of
//! 120, and of 60 s in place of 600. What is forwarded is the same share of all polls as it is in real time; only there
//! are ten times as many of them, which is why fewer devices do.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Suite;
use super::rounds::progress;
use crate::accounting::Usage;
use crate::contenders::Name;
use crate::fault::Outcome;
use crate::figures::{Figure, Measured};
use crate::generate::devices::Devices;
use crate::homeserver::edge::Edge;
use crate::homeserver::stack::Homeserver;
use crate::homeserver::users::{self, Device};

/// How many times as fast as in life all goes.
const HASTE: u32 = 10;
/// What a client's poll takes in life.
const TIMEOUT: Duration = Duration::from_secs(30);
/// R in life.
const RENEW_AFTER: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(600)];
/// For how many devices dendron's share of a core is told.
const MANY: f64 = 10_000.0;
const SETTLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(180);

/// What is measured together: devices of users who are alike.
struct Crowd {
    /// How many rooms each is in; the fewer users, the sooner all have joined.
    rooms: usize,
    users: usize,
    has_presence: bool,
    /// Which bounds are tried.
    bounds: &'static [Duration],
}

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let crowds = [
        Crowd { rooms: 5, users: 20, has_presence: false, bounds: &RENEW_AFTER },
        Crowd { rooms: 5, users: 20, has_presence: true, bounds: &RENEW_AFTER[..1] },
        Crowd { rooms: 50, users: 10, has_presence: false, bounds: &RENEW_AFTER[..1] },
        Crowd { rooms: 300, users: 2, has_presence: false, bounds: &RENEW_AFTER[..1] },
    ];
    let crowds = &crowds[..suite.by_size(1, 1, 4)];
    let devices = suite.by_size(40, 240, 240);
    let mut homeserver = Homeserver::databases()?;
    let mut parts = Vec::new();
    for (number, crowd) in crowds.iter().enumerate() {
        homeserver.run_synapse(&json!({ "bcrypt_rounds": 4, "presence": { "enabled": crowd.has_presence } }))?;
        let Crowd { users, rooms, .. } = *crowd;
        progress(&format!("  {users} users with {rooms} rooms"));
        let devices = users::households(&homeserver.client(), &format!("i{number}-"), users, devices / users, rooms)?;
        parts.extend(measure(suite, &homeserver, crowd, &devices)?);
    }
    progress("");
    Ok(parts)
}

/// The shares of a core that are taken with no device there.
#[derive(Clone, Copy, Debug)]
struct Idle {
    synapse: f64,
    edge: f64,
}

/// What was seen while devices polled.
struct Seen {
    /// What Synapse needs for a device in a minute of life, in milliseconds.
    per_device: f64,
    /// The share of a core that dendron takes for [`MANY`] devices in life, in percent.
    share_of_many: f64,
    /// How many devices have failed.
    errors: u64,
}

/// Synapse alone, and then behind a dendron for each bound.
fn measure(suite: &Suite<'_>, homeserver: &Homeserver, crowd: &Crowd, devices: &[Device]) -> Outcome<Vec<Measured>> {
    let timeout = TIMEOUT / HASTE;
    let while_idle = timeout * suite.by_size(1, 4, 6);
    let mut idle = Idle { synapse: idle(|| homeserver.usage(), while_idle)?, edge: 0.0 };
    let polling = Devices::start(homeserver.port(), devices, timeout, PATIENCE)?;
    let alone = watch(homeserver, None, &polling, idle, timeout * suite.by_size(2, 4, 6))?;
    drop(polling);
    let mut parts = Vec::new();
    for bound in crowd.bounds {
        let title = format!(
            "{} idle devices, {} rooms each, presence {}, R = {} s",
            devices.len(),
            crowd.rooms,
            if crowd.has_presence { "on" } else { "off" },
            bound.as_secs(),
        );
        progress(&format!("  {title}"));
        let mut measured = Measured::new(title);
        let settings = format!("sync: {{renew_after: {} s}}\n", (*bound / HASTE).as_secs()).replace(" s}", "s}");
        let is_live = |status: &serde_json::Value| status["syncs"]["gate"] == "live";
        let edge = Edge::start(&suite.stage, homeserver, &settings, is_live)?;
        idle.edge = self::idle(|| edge.usage(), timeout)?;
        let polling = Devices::start(edge.port, devices, timeout, PATIENCE)?;
        // A whole turn: so long an answer is given again, and then one poll is Synapse's.
        let turn = *bound / HASTE + timeout;
        let behind = watch(homeserver, Some(&edge), &polling, idle, turn)?;
        measured.add(Name::Synapse, Figure::CpuPerDevice, alone.per_device);
        measured.add(Name::Dendron, Figure::CpuPerDevice, behind.per_device);
        measured.add(Name::Dendron, Figure::EdgeShareOfMany, behind.share_of_many);
        measured.failed(Name::Synapse, alone.errors);
        measured.failed(Name::Dendron, behind.errors);
        measured.notes.push(format!(
            "In the column of dendron Synapse stands behind dendron, in that of Synapse alone. Everything ran {HASTE} times \
             as fast as in life (polls of {} s, R of {} s); the numbers are for polls of {} s. With nobody there \
             Synapse takes {:.1} % of a core, which is taken off, and dendron {:.1} %, which is counted once.",
            timeout.as_secs(),
            (*bound / HASTE).as_secs(),
            TIMEOUT.as_secs(),
            idle.synapse * 100.0,
            idle.edge * 100.0,
        ));
        parts.push(measured);
    }
    Ok(parts)
}

/// The share of a core that somebody takes with no device there.
fn idle(usage: impl Fn() -> Outcome<Usage>, time: Duration) -> Outcome<f64> {
    // What its start, or its users' logins, have left to be done is soon done.
    std::thread::sleep(SETTLE);
    let (begun, before) = (Instant::now(), usage()?.cpu);
    std::thread::sleep(time);
    Ok((usage()?.cpu - before).as_secs_f64() / begun.elapsed().as_secs_f64())
}

/// Waits until all poll steadily, and then looks for some time.
fn watch(homeserver: &Homeserver, edge: Option<&Edge>, polling: &Devices, idle: Idle, time: Duration) -> Outcome<Seen> {
    std::thread::sleep(TIMEOUT / HASTE * 5 / 2);
    let cpu = || -> Outcome<(Duration, Duration)> {
        let edge = edge.map(Edge::usage).transpose()?.unwrap_or_default();
        Ok((homeserver.usage()?.cpu, edge.cpu))
    };
    let (begun, before, (polls_before, _)) = (Instant::now(), cpu()?, polling.polls());
    std::thread::sleep(time);
    let (took, after, (polls, errors)) = (begun.elapsed().as_secs_f64(), cpu()?, polling.polls());
    let polls = (polls - polls_before).max(1) as f64;
    let beyond = |before: Duration, after: Duration, idle: f64| (after - before).as_secs_f64() - idle * took;
    let (synapse, edge) = (beyond(before.0, after.0, idle.synapse), beyond(before.1, after.1, idle.edge));
    let polls_per_minute = 60.0 / TIMEOUT.as_secs_f64();
    Ok(Seen {
        per_device: synapse * 1e3 / polls * polls_per_minute,
        share_of_many: (idle.edge + edge / polls * MANY / TIMEOUT.as_secs_f64()) * 100.0,
        errors,
    })
}
