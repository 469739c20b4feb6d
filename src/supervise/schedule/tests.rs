//! The schedule by itself: its events, its actions, and a clock that the tests turn.

use super::*;

const MAIN: usize = 0;
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Main and so many workers, on a machine with so many cores.
fn schedule(workers: usize, cores: usize) -> Schedule {
    Schedule::new((0..=workers).map(|index| index == MAIN), cores, STOP_TIMEOUT)
}

/// As above, with everything ready.
fn running(workers: usize, now: Instant) -> Schedule {
    let mut schedule = schedule(workers, workers + 1);
    for index in 0..=workers {
        schedule.poll(now);
        schedule.ready(index);
    }
    schedule
}

#[test]
fn workers_start_when_main_is_ready_and_a_few_at_a_time() {
    let now = Instant::now();
    let mut schedule = schedule(3, 2);
    assert_eq!(schedule.poll(now), [Action::Start(MAIN)]);
    assert_eq!(schedule.poll(now), []);
    assert_eq!(schedule.state(1), ProcessState::Waiting);
    schedule.ready(MAIN);
    assert_eq!(schedule.state(MAIN), ProcessState::Ready);
    assert_eq!(schedule.poll(now), [Action::Start(1), Action::Start(2)]);
    assert_eq!(schedule.poll(now), []);
    schedule.ready(2);
    assert_eq!(schedule.poll(now), [Action::Start(3)]);
}

#[test]
fn main_goes_first_wherever_it_stands_in_the_plan() {
    let now = Instant::now();
    let mut schedule = Schedule::new([false, true], 4, STOP_TIMEOUT);
    assert_eq!(schedule.poll(now), [Action::Start(1)]);
    schedule.ready(1);
    assert_eq!(schedule.poll(now), [Action::Start(0)]);
}

#[test]
fn without_a_main_process_workers_start_at_once() {
    let mut schedule = Schedule::new([false, false], 4, STOP_TIMEOUT);
    assert_eq!(schedule.poll(Instant::now()), [Action::Start(0), Action::Start(1)]);
}

#[test]
fn restarts_back_off_and_the_wait_is_reset_by_a_steady_run() {
    let mut now = Instant::now();
    let mut schedule = schedule(0, 1);
    schedule.poll(now);
    for expected_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert_eq!(schedule.exited(MAIN, now), Some(Duration::from_millis(expected_ms)));
        assert_eq!(schedule.state(MAIN), ProcessState::Backoff);
        assert_eq!(schedule.deadline(now), Some(now + Duration::from_millis(expected_ms)));
        now += Duration::from_millis(expected_ms - 1);
        assert_eq!(schedule.poll(now), []);
        now += Duration::from_millis(1);
        assert_eq!(schedule.poll(now), [Action::Start(MAIN)]);
    }
    assert_eq!(schedule.restarts(MAIN), 8);
    now += STEADY_AFTER - Duration::from_millis(1);
    assert_eq!(schedule.exited(MAIN, now), Some(LONGEST_DELAY));
    now += LONGEST_DELAY;
    schedule.poll(now);
    now += STEADY_AFTER;
    assert_eq!(schedule.exited(MAIN, now), Some(FIRST_DELAY));
}

#[test]
fn the_wait_never_overflows() {
    for failures in [0, 31, 32, u32::MAX] {
        assert!(delay_after(failures) <= LONGEST_DELAY, "{failures}");
    }
}

#[test]
fn workers_are_left_alone_when_main_dies() {
    let now = Instant::now();
    let mut schedule = running(2, now);
    schedule.exited(MAIN, now);
    assert_eq!(schedule.poll(now), []);
    assert_eq!(schedule.state(1), ProcessState::Ready);
    // A worker that dies meanwhile does not wait for main either.
    schedule.exited(1, now);
    assert_eq!(schedule.poll(now + FIRST_DELAY), [Action::Start(MAIN), Action::Start(1)]);
}

#[test]
fn a_slow_start_is_reported_once_and_holds_no_other_worker_back() {
    let now = Instant::now();
    let mut schedule = schedule(2, 1);
    schedule.poll(now);
    let later = now + START_TIMEOUT;
    assert_eq!(schedule.deadline(now), Some(later));
    assert_eq!(schedule.poll(later), [Action::ReportSlow(MAIN)]);
    assert_eq!(schedule.poll(later), []);
    schedule.ready(MAIN);
    assert_eq!(schedule.poll(later), [Action::Start(1)]);
    assert_eq!(schedule.poll(later + START_TIMEOUT), [Action::ReportSlow(1), Action::Start(2)]);
    schedule.ready(1);
    assert_eq!(schedule.state(1), ProcessState::Ready);
}

