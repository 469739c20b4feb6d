//! The threads and their queue, with hashes of the least cost.

use super::super::password::{Password, Pepper};
use super::*;

fn prepared(password: &str) -> Prepared {
    Password::new(password.into()).prepare(&Pepper::default()).unwrap()
}

fn hash_of(password: &str, cost: u32) -> StoredHash {
    StoredHash::parse(&bcrypt::hash(password, cost).unwrap()).unwrap()
}

/// Threads that are never there, each with one check in hand: what is pushed stays in the queue.
fn idle(queue_max: usize, threads: usize) -> Shared {
    let figures = Figures { seconds_per_check: 0.5, in_hand: threads, ..Figures::default() };
    let state = State { queue: VecDeque::new(), idle: 0, stopping: false, figures };
    Shared {
        threads,
        lanes: LaneCount::MAX,
        queue_max,
        others: Arc::new(|| false),
        state: Mutex::new(state),
        work: Condvar::new(),
    }
}

type Answered = oneshot::Receiver<Result<bool, Unchecked>>;

fn job(deadline: Instant) -> (Job, Answered) {
    let (answer, answered) = oneshot::channel();
    (Job { password: prepared("x"), hash: StoredHash::decoy(4), client: Client { deadline, answer } }, answered)
}

#[tokio::test]
async fn passwords_are_checked() {
    let hashing = Hashing::start(2, LaneCount::MAX, 10, 4, Arc::new(|| false)).unwrap();
    let hash = hash_of("wonder", 4);
    for (password, right) in [("wonder", true), ("wonde", false), ("", false)] {
        assert_eq!(hashing.check(prepared(password), hash.clone(), Instant::now()).await, Ok(right), "{password}");
    }
    let figures = hashing.figures();
    assert_eq!((figures.checked, figures.dropped, figures.refused, figures.queue_length), (3, 0, 0, 0));
    assert_eq!(figures.in_hand, 0);
    assert!(figures.seconds_per_check > 0.0);
}

