//! Parked syncs, as whoever holds a connection sees them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;

use super::*;
use crate::quiet::schedule::{Done, Standing, Work};
use crate::quiet::since::LAYOUT;
use crate::quiet::{Ending, KeptAnswer, PollHasher, PollKind, REMAINING_MIN, SESSION_ENDING};
use crate::replication::change::Device;
use crate::replication::{Change, Concerns, Reason as LostReason, Stream, WriterPosition};
use crate::token::{Caller, CallerKind, TokenHasher};

const NEXT: &str = "s1_1_1_1_1_1_1_1_1_1_1_1_1_1";
const SECOND: Duration = Duration::from_secs(1);

/// A gate that is live, and a poll for which an answer is kept; it waits for so long.
fn live(timeout: Duration) -> (Gate, Poll) {
    let (gate, now) = (Gate::new(Limits::default(), 1), Instant::now());
    let streams = LAYOUT.into_iter().flatten();
    let told = streams.map(|stream| WriterPosition { stream, writer: "w".into(), position: 1 });
    gate.apply(&Event::Live(told.collect()), now);
    gate.shared.with(|book| book.done(Done::Standing(Some(Standing::default())), now));
    let (polls, tokens) = (PollHasher::new().unwrap(), TokenHasher::new().unwrap());
    let poll = Poll {
        caller: Caller::new("@a:b", Some("D"), CallerKind::User),
        token: tokens.hash("token"),
        key: polls.key([&b"key"[..]]),
        since: NEXT.into(),
        timeout: Duration::ZERO,
        arrived: now,
        kind: PollKind::Sync,
    };
    let watch = gate.forwarded(poll.clone(), now);
    for work in gate.shared.with(|book| book.work(now)) {
        let done = match work {
            Work::Rooms(questions) => Done::Rooms(questions, Some([].into())),
            Work::Standing => Done::Standing(None),
            Work::Lookup(id, _) => Done::Lookup(id, None),
        };
        gate.shared.with(|book| book.done(done, now));
    }
    let body = Bytes::from_static(b"{}");
    let answer = KeptAnswer { headers: [].into(), body, next: NEXT.into(), to_device_next: None };
    gate.answered(watch, Seen::Empty(answer), now);
    (gate, Poll { timeout, arrived: Instant::now(), ..poll })
}

fn park(gate: &Gate, poll: &Poll) -> Parked {
    match gate.consider(poll, Instant::now()) {
        Verdict::Park(parked) => parked,
        verdict => panic!("{verdict:?}"),
    }
}

fn message(gate: &Gate, position: i64) {
    let (stream, writer, now) = (Stream::ToDevice, "w".into(), Instant::now());
    let concerns = Concerns::User("@a:b".into());
    let change = Change { stream, writer, after: position - 1, position, concerns, received: now };
    gate.apply(&Event::Change(change), now);
}

#[tokio::test]
async fn a_quiet_sync_gets_the_kept_answer_when_its_time_is_over() {
    let (gate, poll) = live(Duration::from_millis(50));
    let mut parked = park(&gate, &poll);
    assert_eq!(parked.deadline(), poll.arrived + poll.timeout);
    assert_eq!((gate.sizes().parked, &*parked.answer().body), (1, &b"{}"[..]));
    assert_eq!(parked.ended().await, Ending::Replay);
    assert!(Instant::now() >= parked.deadline());
    drop(parked);
    assert_eq!(gate.sizes().parked, 0);
}

#[tokio::test]
async fn a_change_wakes_at_once_with_what_is_left() {
    let (gate, poll) = live(SECOND * 30);
    let mut parked = park(&gate, &poll);
    // Asking does not use anything up.
    assert!(tokio::time::timeout(Duration::from_millis(20), parked.ended()).await.is_err());
    let begun = Instant::now();
    message(&gate, 2);
    // No timer is in the way, whose ticks are a millisecond.
    let Some(Ending::Wake(reason, remaining)) = parked.ended().now_or_never() else { panic!() };
    assert!(begun.elapsed() < Duration::from_millis(100));
    assert_eq!(reason, WakeReason::Stream(Stream::ToDevice));
    assert!((SECOND * 28..SECOND * 30).contains(&remaining), "{remaining:?}");
    assert_eq!(gate.sizes().parked, 0);
}

