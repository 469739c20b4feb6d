//! (j), its other half: how soon a parked sync is on its way to Synapse when something has happened. Among other rows,
//! which concern nobody who is parked, one after the other concerns a user who has one parked, or many; time counts from when
//! it is given to Redis until each of them passes on the wire to Synapse.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Suite;
use super::rounds::progress;
use crate::contenders::Name;
use crate::fault::{Outcome, wrong};
use crate::figures::{Figure, Measured};
use crate::generate::heard::Heard;
use crate::generate::paced::{Latencies, Pace};
use crate::generate::rows::Writer;
use crate::generate::tap::Tap;
use crate::generate::waiting::{Waiting, Wire};
use crate::generate::{devices, plain};
use crate::homeserver::edge::Edge;
use crate::homeserver::stack::Homeserver;
use crate::homeserver::users::{self, Device};
use crate::mix;

/// How many syncs are parked of a user who has many.
const MANY: usize = 20;
/// How long they would wait.
const TIMEOUT: Duration = Duration::from_secs(110);
/// How many other rows there are, and other requests: what is seldom done finds nothing of it in a processor's caches, and
/// then the machine is measured.
const OTHERS_PER_SECOND: u32 = 500;
/// Over how many connections the other requests come.
const OTHERS_CONNECTIONS: usize = 2;
/// How often all of them are parked and woken. Of a hundred the slowest says little, and the machine's hour a lot.
const ROUNDS: usize = 3;
/// How long the syncs may be in coming.
const PATIENCE: Duration = Duration::from_secs(5);
/// What lies between two rows that wake, so that Synapse has those who were woken. All is over before dendron asks Synapse
/// for its positions again, which it does every half minute: they are others than those of the rows here.
const PAUSE: Duration = Duration::from_millis(50);
/// Beyond all of Synapse's positions.
const POSITION: u64 = 1_000_000;
/// What users' names begin with.
const PREFIX: &str = "woken";

/// Whoever is parked, and what is needed to wake them.
struct Parked<'stage> {
    tap: &'stage Tap,
    writer: Writer<'stage>,
    heard: Heard,
    server_name: &'stage str,
    /// By when somebody who only listens has heard of each row.
    listener: Vec<Duration>,
}

/// What came of one round.
struct Round {
    of_one: Latencies,
    of_many: Latencies,
    note: String,
}

pub(super) fn run(suite: &Suite<'_>, homeserver: &mut Homeserver) -> Outcome<Measured> {
    let (singles, crowds) = suite.by_size((3, 1), (100, 45), (100, 45));
    homeserver.run_synapse(&json!({ "bcrypt_rounds": 4, "presence": { "enabled": false } }))?;
    let people = users::households(&homeserver.client(), PREFIX, singles + crowds, 1, 1)?;
    let count = singles + crowds * MANY;
    let mut measured = Measured::new(format!("{count} syncs parked, of which a row wakes one, or {MANY}"));
    for number in 1..=suite.by_size(1, ROUNDS, ROUNDS) {
        let Round { of_one, of_many, note } = round(suite, homeserver, &people, (singles, crowds))?;
        measured.add(Name::Dendron, Figure::WakeMedian, of_one.of_thousand(500) / 1e3);
        measured.add(Name::Dendron, Figure::WakePercentile99, of_one.of_thousand(990) / 1e3);
        measured.add(Name::Dendron, Figure::ManyWakesPercentile99, of_many.of_thousand(990) / 1e3);
        measured.failed(Name::Dendron, 0);
        measured.notes.push(format!("Round {number}: {note}"));
    }
    Ok(measured)
}

