//! The queue before one process: a place at once, or a bounded wait for one.
//!
//! Who is next is said by [`super::turns`]; here are only the lock, the clock and the waking. A place is given to the
//! one who waits while the other still lets go of it, so that no newcomer can come between.
//!
//! Not here: a bound over all processes together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Limits;
use super::turns::{Arrival, Turns};
use crate::endpoint::Class;

/// The queue before one process.
#[derive(Debug)]
pub struct Queue {
    turns: Mutex<Turns<oneshot::Sender<Place>>>,
    limits: Limits,
    /// What `turns` says, for those who only look: the choice of the least busy process looks at every one.
    held: AtomicUsize,
    at_work: AtomicUsize,
    waiting: AtomicUsize,
}

/// A request's place at the process. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Queue>,
    class: Class,
}

/// Why a request got no place at a process.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LeaseError {
    /// As many requests of the class wait as may.
    #[error("the process's queue is full")]
    QueueFull,
    /// No place became free in time.
    #[error("no place at the process became free in time")]
    Waited,
}

impl Queue {
    /// The queue before a process that takes as many requests as these limits say.
    pub fn new(limits: Limits) -> Self {
        Queue {
            turns: Mutex::new(Turns::new(limits.in_flight, limits.queued)),
            limits,
            held: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How many requests have a place.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many requests the process is at work on: all that have a place, but for polls.
    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The same by class; classes of which none waits are left out.
    pub fn waiting_by_class(&self) -> Vec<(Class, usize)> {
        let turns = self.turns();
        Class::ALL.iter().map(|class| (*class, turns.waiting_of(*class))).filter(|(_, waiting)| *waiting > 0).collect()
    }

    /// A place for a request of this class, at once if one is free, else after waiting in line.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when as many of the class wait as may, or the wait was as long as [`Limits::wait`].
    pub async fn place(self: &Arc<Self>, class: Class) -> Result<Place, LeaseError> {
        let mut receiver = None;
        let arrival = self.with_turns(|turns| {
            turns.arrive(class, || {
                let (sender, own) = oneshot::channel();
                receiver = Some(own);
                sender
            })
        });
        let number = match arrival {
            Arrival::Placed => return Ok(Place { queue: Arc::clone(self), class }),
            Arrival::Refused => return Err(LeaseError::QueueFull),
            Arrival::Waits(number) => number,
        };
        let _in_line = InLine { queue: self, class, number };
        let receiver = receiver.ok_or(LeaseError::QueueFull)?;
        timeout(self.limits.wait, receiver).await.ok().and_then(Result::ok).ok_or(LeaseError::Waited)
    }

    fn turns(&self) -> MutexGuard<'_, Turns<oneshot::Sender<Place>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_turns<R>(&self, act: impl FnOnce(&mut Turns<oneshot::Sender<Place>>) -> R) -> R {
        let mut turns = self.turns();
        let result = act(&mut turns);
        self.held.store(turns.held(), Ordering::Relaxed);
        self.at_work.store(turns.at_work(), Ordering::Relaxed);
        self.waiting.store(turns.waiting(), Ordering::Relaxed);
        result
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.queue.with_turns(|turns| turns.leave(self.class));
        if let Some((class, sender)) = next {
            // Outside the lock: if the other is gone by now the place comes back, and is given to the one after it.
            let _ = sender.send(Place { queue: Arc::clone(&self.queue), class });
        }
    }
}

/// A request's wait. It leaves the line when this is dropped, also when its client goes away meanwhile.
struct InLine<'queue> {
    queue: &'queue Queue,
    class: Class,
    number: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.queue.with_turns(|turns| turns.give_up(self.class, self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::{Instant, sleep};

    use super::*;

    fn queue(in_flight: usize, queued: usize, wait_seconds: u64) -> Arc<Queue> {
        Arc::new(Queue::new(Limits { in_flight, queued, wait: Duration::from_secs(wait_seconds) }))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_a_bounded_queue_for_a_bounded_time() {
        let queue = queue(1, 1, 5);
        let first = queue.place(Class::Login).await.unwrap();
        assert_eq!((queue.held(), queue.waiting()), (1, 0));

        let waiter = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.place(Class::Login).await.map(drop) }
        });
        yield_now().await;
        assert_eq!((queue.waiting(), queue.waiting_by_class()), (1, vec![(Class::Login, 1)]));
        assert_eq!(queue.place(Class::Login).await.unwrap_err(), LeaseError::QueueFull);
        drop(first);
        assert_eq!(waiter.await.unwrap(), Ok(()));
        assert_eq!((queue.held(), queue.waiting()), (0, 0));

        let _held = queue.place(Class::Login).await.unwrap();
        let begun = Instant::now();
        assert_eq!(queue.place(Class::Login).await.unwrap_err(), LeaseError::Waited);
        assert_eq!((begun.elapsed(), queue.waiting()), (Duration::from_secs(5), 0));
    }

    #[tokio::test]
    async fn a_process_is_not_at_work_on_polls() {
        let queue = queue(8, 0, 5);
        let poll = queue.place(Class::SlidingSync).await.unwrap();
        assert_eq!((queue.held(), queue.at_work()), (1, 0));
        let send = queue.place(Class::EventSend).await.unwrap();
        assert_eq!((queue.held(), queue.at_work()), (2, 1));
        drop(poll);
        assert_eq!((queue.held(), queue.at_work()), (1, 1));
        drop(send);
        assert_eq!((queue.held(), queue.at_work()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_request_that_is_dropped_leaves_the_queue() {
        let queue = queue(1, 1, 5);
        let held = queue.place(Class::Login).await.unwrap();
        assert!(timeout(Duration::from_millis(10), queue.place(Class::Login)).await.is_err());
        assert_eq!(queue.waiting(), 0);
        drop(held);
        assert_eq!(queue.held(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_given_to_one_who_is_gone_comes_back() {
        let queue = queue(1, 2, 5);
        let held = queue.place(Class::Login).await.unwrap();
        let mut gone = Box::pin(queue.place(Class::Login));
        assert!(timeout(Duration::from_millis(1), &mut gone).await.is_err());
        drop(held);
        assert_eq!(queue.held(), 1, "the place is under way");
        drop(gone);
        assert_eq!(queue.held(), 0);
    }

    /// A thousand first syncs of ten seconds each before a process with eight places: a send that comes in the middle of
    /// it waits for nobody, and when the reserve is taken, too, for one turn.
    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_class_starves_nobody() {
        let queue = queue(8, 900, 1_000_000);
        let mut flood = JoinSet::new();
        for _ in 0..1000 {
            let queue = Arc::clone(&queue);
            flood.spawn(async move {
                let place = queue.place(Class::InitialSync).await?;
                sleep(Duration::from_secs(10)).await;
                drop(place);
                Ok::<(), LeaseError>(())
            });
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!((queue.held(), queue.waiting()), (7, 900));
        let begun = Instant::now();
        let send = queue.place(Class::EventSend).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let second = queue.place(Class::EventSend).await.unwrap();
        assert!(begun.elapsed() <= Duration::from_secs(10), "the second waited for {:?}", begun.elapsed());
        drop((send, second));
        let outcomes = flood.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(LeaseError::QueueFull)).count(), 93);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 907);
        assert_eq!((queue.held(), queue.waiting()), (0, 0));
    }
}
