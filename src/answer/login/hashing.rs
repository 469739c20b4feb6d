//! The threads that check passwords, and the queue before them.
//!
//! To check a password takes a quarter of a second, so it happens on threads of its own, fewer than there are cores, and
//! whatever waits for them is bounded: who comes when the queue is full is told when to come back, which is reckoned from
//! how long checks have taken. A job whose client has gone, or which has waited too long, is dropped and gives its place
//! back, also in the middle of its check.
//!
//! One check leaves most of a core idle, so each thread has several in hand, in lanes ([`bcrypt_lanes`] says how). It takes
//! newcomers every few iterations, but leaves them to threads that have nothing to do: side by side on two cores is a
//! little faster for both than side by side on one. While others are served it makes [`pauses`].

pub mod pauses;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bcrypt_lanes::{LaneCount, Lanes};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use self::pauses::{OthersAreServed, Pauses};
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
    /// How many are being checked.
    pub in_hand: usize,
    /// How many were checked.
    pub checked: u64,
    /// How many were dropped because nobody waited for them any more, or for too long.
    pub dropped: u64,
    /// How many were not taken because the queue was full.
    pub refused: u64,
    /// How long the threads have spent on checks, in seconds, with the pauses that they have made for others.
    pub busy_seconds: f64,
    /// How long a thread is busy for a check, as an average in which the last ones weigh most. Where several are checked
    /// side by side, each counts for its share.
    pub seconds_per_check: f64,
}

/// What the threads share.
struct Shared {
    threads: usize,
    lanes: LaneCount,
    queue_max: usize,
    others: OthersAreServed,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// How many threads have nothing in hand and wait for work.
    idle: usize,
    stopping: bool,
    figures: Figures,
}

/// One password to check.
struct Job {
    password: Prepared,
    hash: StoredHash,
    client: Client,
}

/// Who waits for a check.
struct Client {
    deadline: Instant,
    answer: oneshot::Sender<Result<bool, Unchecked>>,
}

/// What one thread has in hand.
struct Hands<'a> {
    shared: &'a Shared,
    lanes: Lanes<Client>,
    /// How long it has worked, and paused for others, since a check ended; of those that end next, each has its share of
    /// it.
    since_last_end: Duration,
    pauses: Pauses,
}

/// How long a password may wait: beyond it most clients have given up.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// How many iterations of all checks in hand are done before a thread looks up: some 300 µs.
const ITERATIONS_PER_TURN: u32 = 4;
/// How much the last check weighs in the average.
const LAST_WEIGHS: f64 = 0.1;
/// By how much whatever else is to be done on the machine comes before, as `nice` has it: where a thread of this niceness
/// and one of none want the same core, it has a quarter of it. So a storm of logins slows others little, and a machine on
/// which there is no end of other work still lets people in. Where the system gives each service a share of its own, it
/// concerns dendron's own threads, and the processes that it has started.
const NICENESS: i32 = 5;
/// What a check at cost 12 takes on a usual core; used until one was measured.
const USUAL_SECONDS: f64 = 0.25;

// === impl Hashing ===

impl Hashing {
    /// Starts the threads, at least one, each with so many lanes. `bcrypt_rounds` is the cost that most hashes are
    /// expected to have. While `others` are served, the threads make pauses.
    pub fn start(
        threads: usize,
        lanes: LaneCount,
        queue_max: usize,
        bcrypt_rounds: u32,
        others: OthersAreServed,
    ) -> std::io::Result<Hashing> {
        let exponent = f64::from(bcrypt_rounds.clamp(4, 31)) - 12.0;
        let figures = Figures { seconds_per_check: USUAL_SECONDS * exponent.exp2(), ..Figures::default() };
        let state = State { queue: VecDeque::new(), idle: 0, stopping: false, figures };
        let threads = threads.max(1);
        let shared = Shared { threads, lanes, queue_max, others, state: Mutex::new(state), work: Condvar::new() };
        let hashing = Hashing { shared: Arc::new(shared) };
        for number in 0..threads {
            let shared = Arc::clone(&hashing.shared);
            std::thread::Builder::new().name(format!("password-{number}")).spawn(move || Hands::new(&shared).run())?;
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
        self.shared.push(Job { password, hash, client: Client { deadline: now + WAIT_MAX, answer } }, now)?;
        answered.await.unwrap_or(Err(Unchecked::Stopped))
    }

    /// How many passwords each thread can check side by side.
    pub fn lanes(&self) -> LaneCount {
        self.shared.lanes
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

    /// The next job that somebody waits for. A thread that has some `in_hand` does not wait for it, and leaves to the
    /// idle ones as many as they will take. `None` is for a thread with nothing in hand the word to end.
    fn next(&self, in_hand: usize) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            let left_to_others = if in_hand == 0 { 0 } else { state.idle };
            while state.queue.len() > left_to_others
                && let Some(job) = state.queue.pop_front()
            {
                let Some(job) = state.unless_given_up(job, Instant::now(), self.threads) else { continue };
                state.figures.in_hand += 1;
                return Some(job);
            }
            if in_hand > 0 {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

// === impl Hands ===

impl Hands<'_> {
    fn new(shared: &Shared) -> Hands<'_> {
        let pauses = Pauses::new(Arc::clone(&shared.others));
        Hands { shared, lanes: Lanes::new(shared.lanes), since_last_end: Duration::ZERO, pauses }
    }

    /// A thread's life, which gives way to whatever else there is to do on the machine.
    fn run(self) {
        // Where that may not be set, logins are as fast and others slower, which is no reason to check no passwords.
        if let Err(error) = setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "the threads that check passwords have no lower priority than others");
        }
        self.work();
    }

