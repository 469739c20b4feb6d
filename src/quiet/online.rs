//! [`Presence`] joined with who publishes what it says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::presence::Presence;
use crate::replication::{Outbox, State};
use crate::token::Caller;

/// How often what is due is published.
const TICK: Duration = Duration::from_secs(1);

/// Tells Synapse who syncs here. Without presence, nobody is told of.
pub struct Online(Option<Tracked>);

struct Tracked {
    presence: Arc<Mutex<Presence>>,
    outbox: Outbox,
    state: watch::Receiver<State>,
}

/// While this is held, its user counts as syncing.
pub struct Told {
    presence: Arc<Mutex<Presence>>,
    caller: Caller,
}

/// This device cannot be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold;

// === impl Online ===

impl Online {
    /// Synapse does not find out by itself who is online: nobody has to be told of.
    pub fn untracked() -> Self {
        Online(None)
    }

    /// It does. `instance` is the name that dendron has as one of its processes.
    pub fn tracked(instance: &str, outbox: Outbox, state: watch::Receiver<State>) -> Self {
        let presence = Arc::new(Mutex::new(Presence::new(instance)));
        Online(Some(Tracked { presence, outbox, state }))
    }

    /// Whether nobody has to be told of.
    pub fn is_untracked(&self) -> bool {
        self.0.is_none()
    }

    /// Whether Synapse can be told: Redis lets dendron publish.
    pub fn can_be_told(&self) -> bool {
        self.0.as_ref().is_some_and(|tracked| tracked.outbox.may_publish())
    }

    /// The user syncs here until what is returned is dropped; nothing where nobody has to be told of.
    ///
    /// # Errors
    ///
    /// [`Untold`].
    pub fn tell(&self, caller: &Caller, now: Instant) -> Result<Option<Told>, Untold> {
        let Some(Tracked { presence, outbox, .. }) = &self.0 else { return Ok(None) };
        if !outbox.may_publish() {
            // Somebody else sees to it that the user does not look gone.
            return Ok(None);
        }
        match lock(presence).begin(caller, now) {
            true => Ok(Some(Told { presence: Arc::clone(presence), caller: caller.clone() })),
            false => Err(Untold),
        }
    }

    /// How many devices count as syncing here.
    pub fn devices(&self) -> usize {
        self.0.as_ref().map_or(0, |tracked| lock(&tracked.presence).devices())
    }

    /// Publishes what is due, for ever.
    pub async fn run(&self) {
        let Some(Tracked { presence, outbox, state }) = &self.0 else { return std::future::pending().await };
        let mut state = state.clone();
        let mut ticks = tokio::time::interval(TICK);
        lock(presence).follow(*state.borrow_and_update() == State::Live);
        loop {
            let now = Instant::now();
            {
                let mut presence = lock(presence);
                presence.tick(now);
                presence.send(now, SystemTime::now(), |command| outbox.send(command));
            }
            tokio::select! {
                _ = ticks.tick() => {}
                changed = state.changed() => match changed {
                    Ok(()) => lock(presence).follow(*state.borrow_and_update() == State::Live),
                    // The follower is gone, and so is the program.
                    Err(_) => return std::future::pending().await,
                },
            }
        }
    }

    /// Tells Synapse that nobody syncs here any more.
    pub fn farewell(&self) {
        if let Some(Tracked { presence, outbox, .. }) = &self.0 {
            outbox.send(&lock(presence).farewell());
        }
    }
}

fn lock(presence: &Mutex<Presence>) -> MutexGuard<'_, Presence> {
    presence.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Told ===

impl Drop for Told {
    fn drop(&mut self) {
        lock(&self.presence).end(&self.caller, Instant::now());
    }
}
