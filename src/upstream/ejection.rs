//! Passive ejection: what requests meet at a process takes it out of service sooner than the active checks can.
//!
//! Pure: the caller says what happened, and when. Not here: that the last process of a pool stays (`pool`).

use std::time::{Duration, Instant};

/// How many connections in a row may fail to be made.
pub const REFUSALS: u32 = 3;
/// How many fresh connections in a row may break before an answer. More than refusals, because a request itself can be
/// what breaks a process.
pub const BREAKS: u32 = 5;
/// For how long a process is out. Within it the active checks have found out by themselves, and decide what follows.
pub const DURATION: Duration = Duration::from_secs(10);

/// How a request failed at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection could be made.
    Refused,
    /// A fresh connection was made and broke before an answer. A kept one that breaks says little: it may only have been
    /// idle for too long.
    Broken,
}

impl Fault {
    /// The fault in a log line.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Refused => "connections could not be made",
            Fault::Broken => "connections broke before an answer",
        }
    }
}

/// What happened at one process lately.
#[derive(Debug, Default)]
pub struct Ejection {
    refusals: u32,
    breaks: u32,
    until: Option<Instant>,
}

impl Ejection {
    /// Takes one more fault; returns whether the process is now to be taken out. While it is out nothing more is
    /// counted: requests that were on their way fail late.
    pub fn failed(&mut self, fault: Fault, now: Instant) -> bool {
        if self.is_out(now) {
            return false;
        }
        let (count, most) = match fault {
            Fault::Refused => (&mut self.refusals, REFUSALS),
            Fault::Broken => (&mut self.breaks, BREAKS),
        };
        *count = count.saturating_add(1);
        *count >= most
    }

    /// Takes the process out, and begins to count anew.
    pub fn eject(&mut self, now: Instant) {
        *self = Ejection { until: Some(now + DURATION), ..Ejection::default() };
    }

    /// Forgets the faults, because the process has answered. It stays out for its time: an answer may be an old one.
    pub fn answered(&mut self) {
        (self.refusals, self.breaks) = (0, 0);
    }

    /// Whether the process is out.
    pub fn is_out(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Fails(Fault),
        Answers,
    }

    #[test]
    fn faults_in_a_row_take_a_process_out() {
        use Fault::{Broken, Refused};
        use Step::{Answers, Fails};
        let fails = |fault: Fault, times: usize| (0..times).map(move |_| Fails(fault));
        let table: [(&str, Vec<Step>, bool); 7] = [
            ("two refusals", fails(Refused, 2).collect(), false),
            ("three refusals", fails(Refused, 3).collect(), true),
            ("four breaks", fails(Broken, 4).collect(), false),
            ("five breaks", fails(Broken, 5).collect(), true),
            ("kinds are counted apart", fails(Refused, 2).chain(fails(Broken, 4)).collect(), false),
            ("an answer between", fails(Refused, 2).chain([Answers]).chain(fails(Refused, 2)).collect(), false),
            ("an answer before", [Answers].into_iter().chain(fails(Broken, 5)).collect(), true),
        ];
        let now = Instant::now();
        for (what, steps, expected) in table {
            let mut ejection = Ejection::default();
            let due = steps.into_iter().map(|step| match step {
                Fails(fault) => ejection.failed(fault, now),
                Answers => {
                    ejection.answered();
                    false
                }
            });
            assert_eq!(due.last(), Some(expected), "{what}");
        }
    }

    #[test]
    fn a_process_is_out_for_its_time_and_counted_anew_after_it() {
        let begun = Instant::now();
        let mut ejection = Ejection::default();
        ejection.eject(begun);
        let end = begun + DURATION;
        assert!(ejection.is_out(begun) && ejection.is_out(end - Duration::from_millis(1)));
        for _ in 0..2 * REFUSALS {
            assert!(!ejection.failed(Fault::Refused, begun), "what fails while it is out counts for nothing");
        }
        ejection.answered();
        assert!(ejection.is_out(begun), "an answer does not bring it back");
        assert!(!ejection.is_out(end));
        let due: Vec<bool> = (0..REFUSALS).map(|_| ejection.failed(Fault::Refused, end)).collect();
        assert_eq!(due, [false, false, true]);
    }

    #[test]
    fn a_process_that_was_spared_is_due_again_with_its_next_fault() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        assert!((0..REFUSALS).any(|_| ejection.failed(Fault::Refused, now)));
        assert!(ejection.failed(Fault::Refused, now));
    }
}
