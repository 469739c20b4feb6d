//! The threads and their queue, with hashes of the least cost.

use super::super::password::{Password, Pepper};
use super::*;

fn prepared(password: &str) -> Prepared {
    Password::new(password.into()).prepare(&Pepper::default()).unwrap()
}

fn hash_of(password: &str, cost: u32) -> StoredHash {
    StoredHash::parse(&bcrypt::hash(password, cost).unwrap()).unwrap()
}

/// Threads that are never there: what is pushed stays in the queue.
fn idle(queue_max: usize, threads: usize) -> Shared {
    let figures = Figures { seconds_per_check: 0.5, ..Figures::default() };
    let state = State { queue: VecDeque::new(), stopping: false, figures };
    Shared { threads, queue_max, state: Mutex::new(state), work: Condvar::new() }
}

type Answered = oneshot::Receiver<Result<bool, Unchecked>>;

fn job(deadline: Instant) -> (Job, Answered) {
    let (answer, answered) = oneshot::channel();
    (Job { password: prepared("x"), hash: StoredHash::decoy(4), deadline, answer }, answered)
}

#[tokio::test]
async fn passwords_are_checked() {
    let hashing = Hashing::start(2, 10, 4).unwrap();
    let hash = hash_of("wonder", 4);
    for (password, right) in [("wonder", true), ("wonde", false), ("", false)] {
        assert_eq!(hashing.check(prepared(password), hash.clone(), Instant::now()).await, Ok(right), "{password}");
    }
    let figures = hashing.figures();
    assert_eq!((figures.checked, figures.dropped, figures.refused, figures.queue_length), (3, 0, 0, 0));
    assert!(figures.seconds_per_check > 0.0);
}

#[test]
fn who_comes_to_a_full_queue_is_told_when_it_is_through() {
    let now = Instant::now();
    let shared = idle(3, 2);
    let waiting: Vec<Answered> = (0..3)
        .map(|_| {
            let (job, answered) = job(now + WAIT_MAX);
            shared.push(job, now).unwrap();
            answered
        })
        .collect();
    // Three wait before two threads that take half a second each and are busy already: 1.5 rounds and one.
    let (late, _answered) = job(now + WAIT_MAX);
    assert_eq!(shared.push(late, now), Err(Unchecked::Busy(Duration::from_millis(1250))));
    assert_eq!(shared.lock().figures.refused, 1);
    drop(waiting);
}

#[test]
fn a_client_that_hangs_up_gives_its_place_back() {
    let now = Instant::now();
    let shared = idle(1, 1);
    let (first, answered) = job(now + WAIT_MAX);
    shared.push(first, now).unwrap();
    drop(answered);
    let (second, mut answered) = job(now + WAIT_MAX);
    assert_eq!(shared.push(second, now), Ok(()));
    assert_eq!(shared.lock().queue.len(), 1);
    assert_eq!(shared.lock().figures.dropped, 1);
    // Nor does a thread look at it when there is room enough.
    let (third, gone) = job(now + WAIT_MAX);
    shared.lock().queue.push_front(third);
    drop(gone);
    assert!(shared.next().is_some_and(|job| !job.answer.is_closed()));
    assert_eq!(shared.lock().figures.dropped, 2);
    assert!(answered.try_recv().is_err());
}

#[test]
fn who_has_waited_too_long_is_told_so() {
    let now = Instant::now();
    let shared = idle(1, 1);
    let (first, mut answered) = job(now + WAIT_MAX);
    shared.push(first, now).unwrap();
    let (second, _answered) = job(now + WAIT_MAX * 2);
    assert_eq!(shared.push(second, now + WAIT_MAX), Ok(()));
    assert_eq!(answered.try_recv(), Ok(Err(Unchecked::Busy(Duration::from_millis(500)))));
}

#[tokio::test]
async fn who_waits_when_the_threads_stop_learns_it() {
    let hashing = Hashing::start(1, 10, 4).unwrap();
    let shared = Arc::clone(&hashing.shared);
    // A long check keeps the thread busy, so that the next one is still in the queue.
    let now = Instant::now();
    let (answer, _busy) = oneshot::channel();
    shared
        .push(Job { password: prepared("x"), hash: StoredHash::decoy(11), deadline: now + WAIT_MAX, answer }, now)
        .unwrap();
    let (waiting, answered) = job(now + WAIT_MAX);
    shared.push(waiting, now).unwrap();
    drop(hashing);
    assert!(answered.await.is_err(), "dropped without an answer");
    assert!(shared.next().is_none());
}

#[test]
fn the_average_follows_what_is_measured() {
    let mut figures = Figures { seconds_per_check: 99.0, ..Figures::default() };
    figures.note(Duration::from_secs(1));
    assert_eq!(figures.seconds_per_check, 1.0);
    figures.note(Duration::from_secs(2));
    assert!((figures.seconds_per_check - 1.1).abs() < 1e-9);
}
