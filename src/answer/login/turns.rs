//! Logins take turns at the main process, so that others who ask it are not held up.
//!
//! The main process does one thing at a time, and to make a device keeps it busy for as long as many other requests
//! together. Passwords are checked side by side, so in a storm several logins are through at the same moment; all of them
//! at once would be a wall before whoever asks next. While others ask, one login after the other goes to the main process,
//! and the others come in between. While nobody else does, nobody waits.
//!
//! Not here: a limit of logins. Whoever has waited long goes on without a turn.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::neighbours::{Devices, Registered};
use crate::synapse::{DeviceRequest, RegisterError};

/// The write half of a login, in turns.
pub struct InTurns<D> {
    devices: D,
    places: Semaphore,
    waiting: AtomicUsize,
    requests: RequestCount,
    traffic: Mutex<Traffic>,
}

/// Tells how many requests others have sent to the main process so far.
pub type RequestCount = Box<dyn Fn() -> u64 + Send + Sync>;

/// When others were last seen to ask.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    requests: u64,
    seen: Option<Instant>,
}

/// One who waits, for as long as this lives.
struct Waiting<'a>(&'a AtomicUsize);

/// How many logins are with the main process at once while others ask it. With two, the slowest hundredth of the others
/// waits a third longer (`./dev bench h`), and logins gain nothing: their bound is what the process can do.
const AT_ONCE_MAX: usize = 1;
/// How long a turn is waited for. It is far more than a usual wait, and less than a client's patience.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Others ask if one has within this time.
const RECENTLY: Duration = Duration::from_secs(1);

// === impl InTurns ===

impl<D> InTurns<D> {
    /// Turns at these devices, while the number of `requests` grows.
    pub fn new(devices: D, requests: RequestCount) -> Self {
        let (places, waiting, traffic) = (Semaphore::new(AT_ONCE_MAX), AtomicUsize::new(0), Mutex::default());
        InTurns { devices, places, waiting, requests, traffic }
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A turn, to be kept until all is done; `None` where none is needed, or none came in time.
    async fn turn(&self, now: Instant) -> Option<SemaphorePermit<'_>> {
        let others_ask = self.traffic.lock().unwrap_or_else(PoisonError::into_inner).is_busy((self.requests)(), now);
        if !others_ask {
            return None;
        }
        let _waiting = Waiting::among(&self.waiting);
        timeout(WAIT_MAX, self.places.acquire()).await.ok()?.ok()
    }
}

impl<D: Devices> Devices for InTurns<D> {
    async fn register(&self, request: DeviceRequest<'_>, client: Option<IpAddr>) -> Result<Registered, RegisterError> {
        let _turn = self.turn(Instant::now()).await;
        self.devices.register(request, client).await
    }
}

// === impl Traffic ===

impl Traffic {
    /// Whether others ask, when so many requests of theirs were sent by now.
    fn is_busy(&mut self, requests: u64, now: Instant) -> bool {
        if requests != self.requests {
            *self = Traffic { requests, seen: Some(now) };
        }
        self.seen.is_some_and(|seen| now.saturating_duration_since(seen) < RECENTLY)
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use tokio::task::JoinSet;

    use super::*;

    /// Devices that take a second, and remember how many were asked for at once.
    #[derive(Default)]
    struct Slow {
        present: AtomicUsize,
        most: AtomicUsize,
    }

    impl Devices for Arc<Slow> {
        async fn register(&self, _: DeviceRequest<'_>, _: Option<IpAddr>) -> Result<Registered, RegisterError> {
            let present = self.present.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(present, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.present.fetch_sub(1, Ordering::Relaxed);
            Ok(Registered::Answer(bytes::Bytes::new()))
        }
    }

    fn request() -> DeviceRequest<'static> {
        DeviceRequest {
            user_id: "@a:b",
            device_id: None,
            initial_display_name: None,
            should_issue_refresh_token: false,
        }
    }

    /// So many logins at once; returns how many were at the devices together, and how long all took.
    async fn storm(count: usize, others_ask: bool) -> (usize, Duration) {
        let (slow, sent) = (Arc::new(Slow::default()), AtomicU64::new(0));
        let more = u64::from(others_ask);
        let requests: RequestCount = Box::new(move || sent.fetch_add(more, Ordering::Relaxed) + more);
        let turns = Arc::new(InTurns::new(Arc::clone(&slow), requests));
        let begun = tokio::time::Instant::now();
        let mut logins = JoinSet::new();
        for _ in 0..count {
            let turns = Arc::clone(&turns);
            logins.spawn(async move { turns.register(request(), None).await.is_ok() });
        }
        while let Some(done) = logins.join_next().await {
            assert!(done.unwrap());
        }
        assert_eq!(turns.waiting(), 0);
        (slow.most.load(Ordering::Relaxed), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_while_nobody_else_asks() {
        assert_eq!(storm(8, false).await, (8, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_after_the_other_goes_while_others_ask() {
        let (most, took) = storm(4, true).await;
        assert_eq!((most, took), (AT_ONCE_MAX, Duration::from_secs(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_long_goes_without_a_turn() {
        // All but those whose turn comes within the time go together when it is over.
        let (most, took) = storm(100, true).await;
        assert!(most > AT_ONCE_MAX, "{most}");
        assert_eq!(took.as_secs(), WAIT_MAX.as_secs() + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_waits_no_longer() {
        let turns = InTurns::new(Arc::new(Slow::default()), Box::new(|| 1));
        let held = turns.turn(Instant::now()).await;
        assert!(held.is_some());
        let left = timeout(Duration::from_millis(10), turns.register(request(), None)).await;
        assert!(left.is_err());
        assert_eq!(turns.waiting(), 0);
    }

    #[test]
    fn others_ask_for_a_second_after_each_request() {
        let (mut traffic, now) = (Traffic::default(), Instant::now());
        assert!(!traffic.is_busy(0, now));
        assert!(traffic.is_busy(1, now));
        assert!(traffic.is_busy(1, now + RECENTLY / 2));
        assert!(!traffic.is_busy(1, now + RECENTLY));
        assert!(traffic.is_busy(2, now + RECENTLY * 2));
    }
}
