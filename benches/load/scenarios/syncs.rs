//! (i): idle devices, and what they cost Synapse with parking and without: for accounts of few and of many rooms, with
//! presence and without, and for two bounds on how long an answer is given again.
//!
//! Everything takes a tenth of its usual time: polls of 3 s in place of 30, and with them the bound R of 12 s in place of
//! 120, and of 60 s in place of 600. What is forwarded is the same share of all polls as it is in real time; only there
//! are ten times as many of them, which is why fewer devices do: so many that Synapse alone has time left between them.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Suite;
use super::rounds::progress;
use crate::contenders::Name;
use crate::fault::{Outcome, wrong};
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
/// For how many devices it is told what is the same for all of them together.
const MANY: f64 = 10_000.0;
/// Synapse has much to do after its users have joined their rooms. It is calm when it takes less than this share of a core,
/// and for so long it may take to be.
const CALM: f64 = 0.03;
const CALM_WINDOW: Duration = Duration::from_secs(3);
const CALM_MAX: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(180);
/// Whoever has come online is no longer "active" after a minute, which everybody else is told (Synapse's
/// `LAST_ACTIVE_GRANULARITY`). It is looked at what comes then: that nobody comes or goes.
const PRESENCE_SETTLES: Duration = Duration::from_secs(65);

/// What is measured together: devices of users who are alike.
struct Crowd {
    /// How many rooms each is in; the fewer users, the sooner all have joined.
    rooms: usize,
    users: usize,
    /// How many devices they have together. The more rooms, the dearer a poll.
    devices: usize,
    has_presence: bool,
    /// Which bounds are tried.
    bounds: &'static [Duration],
}

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let crowds = [
        Crowd { rooms: 5, users: 20, devices: 800, has_presence: false, bounds: &RENEW_AFTER },
        Crowd { rooms: 5, users: 20, devices: 400, has_presence: true, bounds: &RENEW_AFTER[..1] },
        Crowd { rooms: 50, users: 4, devices: 200, has_presence: false, bounds: &RENEW_AFTER[..1] },
        Crowd { rooms: 300, users: 2, devices: 60, has_presence: false, bounds: &RENEW_AFTER[..1] },
    ];
    let crowds = &crowds[..suite.by_size(1, 1, 4)];
    let mut homeserver = Homeserver::databases()?;
    let mut parts = Vec::new();
    for (number, crowd) in crowds.iter().enumerate() {
        homeserver.run_synapse(&json!({ "bcrypt_rounds": 4, "presence": { "enabled": crowd.has_presence } }))?;
        let Crowd { users, rooms, .. } = *crowd;
        let devices = suite.by_size(40, crowd.devices, crowd.devices);
        progress(&format!("  {users} users with {rooms} rooms"));
        let devices = users::households(&homeserver.client(), &format!("i{number}-"), users, devices / users, rooms)?;
        parts.extend(measure(suite, &homeserver, crowd, &devices)?);
    }
    progress("");
    Ok(parts)
}

/// Shares of a core.
#[derive(Clone, Copy, Debug)]
struct Shares {
    synapse: f64,
    edge: f64,
}

/// What was seen while devices polled.
struct Seen {
    /// What Synapse needs for a device in a minute of life, in milliseconds.
    per_device: f64,
    /// The share of a core that dendron takes for a device in life.
    edge_per_device: f64,
    /// How many devices have failed.
    errors: u64,
}

/// Synapse, alone or behind a dendron.
#[derive(Clone, Copy)]
struct Served<'run> {
    homeserver: &'run Homeserver,
    edge: Option<&'run Edge>,
}

