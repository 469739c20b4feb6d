//! The gate: every sync that could be parked is considered here, and every change of Synapse's is told here.
//!
//! Nobody waits for it: behind it is one lock, which is held for microseconds and never across I/O. Only what concerns
//! everybody at once takes as long as there are users.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::book::{Book, Decision, Watch};
use super::counts::{Counts, Sizes};
use super::loads;
use super::parked::{Ticket, Wake};
use super::poll::Poll;
use super::state::State;
use super::verdict::{Seen, Verdict, WakeReason};
use super::waiting::Parked;
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
    /// How many bytes of bodies and tokens may be kept.
    pub kept_bytes_max: usize,
    /// How many users' rooms may be known.
    pub users_max: usize,
    /// How many pairs of user and room may be known, before no further user's rooms are asked for.
    pub pairs_max: usize,
    /// How many rooms' last changes are told apart at least, and how many people's.
    pub touches_max: usize,
}

/// Decides which syncs wait here.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

/// What those who are parked hold on to.
#[derive(Debug)]
pub(super) struct Shared {
    book: Mutex<Book>,
    work: Notify,
    /// From where the moments are counted at which those who are parked are answered together.
    begun: Instant,
}

// === impl Gate ===

impl Gate {
    /// A gate that lets everything through until it hears of [`Event::Live`] and is run. The seed spreads out those who
    /// are released all at once.
    pub fn new(limits: Limits, seed: u64) -> Self {
        let shared = Shared { book: Mutex::new(Book::new(limits, seed)), work: Notify::new(), begun: Instant::now() };
        Gate { shared: Arc::new(shared) }
    }

    /// What is to be done with a sync. After [`Verdict::Forward`], [`Gate::forwarded`] is to be called.
    pub fn consider(&self, poll: &Poll, now: Instant) -> Verdict {
        let decision = self.shared.with(|book| book.consider(poll, now));
        match decision {
            Decision::Forward(reason) => Verdict::Forward(reason),
            Decision::Replay(answer) => Verdict::Replay(answer),
            Decision::Park(place) => {
                Verdict::Park(Parked::new(Arc::clone(&self.shared), place, poll.arrived + poll.timeout))
            }
        }
    }

    /// Takes note that a sync goes to Synapse now, after [`Gate::consider`] said so or without asking it. One that was
    /// woken has the moment of its forwarding as `arrived`, and as `timeout` what it is forwarded with.
    pub fn forwarded(&self, poll: Poll, now: Instant) -> Watch {
        let (watch, has_questions) = self.shared.with(|book| {
            let watch = book.forwarded(poll, now);
            (watch, book.members.has_questions())
        });
        if has_questions {
            self.shared.work.notify_one();
        }
        watch
    }

    /// Takes note of the answer, when it is complete.
    pub fn answered(&self, watch: Watch, seen: Seen, now: Instant) {
        self.shared.with(|book| book.answered(watch, seen, now));
    }

    /// Takes note of what the follower tells, in order.
    pub fn apply(&self, event: &Event, now: Instant) {
        let is_urgent = self.shared.with(|book| {
            book.apply(event, now);
            book.has_urgent_work()
        });
        if is_urgent {
            self.shared.work.notify_one();
        }
    }

    /// Lets go of all who are parked, spread over two seconds.
    pub fn release_all(&self, reason: WakeReason, now: Instant) {
        self.shared.with(|book| book.release_all(reason, now));
    }

    /// Whether it is live, and if not, why.
    pub fn state(&self) -> State {
        self.shared.with(|book| book.state())
    }

    /// What was counted since the start.
    pub fn counts(&self) -> Counts {
        self.shared.with(|book| book.counts())
    }

    /// How much there is now.
    pub fn sizes(&self) -> Sizes {
        self.shared.with(|book| book.sizes())
    }

    /// Does all the I/O: asks the database for members and positions; and lets time pass. For ever.
    pub async fn run(self: Arc<Self>, database: Arc<Database>) {
        loads::run(&self.shared, database).await;
    }
}

// === impl Shared ===

impl Shared {
    /// Does something with all that is known, then wakes whom that concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut book);
        let (wakes, rubbish) = book.take_outcome();
        drop(book);
        wakes.into_iter().for_each(Wake::send);
        drop(rubbish);
        result
    }

    /// A parked sync waits no longer; `false` if it was woken before.
    pub(super) fn leave(&self, ticket: Ticket) -> bool {
        self.with(|book| book.leave(ticket))
    }

    /// When the gate began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Until there may be something to ask.
    pub(super) async fn work(&self) {
        self.work.notified().await;
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

#[cfg(test)]
mod tests;