/// What `/proc` has of the threads that check passwords: the nineteenth field of a thread's `stat` is its niceness, the
/// seventeenth behind its name.
fn nicenesses() -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let fields = stats.filter_map(|stat| Some(stat.split_once("(password-")?.1.split_once(") ")?.1.to_owned()));
    fields.map(|fields| fields.split(' ').nth(16).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn the_threads_give_way_to_others() {
    let hashing = Hashing::start(1, LaneCount::MAX, 10, 4, Arc::new(|| false)).unwrap();
    // By the time that it has checked a password, the thread has begun.
    assert_eq!(hashing.check(prepared("wonder"), hash_of("wonder", 4), Instant::now()).await, Ok(true));
    assert!(nicenesses().contains(&NICENESS), "{:?}", nicenesses());
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
    assert!(shared.next(0).is_some_and(|job| !job.client.is_gone()));
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
    let hashing = Hashing::start(1, LaneCount::ONE, 10, 4, Arc::new(|| false)).unwrap();
    let shared = Arc::clone(&hashing.shared);
    // A long check keeps the thread busy, so that the next one is still in the queue.
    let now = Instant::now();
    let (mut long, _busy) = job(now + WAIT_MAX);
    long.hash = StoredHash::decoy(11);
    shared.push(long, now).unwrap();
    let (waiting, answered) = job(now + WAIT_MAX);
    shared.push(waiting, now).unwrap();
    drop(hashing);
    assert!(answered.await.is_err(), "dropped without an answer");
    assert!(shared.next(0).is_none());
}

#[test]
fn the_average_follows_what_is_measured() {
    let mut figures = Figures { seconds_per_check: 99.0, in_hand: 4, ..Figures::default() };
    figures.note(Duration::from_secs(1), 1);
    assert_eq!(figures.seconds_per_check, 1.0);
    figures.note(Duration::from_secs(2), 1);
    assert!((figures.seconds_per_check - 1.1).abs() < 1e-9);
    // Two that have shared two seconds.
    figures.note(Duration::from_secs(2), 2);
    assert!((figures.seconds_per_check - 1.081).abs() < 1e-9);
    assert_eq!((figures.checked, figures.in_hand, figures.busy_seconds), (4, 0, 5.0));
}

#[test]
fn a_thread_fills_its_lanes_with_whoever_waits() {
    let now = Instant::now();
    let shared = idle(10, 1);
    shared.lock().figures.in_hand = 0;
    let mut answers: Vec<Answered> = (0..6)
        .map(|_| {
            let (job, answered) = job(now + WAIT_MAX);
            shared.push(job, now).unwrap();
            answered
        })
        .collect();
    let mut hands = Hands::new(&shared);
    assert!(hands.take());
    assert_eq!((hands.lanes.len(), shared.lock().queue.len()), (4, 2));
    assert_eq!(shared.lock().figures.in_hand, 4);
    // One client goes in the middle of its check, and the next one has its lane.
    hands.turn();
    drop(answers.remove(1));
    hands.turn();
    assert_eq!((hands.lanes.len(), shared.lock().figures.in_hand), (3, 3));
    assert_eq!(shared.lock().figures.dropped, 1);
    assert!(hands.take());
    assert_eq!((hands.lanes.len(), shared.lock().queue.len()), (4, 1));
    // The first three end together, the newcomer later: 16 iterations each, four in a turn.
    hands.turn();
    hands.turn();
    assert_eq!((hands.lanes.len(), shared.lock().figures.checked), (1, 3));
    assert!(answers[..3].iter_mut().all(|answered| answered.try_recv() == Ok(Ok(false))));
    while !hands.lanes.is_empty() {
        hands.turn();
    }
    assert!(answers[3].try_recv().is_ok() && answers[4].try_recv().is_err());
}

#[test]
fn a_check_that_takes_too_long_is_given_up() {
    let now = Instant::now();
    let shared = idle(10, 1);
    shared.lock().figures.in_hand = 0;
    let (first, mut answered) = job(now + WAIT_MAX);
    shared.push(first, now).unwrap();
    let mut hands = Hands::new(&shared);
    assert!(hands.take());
    hands.give_up(now + WAIT_MAX / 2);
    assert_eq!(hands.lanes.len(), 1);
    hands.give_up(now + WAIT_MAX);
    assert_eq!(answered.try_recv(), Ok(Err(Unchecked::Busy(Duration::from_millis(500)))));
    assert_eq!((hands.lanes.len(), shared.lock().figures.in_hand), (0, 0));
}

#[test]
fn the_idle_are_left_what_they_will_take() {
    let now = Instant::now();
    let shared = idle(10, 3);
    shared.lock().idle = 2;
    let mut answers = Vec::new();
    let mut push = || {
        let (job, answered) = job(now + WAIT_MAX);
        shared.push(job, now).unwrap();
        answers.push(answered);
    };
    push();
    push();
    assert!(shared.next(1).is_none(), "two for the two who are idle");
    push();
    assert!(shared.next(1).is_some(), "one more than they will take");
    assert!(shared.next(1).is_none());
    assert!(shared.next(0).is_some(), "one of the idle");
}

#[tokio::test]
async fn a_storm_of_mixed_costs_is_decided_rightly() {
    let hashing = Hashing::start(2, LaneCount::MAX, 100, 4, Arc::new(|| false)).unwrap();
    let checks = (0..60).map(|number| {
        let hash = hash_of(&format!("wonder{}", number % 7), 4 + number % 3);
        let password = prepared(&format!("wonder{}", number % 5));
        let hashing = &hashing;
        async move { (number, hashing.check(password, hash, Instant::now()).await) }
    });
    for (number, right) in futures_util::future::join_all(checks).await {
        assert_eq!(right, Ok(number % 7 == number % 5), "{number}");
    }
    let figures = hashing.figures();
    assert_eq!((figures.checked, figures.in_hand, figures.queue_length), (60, 0, 0));
}
