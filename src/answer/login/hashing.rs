//! The threads that check passwords, and the queue before them.
//!
//! To check a password takes a quarter of a second of a core, so it happens on threads of its own, fewer than there are
//! cores, and whatever waits for them is bounded: who comes when the queue is full is told when to come back, which is
//! reckoned from how long checks have taken. A job whose client has gone, or which has waited too long, is dropped
//! without being looked at, and gives its place back.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::password::{Prepared, StoredHash};

/// The threads and their queue. When it is dropped, the threads end with the check that each has in hand, and whoever
/// still waits learns that nobody will look at it.
pub struct Hashing {
    shared: Arc<Shared>,
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unchecked {
    /// As many wait as may, or this one has waited as long as it may.
    #[error("too many passwords wait to be checked; the queue is through in {0:?}")]
    Busy(Duration),
    /// The threads have stopped.
    #[error("the threads that check passwords have stopped")]
    Stopped,
}

/// What the threads have done, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// How many passwords wait.
    pub queue_length: usize,
    /// How many were checked.
    pub checked: u64,
    /// How many were dropped because nobody waited for them any more, or for too long.
    pub dropped: u64,
    /// How many were not taken because the queue was full.
    pub refused: u64,
    /// How long the threads have spent on checks, in seconds.
    pub busy_seconds: f64,
    /// How long a check takes, as an average in which the last ones weigh most.
    pub seconds_per_check: f64,
}

/// What the threads share.
struct Shared {
    threads: usize,
    queue_max: usize,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    stopping: bool,
    figures: Figures,
}

/// One password to check.
struct Job {
    password: Prepared,
    hash: StoredHash,
    deadline: Instant,
    answer: oneshot::Sender<Result<bool, Unchecked>>,
}

/// How long a password may wait: beyond it most clients have given up.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// How much the last check weighs in the average.
const LAST_WEIGHS: f64 = 0.1;
/// What a check at cost 12 takes on a usual core; used until one was measured.
const USUAL_SECONDS: f64 = 0.25;

// === impl Hashing ===

impl Hashing {
    /// Starts the threads, at least one. `bcrypt_rounds` is the cost that most hashes are expected to have.
    pub fn start(threads: usize, queue_max: usize, bcrypt_rounds: u32) -> std::io::Result<Hashing> {
        let exponent = f64::from(bcrypt_rounds.clamp(4, 31)) - 12.0;
        let figures = Figures { seconds_per_check: USUAL_SECONDS * exponent.exp2(), ..Figures::default() };
        let state = State { queue: VecDeque::new(), stopping: false, figures };
        let threads = threads.max(1);
        let shared = Shared { threads, queue_max, state: Mutex::new(state), work: Condvar::new() };
        let hashing = Hashing { shared: Arc::new(shared) };
        for number in 0..threads {
            let shared = Arc::clone(&hashing.shared);
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || shared.work())?;
        }
        Ok(hashing)
    }

    /// How many threads check passwords if nothing else is said: one less than there are cores, at least one.
    pub fn default_threads() -> usize {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
    }

    /// Whether `password` is the one of `hash`. To drop the future gives the place in the queue back.
    pub async fn check(&self, password: Prepared, hash: StoredHash, now: Instant) -> Result<bool, Unchecked> {
        let (answer, answered) = oneshot::channel();
        self.shared.push(Job { password, hash, deadline: now + WAIT_MAX, answer }, now)?;
        answered.await.unwrap_or(Err(Unchecked::Stopped))
    }

    /// What the threads have done so far.
    pub fn figures(&self) -> Figures {
        let state = self.shared.lock();
        Figures { queue_length: state.queue.len(), ..state.figures }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
    }
}

// === impl Shared ===

impl Shared {
    /// The state is in order even if somebody panicked with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job, now: Instant) -> Result<(), Unchecked> {
        let mut state = self.lock();
        if state.queue.len() >= self.queue_max {
            state.drop_gone(now, self.threads);
        }
        if state.queue.len() >= self.queue_max {
            state.figures.refused += 1;
            return Err(Unchecked::Busy(state.time_to_drain(self.threads)));
        }
        state.queue.push_back(job);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// A thread's life.
    fn work(&self) {
        while let Some(job) = self.next() {
            let start = Instant::now();
            // One job at a time. Several in lanes of one thread would be taken here, and be checked in turns there.
            let checked = catch_unwind(AssertUnwindSafe(|| check(&job.password, &job.hash)));
            self.lock().figures.note(start.elapsed());
            // Without an answer the sender is dropped, and the login is forwarded.
            if let Ok(right) = checked {
                // Whoever asked may have gone meanwhile.
                let _ = job.answer.send(Ok(right));
            }
        }
    }

    /// The next job that somebody waits for; `None` when the threads shall end.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            while let Some(job) = state.queue.pop_front() {
                if job.answer.is_closed() {
                    state.figures.dropped += 1;
                } else if job.deadline <= Instant::now() {
                    state.give_up(job, self.threads);
                } else {
                    return Some(job);
                }
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The check itself.
fn check(password: &Prepared, hash: &StoredHash) -> bool {
    hash.verify(password)
}

// === impl State ===

impl State {
    /// Drops what nobody waits for any more, or for too long.
    fn drop_gone(&mut self, now: Instant, threads: usize) {
        for job in std::mem::take(&mut self.queue) {
            if job.answer.is_closed() {
                self.figures.dropped += 1;
            } else if job.deadline <= now {
                self.give_up(job, threads);
            } else {
                self.queue.push_back(job);
            }
        }
    }

    fn give_up(&mut self, job: Job, threads: usize) {
        self.figures.dropped += 1;
        // Whoever asked may have gone meanwhile.
        let _ = job.answer.send(Err(Unchecked::Busy(self.time_to_drain(threads))));
    }

    /// When all who wait now, and those being looked at, will have been looked at.
    fn time_to_drain(&self, threads: usize) -> Duration {
        let rounds = (self.queue.len() as f64 / threads as f64) + 1.0;
        Duration::try_from_secs_f64(rounds * self.figures.seconds_per_check).unwrap_or(WAIT_MAX)
    }
}

// === impl Figures ===

impl Figures {
    fn note(&mut self, took: Duration) {
        self.checked += 1;
        let last = took.as_secs_f64();
        // The first one replaces what was only expected.
        let weight = if self.checked == 1 { 1.0 } else { LAST_WEIGHS };
        self.busy_seconds += last;
        self.seconds_per_check += weight * (last - self.seconds_per_check);
    }
}

#[cfg(test)]
mod tests;