/// A dendron that has just started, so many who have one sync parked, and so many who have many: all are woken once.
fn round(
    suite: &Suite<'_>,
    homeserver: &Homeserver,
    people: &[Device],
    (singles, crowds): (usize, usize),
) -> Outcome<Round> {
    let tap = Tap::before(homeserver.port())?;
    // Whom dendron trusts it tells how a sync was answered.
    let settings = format!("trusted_proxies: [127.0.0.1]\npools: {{sync: [\"http://127.0.0.1:{}\"]}}\n", tap.port);
    let edge = Edge::start(&suite.stage, homeserver, &settings, |status| status["syncs"]["gate"] == "live")?;
    let polls = devices::settled(edge.port, people, TIMEOUT)?;
    let (alone, many) = polls.split_at(singles);
    let all = alone.iter().chain(many.iter().cycle().take(crowds * MANY)).map(Vec::as_slice);
    let count = singles + crowds * MANY;
    let _waiting = Waiting::ask(&Wire::Plain(edge.port), all)?;
    edge.wait_for("dendron_sync_parked", |parked| parked == count as f64)?;
    let (server_name, socket) = homeserver.redis();
    let writer = Writer::connect(server_name, socket, POSITION)?;
    let heard = Heard::listen(server_name, socket, PREFIX)?;
    let mut parked = Parked { tap: &tap, writer, heard, server_name, listener: Vec::new() };
    tap.take();
    progress(&format!("  {count} parked, and one row after the other"));
    let others = [plain::bytes(&mix::preflight("/_matrix/client/v3/sync"))];
    let duration = PAUSE * u32::try_from(singles + crowds).unwrap_or_default();
    let per_second = f64::from(OTHERS_PER_SECOND);
    let pace = Pace { requests: &others, per_second, connections: OTHERS_CONNECTIONS, duration };
    let (of_one, of_many) = std::thread::scope(|scope| {
        let others = scope.spawn(|| pace.run(edge.port));
        let of_one = parked.wake(0..singles, 1)?;
        let of_many = parked.wake(singles..singles + crowds, MANY)?;
        others.join().map_err(|_| wrong("the generator has failed"))??;
        Ok((of_one, of_many))
    })?;
    Ok(Round { of_one, of_many, note: parked.note() })
}

impl Parked<'_> {
    /// Wakes one user after the other, each of whom has so many syncs parked; returns how long it took until each was on
    /// its way.
    fn wake(&mut self, users: Range<usize>, each: usize) -> Outcome<Latencies> {
        let mut delays = Vec::new();
        for number in users {
            self.writer.write(OTHERS_PER_SECOND, PAUSE)?;
            if !self.tap.take().is_empty() {
                return Err(wrong("more syncs went to Synapse than were woken"));
            }
            let said = self.writer.wake(&format!("@{PREFIX}{number}:{}", self.server_name))?;
            delays.extend(self.passed(each)?.into_iter().map(|moment| moment.saturating_duration_since(said)));
            self.listener.push(self.heard.next(PATIENCE)?.saturating_duration_since(said));
        }
        Ok(Latencies::of(delays))
    }

    /// What is said of the instruments.
    fn note(self) -> String {
        let listener = Latencies::of(self.listener);
        let precedence = match self.heard.is_punctual {
            true => "which goes before everything else on the machine, as does what notes when syncs pass,",
            false => "which has to wait for a core as everything else does, and so does what notes when syncs pass,",
        };
        format!(
            "somebody who does nothing but listen at the same Redis, {precedence} heard of these rows after {:.2} ms (p50) \
             and {:.2} ms (p99).",
            listener.of_thousand(500) / 1e3,
            listener.of_thousand(990) / 1e3,
        )
    }

    /// When all those have passed that are woken together.
    fn passed(&self, count: usize) -> Outcome<Vec<Instant>> {
        let begun = Instant::now();
        let mut passed = Vec::new();
        while passed.len() < count {
            if begun.elapsed() > PATIENCE {
                return Err(wrong(format!("{} of {count} syncs were woken", passed.len())));
            }
            std::thread::sleep(Duration::from_millis(2));
            passed.extend(self.tap.take());
        }
        Ok(passed)
    }
}