#[tokio::test]
async fn at_least_a_second_is_left() {
    let (gate, poll) = live(Duration::from_millis(200));
    let mut parked = park(&gate, &poll);
    message(&gate, 2);
    assert_eq!(parked.ended().await, Ending::Wake(WakeReason::Stream(Stream::ToDevice), REMAINING_MIN));
}

#[tokio::test]
async fn where_a_session_may_have_ended_the_next_poll_is_short() {
    for (concerns, expected) in [
        (Concerns::AccountChanged("@a:b".into()), WakeReason::Account),
        (Concerns::DeviceChanged(Device { user: "@a:b".into(), device: None }), WakeReason::Device),
    ] {
        let (gate, poll) = live(SECOND * 30);
        let mut parked = park(&gate, &poll);
        let now = Instant::now();
        let (stream, writer) = (Stream::Caches, "w".into());
        let change = Change { stream, writer, after: 1, position: 2, concerns, received: now };
        gate.apply(&Event::Change(change), now);
        assert_eq!(parked.ended().await, Ending::Wake(expected, SESSION_ENDING));
    }
}

#[tokio::test]
async fn whoever_goes_leaves_nothing() {
    let (gate, poll) = live(SECOND * 30);
    let (one, other) = (park(&gate, &poll), park(&gate, &poll));
    assert_eq!(gate.sizes().parked, 2);
    drop(one);
    assert_eq!(gate.sizes().parked, 1);
    message(&gate, 2);
    // The place of the other may be somebody else's by now.
    assert_eq!(gate.sizes().parked, 0);
    drop(other);
    assert_eq!(gate.sizes().parked, 0);
}

#[tokio::test]
async fn all_are_released_over_two_seconds() {
    let (gate, poll) = live(SECOND * 30);
    let mut parked: Vec<Parked> = (0..50).map(|_| park(&gate, &poll)).collect();
    let begun = Instant::now();
    gate.apply(&Event::Lost(LostReason::Disconnected), begun);
    assert_eq!(gate.state(), State::NotFollowed);
    let mut delays = Vec::new();
    for parked in &mut parked {
        // A wait that is given up and taken up again is no new one.
        let _ = tokio::time::timeout(Duration::from_millis(1), parked.ended()).await;
    }
    let endings = parked.iter_mut().map(|parked| async {
        let ending = parked.ended().await;
        assert!(matches!(ending, Ending::Wake(WakeReason::NotLive, _)), "{ending:?}");
        begun.elapsed()
    });
    delays.extend(futures_util::future::join_all(endings).await);
    assert!(delays.iter().all(|delay| *delay < Duration::from_millis(2500)), "{delays:?}");
    let early = delays.iter().filter(|delay| **delay < SECOND).count();
    assert!((10..40).contains(&early), "{delays:?}");
}

#[tokio::test]
async fn a_release_does_not_outlast_the_timeout() {
    let (gate, poll) = live(Duration::from_millis(100));
    let mut parked: Vec<Parked> = (0..10).map(|_| park(&gate, &poll)).collect();
    gate.release_all(WakeReason::Switched, Instant::now());
    for parked in &mut parked {
        assert_eq!(parked.ended().await, Ending::Wake(WakeReason::Switched, REMAINING_MIN));
    }
    assert!(poll.arrived.elapsed() < Duration::from_millis(500));
}

/// Wakes and deadlines at the same moment, from many threads: each sync ends once, and nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_and_a_wake_may_meet() {
    for round in 0..50 {
        let (gate, poll) = live(Duration::from_millis(5));
        let gate = Arc::new(gate);
        let mut tasks = Vec::new();
        for _ in 0..20 {
            if let Verdict::Park(mut parked) = gate.consider(&poll, Instant::now()) {
                tasks.push(tokio::spawn(async move { parked.ended().await }));
            }
        }
        tokio::time::sleep(Duration::from_micros(4_500 + 20 * round)).await;
        message(&gate, 2);
        let told = gate.sizes().parked;
        assert_eq!(told, 0);
        for task in tasks {
            assert!(matches!(task.await.unwrap(), Ending::Replay | Ending::Wake(WakeReason::Stream(_), _)));
        }
    }
}
