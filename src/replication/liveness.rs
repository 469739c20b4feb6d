//! When to ask Synapse's processes for their positions, and when silence has lasted too long. Pure: time is passed in.
//!
//! A question is `REPLICATE`, which everybody on the channel hears, the asker included: so one's own question is already
//! a sign that Redis works. Whether Synapse's processes do is told by their answers. Who may not publish cannot ask, and
//! sends a `PING` to Redis instead.

use std::time::{Duration, Instant};

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From one question to the next.
    pub heartbeat: Duration,
    /// For how long nothing at all may be heard before one asks.
    pub silence: Duration,
    /// How long one waits for an answer. Synapse's processes are asked again with the next heartbeat.
    pub answer: Duration,
    /// How long writers have to tell their positions after a connection was made.
    pub settle: Duration,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Wait(Instant),
    /// Ask, and say so with [`Liveness::asked`].
    Ask,
    /// The time for answers is over: whoever did not answer is to be taken for gone.
    CountAnswers,
    /// The time for the first positions is over.
    Settle,
    /// The connection is dead.
    GiveUp,
}

/// A connection's signs of life.
#[derive(Clone, Debug)]
pub struct Liveness {
    times: Times,
    connected: Instant,
    is_settled: bool,
    heard: Instant,
    asked: Instant,
    /// Whether something was heard after the last question.
    is_answered: bool,
    /// Whether the answers to the last question were counted.
    is_counted: bool,
}

// === impl Times ===

impl Default for Times {
    fn default() -> Self {
        Times {
            heartbeat: Duration::from_secs(30),
            silence: Duration::from_secs(15),
            answer: Duration::from_secs(5),
            settle: Duration::from_secs(5),
        }
    }
}

// === impl Liveness ===

impl Liveness {
    /// A connection that was just made and has asked at once.
    pub fn new(times: Times, now: Instant) -> Self {
        Liveness {
            times,
            connected: now,
            is_settled: false,
            heard: now,
            asked: now,
            is_answered: false,
            is_counted: true,
        }
    }

    /// A message came.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.is_answered = true;
    }

    /// A question was sent.
    pub fn asked(&mut self, now: Instant) {
        self.asked = now;
        self.is_answered = false;
        self.is_counted = false;
    }

    /// Every writer has told its positions, or has had the time to.
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// What there is to do at `now`.
    pub fn step(&mut self, now: Instant) -> Step {
        let times = self.times;
        let answer_by = self.asked + times.answer;
        if !self.is_answered && now >= answer_by {
            return Step::GiveUp;
        }
        if !self.is_counted && now >= answer_by {
            self.is_counted = true;
            return Step::CountAnswers;
        }
        if !self.is_settled && now >= self.connected + times.settle {
            return Step::Settle;
        }
        let ask_at = (self.asked + times.heartbeat).min(self.heard + times.silence);
        // One question at a time.
        let may_ask = self.is_answered && self.is_counted;
        if may_ask && now >= ask_at {
            return Step::Ask;
        }
        let mut next = if may_ask { ask_at } else { answer_by };
        if !self.is_settled {
            next = next.min(self.connected + times.settle);
        }
        Step::Wait(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Runs for `until` seconds, hearing something as `hears` says, and returns what was done, by second.
    fn run(until: u64, hears: impl Fn(u64) -> bool) -> Vec<(u64, Step)> {
        let start = Instant::now();
        let mut liveness = Liveness::new(Times::default(), start);
        let mut done = Vec::new();
        for second in 0..=until {
            let now = start + seconds(second);
            if hears(second) {
                liveness.heard(now);
            }
            loop {
                let step = liveness.step(now);
                match step {
                    Step::Wait(then) => {
                        assert!(then > now, "{second} s: waits for what is over");
                        break;
                    }
                    Step::Ask => liveness.asked(now),
                    Step::Settle => liveness.settle(),
                    Step::CountAnswers => {}
                    Step::GiveUp => {
                        done.push((second, step));
                        return done;
                    }
                }
                done.push((second, step));
            }
        }
        done
    }

    #[test]
    fn a_busy_connection_asks_every_thirty_seconds() {
        let expected =
            [(5, Step::Settle), (30, Step::Ask), (35, Step::CountAnswers), (60, Step::Ask), (65, Step::CountAnswers)];
        assert_eq!(run(70, |_| true), expected);
    }

    #[test]
    fn silence_is_asked_and_then_given_up() {
        let expected = [(5, Step::Settle), (17, Step::Ask), (22, Step::GiveUp)];
        assert_eq!(run(60, |second| second <= 2), expected);
    }

    #[test]
    fn silence_that_answers_is_only_silence() {
        let expected = [(5, Step::Settle), (17, Step::Ask), (22, Step::CountAnswers), (33, Step::Ask)];
        assert_eq!(run(35, |second| second <= 2 || second == 18 || second == 34), expected);
    }

    #[test]
    fn a_connection_on_which_nothing_ever_comes_is_given_up() {
        assert_eq!(run(60, |_| false), [(5, Step::GiveUp)]);
    }

    #[test]
    fn it_settles_but_once() {
        let start = Instant::now();
        let mut liveness = Liveness::new(Times::default(), start);
        liveness.heard(start);
        liveness.settle();
        assert_eq!(liveness.step(start), Step::Wait(start + seconds(15)));
    }
}
