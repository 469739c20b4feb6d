//! Pauses of a thread that checks passwords, while Synapse is at work on what others ask.
//!
//! Neighbouring cores share caches, and those of a rented machine often more than that, so that a thread which hashes
//! slows whoever is served beside it, whatever its niceness. A check takes a quarter of a second, and most requests some
//! milliseconds: to let those go first costs logins little. Where others always ask, a thread works half of the time.
//!
//! Not here: who the others are.

use std::sync::Arc;
use std::time::Duration;

/// Tells whether Synapse is at work on what others ask.
pub type OthersAreServed = Arc<dyn Fn() -> bool + Send + Sync>;

/// When one thread pauses, and for how long.
pub(super) struct Pauses {
    others: OthersAreServed,
    /// How long it may pause: as long as it has worked, less the pauses it has made.
    saved: Duration,
}

/// The most that is saved up: more than most requests take.
const SAVED_MAX: Duration = Duration::from_millis(20);
/// How often it is looked whether others are still served.
const LOOK: Duration = Duration::from_micros(200);

impl Pauses {
    pub(super) fn new(others: OthersAreServed) -> Self {
        Pauses { others, saved: Duration::ZERO }
    }

    /// How long to pause before it is looked again; `None` if work may go on.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.saved.is_zero() && (self.others)()).then_some(LOOK)
    }

    /// Takes note of a pause.
    pub(super) fn paused(&mut self, time: Duration) {
        self.saved = self.saved.saturating_sub(time);
    }

    /// Takes note of work.
    pub(super) fn worked(&mut self, time: Duration) {
        self.saved = (self.saved + time).min(SAVED_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// How often somebody pauses who has worked so long, while others are served for so many looks.
    fn pauses(worked: Duration, looks: usize) -> usize {
        let left = AtomicUsize::new(looks);
        let others =
            move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let mut pauses = Pauses::new(Arc::new(others));
        pauses.worked(worked);
        let mut count = 0;
        while let Some(time) = pauses.due() {
            pauses.paused(time);
            count += 1;
        }
        count
    }

    #[test]
    fn a_thread_pauses_while_others_are_served_and_no_longer_than_it_has_worked() {
        let always = usize::MAX;
        let table = [
            (SAVED_MAX, 0, 0),
            (SAVED_MAX, 3, 3),
            (Duration::ZERO, always, 0),
            (LOOK * 2, always, 2),
            (LOOK * 5 / 2, always, 3),
            (SAVED_MAX * 10, always, 100),
        ];
        for (worked, looks, expected) in table {
            assert_eq!(pauses(worked, looks), expected, "{worked:?} {looks}");
        }
    }
}
