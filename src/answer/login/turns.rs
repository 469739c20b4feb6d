//! Turns to have Synapse write. Its main process does one thing at a time: to ask it for much at once makes no login
//! faster, and all else that it does waits behind the lot. Passwords end in batches, so that without turns it would be
//! asked just so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The turns, and who waits for one.
pub struct Turns {
    places: Semaphore,
    waiting: AtomicUsize,
}

/// The right to ask Synapse. It is given back when this is dropped.
pub struct Turn<'a> {
    _place: Option<SemaphorePermit<'a>>,
}

/// Somebody who waits. When the future that holds it is dropped, it waits no longer.
struct Waits<'a>(&'a AtomicUsize);

/// How many may ask at once: while Synapse works for one, another's request is on its way.
const AT_ONCE_MAX: usize = 2;
/// How long a turn is waited for. If it has not come by then, Synapse is slow for another reason than too many logins, and
/// whoever has waited asks all the same, so that it does not wait for the end of each before it.
const WAIT_MAX: Duration = Duration::from_secs(5);

// === impl Turns ===

impl Turns {
    /// Waits for a turn. To drop the future gives the place in the queue back. Whoever waits has a connection, and those
    /// are bounded.
    pub async fn take(&self) -> Turn<'_> {
        let _waits = Waits::new(&self.waiting);
        Turn { _place: timeout(WAIT_MAX, self.places.acquire()).await.ok().and_then(Result::ok) }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Default for Turns {
    fn default() -> Self {
        Turns { places: Semaphore::new(AT_ONCE_MAX), waiting: AtomicUsize::new(0) }
    }
}

// === impl Waits ===

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_ask_at_once_and_the_next_one_when_one_is_through() {
        let turns = Turns::default();
        let (first, second) = (turns.take().await, turns.take().await);
        let mut third = Box::pin(turns.take());
        assert!((&mut third).now_or_never().is_none());
        assert_eq!(turns.waiting(), 1);
        drop(first);
        assert!((&mut third).now_or_never().is_some());
        assert_eq!(turns.waiting(), 0);
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_goes_waits_no_longer() {
        let turns = Turns::default();
        let _asking = (turns.take().await, turns.take().await);
        let mut third = Box::pin(turns.take());
        assert!((&mut third).now_or_never().is_none());
        drop(third);
        assert_eq!(turns.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_one_that_does_not_come() {
        let turns = Turns::default();
        let _asking = (turns.take().await, turns.take().await);
        let begun = Instant::now();
        let (_third, _fourth) = tokio::join!(turns.take(), turns.take());
        assert_eq!((begun.elapsed().as_secs(), turns.waiting()), (WAIT_MAX.as_secs(), 0));
    }
}