/// Synapse alone, and then behind a dendron for each bound.
fn measure(suite: &Suite<'_>, homeserver: &Homeserver, crowd: &Crowd, devices: &[Device]) -> Outcome<Vec<Measured>> {
    let timeout = TIMEOUT / HASTE;
    let while_idle = timeout * suite.by_size(1, 2, 3);
    let served = Served { homeserver, edge: None };
    let idle_alone = served.idle(while_idle)?;
    let polling = Devices::start(homeserver.port(), devices, timeout, PATIENCE)?;
    let settle = settle(suite, crowd);
    let alone = served.watch(&polling, idle_alone, settle, timeout * suite.by_size(2, 4, 4))?;
    drop(polling);
    let mut parts = Vec::new();
    for bound in crowd.bounds {
        let mut measured = Measured::new(title(crowd, devices.len(), *bound));
        progress(&format!("  {}", measured.title));
        let settings = format!("sync: {{renew_after: {}s}}\n", (*bound / HASTE).as_secs());
        let is_live = |status: &serde_json::Value| status["syncs"]["gate"] == "live";
        let edge = Edge::start(&suite.stage, homeserver, &settings, is_live)?;
        let served = Served { homeserver, edge: Some(&edge) };
        let idle = served.idle(while_idle)?;
        let polling = Devices::start(edge.port, devices, timeout, PATIENCE)?;
        // A whole turn: so long an answer is given again, and then one poll is Synapse's.
        let behind = served.watch(&polling, idle, settle, *bound / HASTE + timeout)?;
        // What dendron asks Synapse for itself is the same however many devices there are.
        let own = (idle.synapse - idle_alone.synapse).max(0.0) / MANY * 60e3;
        measured.add(Name::Synapse, Figure::CpuPerDevice, alone.per_device);
        measured.add(Name::Dendron, Figure::CpuPerDevice, behind.per_device + own);
        measured.add(Name::Dendron, Figure::EdgeShareOfMany, (idle.edge + behind.edge_per_device * MANY) * 100.0);
        measured.failed(Name::Synapse, alone.errors);
        measured.failed(Name::Dendron, behind.errors);
        measured.notes.push(note(*bound, idle_alone, idle));
        parts.push(measured);
    }
    Ok(parts)
}

/// How long devices poll before they are looked at.
fn settle(suite: &Suite<'_>, crowd: &Crowd) -> Duration {
    let presence = if crowd.has_presence { PRESENCE_SETTLES } else { Duration::ZERO };
    suite.by_size(Duration::ZERO, presence, presence) + TIMEOUT / HASTE * 5 / 2
}

fn title(crowd: &Crowd, devices: usize, bound: Duration) -> String {
    let presence = if crowd.has_presence { "on" } else { "off" };
    format!("{devices} idle devices, {} rooms each, presence {presence}, R = {} s", crowd.rooms, bound.as_secs())
}

fn note(bound: Duration, alone: Shares, behind: Shares) -> String {
    let seconds = |life: Duration| (life / HASTE).as_secs();
    format!(
        "In the column of dendron Synapse stands behind dendron, in that of Synapse alone. Everything ran {HASTE} times as \
         fast as in life (polls of {} s, R of {} s); the numbers are for polls of {} s. With no device there Synapse takes \
         {:.1} % of a core alone and {:.1} % behind dendron, which takes {:.1} % itself: that is counted once for {MANY} \
         devices.",
        seconds(TIMEOUT),
        seconds(bound),
        TIMEOUT.as_secs(),
        alone.synapse * 100.0,
        behind.synapse * 100.0,
        behind.edge * 100.0,
    )
}

impl Served<'_> {
    /// What has been used so far.
    fn used(self) -> Outcome<(Duration, Duration)> {
        let edge = self.edge.map(Edge::usage).transpose()?.unwrap_or_default();
        Ok((self.homeserver.usage()?.cpu, edge.cpu))
    }

    fn shares(self, time: Duration) -> Outcome<Shares> {
        let (begun, before) = (Instant::now(), self.used()?);
        std::thread::sleep(time);
        let (after, took) = (self.used()?, begun.elapsed().as_secs_f64());
        let share = |before: Duration, after: Duration| (after - before).as_secs_f64() / took;
        Ok(Shares { synapse: share(before.0, after.0), edge: share(before.1, after.1) })
    }

    /// The shares that are taken with no device there, when what came before is done.
    fn idle(self, time: Duration) -> Outcome<Shares> {
        let begun = Instant::now();
        while self.shares(CALM_WINDOW)?.synapse > CALM {
            if begun.elapsed() > CALM_MAX {
                return Err(wrong("Synapse does not become calm"));
            }
        }
        self.shares(time)
    }

    /// Lets devices poll until they have settled, and then looks for some time.
    fn watch(self, polling: &Devices, idle: Shares, settle: Duration, time: Duration) -> Outcome<Seen> {
        std::thread::sleep(settle);
        let (begun, (polls_before, _)) = (Instant::now(), polling.polls());
        let shares = self.shares(time)?;
        let (took, (polls, errors)) = (begun.elapsed().as_secs_f64(), polling.polls());
        let polls_per_second = (polls - polls_before).max(1) as f64 / took;
        // A device polls so often in life.
        let per_device = |share: f64, idle: f64| (share - idle) / polls_per_second / TIMEOUT.as_secs_f64();
        Ok(Seen {
            per_device: per_device(shares.synapse, idle.synapse) * 60e3,
            edge_per_device: per_device(shares.edge, idle.edge),
            errors,
        })
    }
}
