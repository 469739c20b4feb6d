//! The place of one parked sync, as whoever holds its connection sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Those whose time is over within so long are answered together. On a machine with little else to do most of what an
/// answer costs is that a processor wakes for it: so one wakes for many, and nobody is answered much later.
const TOGETHER: Duration = Duration::from_millis(50);

// === impl Parked ===

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

    /// Waits until the sync is woken, or its time and up to 50 ms are over. The future may be dropped and made again at any
    /// time.
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
            () = tokio::time::sleep_until(together(self.deadline, self.shared.begun()).into()) => {
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

/// The first moment after a deadline at which some are answered, when these are counted from `begun`.
fn together(deadline: Instant, begun: Instant) -> Instant {
    let beyond = deadline.saturating_duration_since(begun).as_nanos() % TOGETHER.as_nanos();
    let beyond = Duration::from_nanos(u64::try_from(beyond).unwrap_or_default());
    if beyond.is_zero() { deadline } else { deadline + (TOGETHER - beyond) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_that_are_close_end_together_and_none_ends_early() {
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        for (deadline, ends) in [(0, 0), (1, 50), (49, 50), (50, 50), (51, 100), (30_020, 30_050)] {
            assert_eq!(together(at(deadline), begun), at(ends), "{deadline}");
        }
        // A deadline from before the beginning is over in any case.
        assert_eq!(together(begun, at(10)), begun);
    }
}