#[test]
fn a_restart_that_waits_for_its_turn_does_not_wake_the_caller_again_and_again() {
    let now = Instant::now();
    let mut schedule = schedule(2, 1);
    schedule.poll(now);
    schedule.ready(MAIN);
    assert_eq!(schedule.poll(now), [Action::Start(1)]);
    schedule.exited(1, now);
    assert_eq!(schedule.poll(now), [Action::Start(2)]);
    let due = now + FIRST_DELAY;
    assert_eq!(schedule.poll(due), []);
    assert_eq!(schedule.deadline(due), Some(now + START_TIMEOUT));
    schedule.ready(2);
    assert_eq!(schedule.poll(due), [Action::Start(1)]);
}

#[test]
fn stopping_ends_workers_together_then_main() {
    let now = Instant::now();
    let mut schedule = running(2, now);
    schedule.stop();
    assert_eq!(schedule.poll(now), [Action::Terminate(1), Action::Terminate(2)]);
    assert_eq!(schedule.state(1), ProcessState::Stopping);
    assert_eq!(schedule.state(MAIN), ProcessState::Ready);
    assert_eq!(schedule.exited(2, now), None);
    assert_eq!(schedule.poll(now), []);
    schedule.exited(1, now);
    assert_eq!(schedule.poll(now), [Action::Terminate(MAIN)]);
    assert!(!schedule.finished());
    schedule.exited(MAIN, now);
    assert!(schedule.finished());
    assert_eq!(schedule.poll(now + LONGEST_DELAY), []);
}

#[test]
fn what_does_not_end_in_time_is_killed_once() {
    let now = Instant::now();
    let mut schedule = running(1, now);
    schedule.stop();
    schedule.poll(now);
    let later = now + STOP_TIMEOUT;
    assert_eq!(schedule.deadline(now), Some(later));
    assert_eq!(schedule.poll(later - Duration::from_millis(1)), []);
    assert_eq!(schedule.poll(later), [Action::Kill(1)]);
    assert_eq!(schedule.poll(later), []);
    assert_eq!(schedule.deadline(later), None);
    schedule.exited(1, later);
    // Main has its own time from here on.
    assert_eq!(schedule.poll(later), [Action::Terminate(MAIN)]);
    assert_eq!(schedule.deadline(later), Some(later + STOP_TIMEOUT));
}

#[test]
fn stopping_starts_nothing_any_more() {
    let now = Instant::now();
    let mut schedule = schedule(2, 4);
    schedule.poll(now);
    schedule.stop();
    assert_eq!(schedule.state(1), ProcessState::Stopped);
    assert_eq!(schedule.poll(now), [Action::Terminate(MAIN)]);
    schedule.exited(MAIN, now);
    assert!(schedule.finished());

    let mut schedule = running(1, now);
    schedule.exited(1, now);
    schedule.exited(MAIN, now);
    schedule.stop();
    assert!(schedule.finished());
    assert_eq!(schedule.poll(now + LONGEST_DELAY), []);
}

#[test]
fn one_that_leaves_by_itself_is_shown_so_and_started_again() {
    let now = Instant::now();
    let mut schedule = running(1, now);
    schedule.leaving(1);
    assert_eq!(schedule.state(1), ProcessState::Stopping);
    assert_eq!(schedule.exited(1, now), Some(FIRST_DELAY));
    assert_eq!(schedule.poll(now + FIRST_DELAY), [Action::Start(1)]);

    schedule.leaving(1);
    schedule.stop();
    assert_eq!(schedule.poll(now), [Action::Terminate(1)]);
}

#[test]
fn events_out_of_place_change_nothing() {
    let now = Instant::now();
    let mut schedule = running(1, now);
    schedule.ready(7);
    schedule.leaving(7);
    assert_eq!(schedule.exited(7, now), None);
    assert_eq!(schedule.state(7), ProcessState::Stopped);
    schedule.exited(1, now);
    schedule.ready(1);
    assert_eq!(schedule.state(1), ProcessState::Backoff);
    assert_eq!(schedule.exited(1, now), None);
}
