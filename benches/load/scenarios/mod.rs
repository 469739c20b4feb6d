//! The scenarios: what is done to each contender in turn, and what is measured.
//!
//! - [`rounds`]: who is measured when.
//! - [`forward`]: (a), (c), (g): requests over kept connections, and (a)'s latencies at a fixed rate.
//! - [`connections`]: (b): a connection for each request.
//! - [`transfers`]: (d): large bodies.
//! - [`encrypted`]: (e): TLS, HTTP/2, handshakes.
//! - [`polls`]: (f): long-polls by the thousand.
//! - [`logins`]: (h): a storm of logins, before a real Synapse.
//! - [`syncs`]: (i): idle devices, before a real Synapse.
//! - [`rows`]: (j): a replication stream, through a real Redis; and [`wakes`]: whom its rows wake.
//! - [`waiting`]: (m): parked syncs and idle connections, before a real Synapse.
//! - [`growth`]: (l): more and more connections and long-polls.
//! - [`faults`]: (k): a slow process and a dead one.

mod connections;
mod encrypted;
mod faults;
mod forward;
mod growth;
mod logins;
mod polls;
pub(crate) mod rounds;
mod rows;
mod syncs;
mod transfers;
mod waiting;
mod wakes;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::arguments::Size;
use crate::contenders::Stage;
use crate::fault::Outcome;
use crate::figures::Measured;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Forward,
    Answered,
    Polls,
    Connections,
    Sends,
    Transfers,
    Encrypted,
    Faults,
    Growth,
    Logins,
    Syncs,
    Rows,
    Waiting,
}

/// A scenario that was run.
pub(crate) struct Done {
    pub(crate) scenario: Scenario,
    /// What it has measured, in parts; or why it could not.
    pub(crate) outcome: Outcome<Vec<Measured>>,
    pub(crate) took: Duration,
}

/// What a scenario is run with.
pub(crate) struct Suite<'suite> {
    pub(crate) stage: Stage<'suite>,
    pub(crate) size: Size,
    pub(crate) rounds: usize,
    /// The most open files of one process.
    pub(crate) descriptors: usize,
}

impl Scenario {
    /// Every scenario, in the order in which they are run.
    pub(crate) const ALL: [Scenario; 13] = [
        Scenario::Forward,
        Scenario::Answered,
        Scenario::Polls,
        Scenario::Connections,
        Scenario::Sends,
        Scenario::Transfers,
        Scenario::Encrypted,
        Scenario::Faults,
        Scenario::Growth,
        Scenario::Logins,
        Scenario::Syncs,
        Scenario::Rows,
        Scenario::Waiting,
    ];

    /// Whether a quick run has it: it holds dendron against other proxies, at one size, and needs no Synapse.
    pub(crate) const fn is_quick(self) -> bool {
        use Scenario::{Growth, Logins, Rows, Syncs, Waiting};
        !matches!(self, Growth | Logins | Syncs | Rows | Waiting)
    }

    pub(crate) const fn letter(self) -> &'static str {
        match self {
            Scenario::Forward => "a",
            Scenario::Connections => "b",
            Scenario::Sends => "c",
            Scenario::Transfers => "d",
            Scenario::Encrypted => "e",
            Scenario::Polls => "f",
            Scenario::Answered => "g",
            Scenario::Logins => "h",
            Scenario::Syncs => "i",
            Scenario::Rows => "j",
            Scenario::Faults => "k",
            Scenario::Growth => "l",
            Scenario::Waiting => "m",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Scenario::Forward => "small requests, forty endpoints",
            Scenario::Connections => "a connection for each request",
            Scenario::Sends => "sending messages",
            Scenario::Transfers => "large bodies",
            Scenario::Encrypted => "TLS and HTTP/2",
            Scenario::Polls => "long-polls that wait",
            Scenario::Answered => "preflights and versions, answered by the proxy",
            Scenario::Logins => "logins, beside Synapse",
            Scenario::Syncs => "idle syncs, with parking and without",
            Scenario::Rows => "a replication stream, followed, and who is woken",
            Scenario::Faults => "a slow process and a dead one",
            Scenario::Growth => "how cost grows",
            Scenario::Waiting => "connections that wait, parked and idle",
        }
    }

    /// The scenario of a letter.
    pub(crate) fn named(word: &str) -> Result<Self, String> {
        let letters = Scenario::ALL.map(Scenario::letter).join(", ");
        let known = Scenario::ALL.into_iter().find(|scenario| scenario.letter() == word);
        known
            .ok_or_else(|| format!("there is no scenario {word:?}; there are {letters}, and the sizes quick and smoke"))
    }

    /// Runs it; what it measures may have several parts.
    fn run(self, suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
        match self {
            Scenario::Forward => forward::forty_endpoints(suite),
            Scenario::Answered => forward::answered(suite),
            Scenario::Sends => forward::sends(suite),
            Scenario::Connections => connections::run(suite),
            Scenario::Transfers => transfers::run(suite),
            Scenario::Encrypted => encrypted::run(suite),
            Scenario::Polls => polls::run(suite),
            Scenario::Logins => logins::run(suite),
            Scenario::Syncs => syncs::run(suite),
            Scenario::Rows => rows::run(suite),
            Scenario::Faults => faults::run(suite),
            Scenario::Growth => growth::run(suite),
            Scenario::Waiting => waiting::run(suite),
        }
    }
}

impl Done {
    /// Runs a scenario.
    pub(crate) fn of(scenario: Scenario, suite: &Suite<'_>) -> Self {
        let begun = Instant::now();
        let outcome = scenario.run(suite);
        Done { scenario, outcome, took: begun.elapsed() }
    }

    /// What was measured: nothing where it failed.
    pub(crate) fn parts(&self) -> &[Measured] {
        self.outcome.as_deref().unwrap_or_default()
    }

    /// The same with the scenario's letter.
    pub(crate) fn lettered(&self) -> impl Iterator<Item = (&'static str, &Measured)> {
        self.parts().iter().map(|part| (self.scenario.letter(), part))
    }
}

impl Suite<'_> {
    pub(crate) fn folder(&self) -> &Path {
        self.stage.folder
    }

    /// How many connections a proxy can pass on at once: two descriptors each, and a quarter of all for what else it has
    /// open, keeps open, or (as dendron) does not give to long-polls.
    pub(crate) fn passed_on_max(&self) -> usize {
        self.descriptors * 3 / 8
    }

    /// One of three values, by size.
    pub(crate) fn by_size<T>(&self, smoke: T, quick: T, whole: T) -> T {
        match self.size {
            Size::Smoke => smoke,
            Size::Quick => quick,
            Size::Whole => whole,
        }
    }
}