    fn work(mut self) {
        while self.take() {
            let in_hand = self.lanes.len();
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                // Without an answer the senders are dropped, and the logins are forwarded.
                self.shared.lock().figures.in_hand -= in_hand;
                self = Hands::new(self.shared);
            }
        }
    }

    /// Takes what there is to do, as far as there is room; whether there is anything.
    fn take(&mut self) -> bool {
        while self.lanes.has_room() {
            let Some(job) = self.shared.next(self.lanes.len()) else { break };
            // The password is wiped here; what is left of it is in the lane.
            self.lanes.push(job.password.as_bytes(), job.hash.hash(), job.client);
        }
        !self.lanes.is_empty()
    }

    /// Goes on with all that it has in hand.
    fn turn(&mut self) {
        self.pause();
        let start = Instant::now();
        self.give_up(start);
        let mut ended = Vec::new();
        self.lanes.turn(ITERATIONS_PER_TURN, |client, right| ended.push((client, right)));
        let worked = start.elapsed();
        self.pauses.worked(worked);
        self.since_last_end += worked;
        if ended.is_empty() {
            return;
        }
        let spent = std::mem::take(&mut self.since_last_end);
        self.shared.lock().figures.note(spent, ended.len());
        for (client, right) in ended {
            // Whoever asked may have gone meanwhile.
            let _ = client.answer.send(Ok(right));
        }
    }

    /// Lets others go first.
    fn pause(&mut self) {
        while let Some(time) = self.pauses.due() {
            let begun = Instant::now();
            std::thread::sleep(time);
            self.pauses.paused(begun.elapsed());
            self.since_last_end += begun.elapsed();
        }
    }

    /// Gives up the checks that nobody waits for any more, or for too long.
    fn give_up(&mut self, now: Instant) {
        let given_up = self.lanes.take_if(|client| client.is_gone() || client.deadline <= now);
        if given_up.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        state.figures.in_hand -= given_up.len();
        for client in given_up {
            state.give_up(client, self.shared.threads);
        }
    }
}

// === impl Client ===

impl Client {
    fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

// === impl State ===

impl State {
    /// Drops what nobody waits for any more, or for too long.
    fn drop_gone(&mut self, now: Instant, threads: usize) {
        for job in std::mem::take(&mut self.queue) {
            if let Some(job) = self.unless_given_up(job, now, threads) {
                self.queue.push_back(job);
            }
        }
    }

    /// The job, unless nobody waits for it any more, or for too long.
    fn unless_given_up(&mut self, job: Job, now: Instant, threads: usize) -> Option<Job> {
        if !job.client.is_gone() && job.client.deadline > now {
            return Some(job);
        }
        self.give_up(job.client, threads);
        None
    }

    fn give_up(&mut self, client: Client, threads: usize) {
        self.figures.dropped += 1;
        // Whoever asked may have gone meanwhile.
        let _ = client.answer.send(Err(Unchecked::Busy(self.time_to_drain(threads))));
    }

    /// When all who wait now, and those being looked at, will have been looked at.
    fn time_to_drain(&self, threads: usize) -> Duration {
        let rounds = (self.queue.len() + self.figures.in_hand) as f64 / threads as f64;
        Duration::try_from_secs_f64(rounds.max(1.0) * self.figures.seconds_per_check).unwrap_or(WAIT_MAX)
    }
}

// === impl Figures ===

impl Figures {
    /// Notes that so many checks have ended for which a thread was busy that long.
    fn note(&mut self, busy: Duration, ended: usize) {
        self.in_hand -= ended;
        self.busy_seconds += busy.as_secs_f64();
        let each = busy.as_secs_f64() / ended as f64;
        for _ in 0..ended {
            self.checked += 1;
            // The first one replaces what was only expected.
            let weight = if self.checked == 1 { 1.0 } else { LAST_WEIGHS };
            self.seconds_per_check += weight * (each - self.seconds_per_check);
        }
    }
}

#[cfg(test)]
mod tests;
