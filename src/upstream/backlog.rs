//! A process that has as many connections to accept as its listener's backlog holds.
//!
//! Synapse's backlog is 50 unless the listener says otherwise, and a process that is busy for a moment accepts nobody
//! meanwhile: that is neither a fault of the process nor one that a client should hear of. At a unix socket the kernel
//! refuses at once then (`EAGAIN`, connect(2)), and whoever connects has to come again. Over TCP it tries again by itself,
//! but first after a second and then after two more, which is longer than a connection may take: there it looks like a
//! host that is gone, and one comes again only where nobody else could have the request.

use std::io;
use std::time::Duration;

use pingora_core::{Error, ErrorType};

/// For how long one comes again. A process that accepts nobody for so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long the first pause is. Each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause: whoever waits longer comes too seldom to be let in among those who have just come.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How many tries fit into that time at most.
pub const TRIES_MAX: u32 = 104;
/// Up to how long the pause is where nobody answers: those who came at once are not to come again at once.
const SPREAD: Duration = Duration::from_millis(500);

/// Whether no connection could be made because the backlog is full.
pub fn is_full(error: &Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::WouldBlock)
}

/// Whether no connection could be made because nobody has answered.
pub fn is_silent(error: &Error) -> bool {
    *error.etype() == ErrorType::ConnectTimedout
}

/// How long to pause before the next try where nobody answers, by a number that others are unlikely to have.
pub fn spread(number: u64) -> Duration {
    SPREAD.mul_f64((number % 1000) as f64 / 1000.0)
}

/// How long to pause after so many tries at a full backlog.
pub fn pause(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_is_told_from_a_process_that_is_not_there() {
        for (kind, expected) in [(io::ErrorKind::WouldBlock, true), (io::ErrorKind::ConnectionRefused, false)] {
            let cause = Error::because(ErrorType::ConnectError, "no connection", io::Error::from(kind));
            assert_eq!(is_full(&cause), expected, "{kind:?}");
            let error = Error::because(ErrorType::ConnectError, "no session", cause);
            assert_eq!(is_full(&error), expected, "{kind:?}");
        }
        assert!(!is_full(&Error::new(ErrorType::ConnectTimedout)));
    }

    #[test]
    fn so_many_tries_fit_into_the_time() {
        let all: Duration = (0..TRIES_MAX).map(pause).sum();
        assert!((PATIENCE..=PATIENCE + LONGEST_PAUSE).contains(&all), "{all:?}");
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
