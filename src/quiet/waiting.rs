//! The place of one parked sync, as whoever holds its connection sees it.

use std::sync::Arc;
use std::time::Instant;

use super::book::Place;
use super::gate::Shared;
use super::kept::KeptAnswer;
use super::parked::Woken;
use super::verdict::{Ending, WakeReason};

/// A sync that waits. When it is dropped, it waits no longer, and nothing of it is left.
#[derive(Debug)]
pub struct Parked {
    shared: Arc<Shared>,
    place: Place,
    deadline: Instant,
    /// What it was told when it was woken.
    woken: Option<Woken>,
}

impl Parked {
    pub(super) fn new(shared: Arc<Shared>, place: Place, deadline: Instant) -> Self {
        Parked { shared, place, deadline, woken: None }
    }

    /// When the client's timeout ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The answer that is given then.
    pub fn answer(&self) -> &Arc<KeptAnswer> {
        &self.place.answer
    }

    /// Why it was woken, if it was.
    pub fn woken(&self) -> Option<WakeReason> {
        self.woken.map(|woken| woken.reason)
    }

    /// Waits until the sync is woken or its time is over. The future may be dropped and made again at any time.
    pub async fn ended(&mut self) -> Ending {
        let Woken { reason, until } = match self.woken {
            Some(woken) => woken,
            None => match self.wait().await {
                Ok(woken) => *self.woken.insert(woken),
                Err(ending) => return ending,
            },
        };
        // A timer takes until its next tick, a millisecond or two, also for a moment that is over.
        if let Some(until) = until {
            tokio::time::sleep_until(until.min(self.deadline).into()).await;
        }
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        Ending::Wake(reason, reason.timeout(remaining))
    }

    async fn wait(&mut self) -> Result<Woken, Ending> {
        let woken = tokio::select! {
            biased;
            woken = &mut self.place.woken => woken,
            () = tokio::time::sleep_until(self.deadline.into()) => {
                // Whoever has just taken it out of the set is about to wake it.
                if self.shared.leave(self.place.ticket) {
                    return Err(Ending::Replay);
                }
                (&mut self.place.woken).await
            }
        };
        // Else the gate itself has gone.
        Ok(woken.unwrap_or(Woken { reason: WakeReason::NotLive, until: None }))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.place.woken.close();
        self.shared.leave(self.place.ticket);
    }
}
