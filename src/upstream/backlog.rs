//! A unix socket whose listener has as many connections to accept as its backlog holds.
//!
//! Over TCP the kernel then tries again by itself. At a unix socket it refuses at once (`EAGAIN`, connect(2)), and
//! whoever connects has to come again. Synapse's backlog is 50 unless the listener says otherwise, and a process that is
//! busy for a moment accepts nobody meanwhile: that is neither a fault of the process nor one that a client should hear
//! of.

use std::io;
use std::time::Duration;

use pingora_core::Error;

/// How long the first wait is. Each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// The longest wait: whoever waits longer comes too seldom to be let in among those who have just come.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How often one waits, which is five seconds in all. A process that accepts nobody for so long hangs.
pub const WAITS_MAX: u32 = 53;

/// Whether no connection could be made because the backlog is full.
pub fn is_full(error: &Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::WouldBlock)
}

/// How long to wait after so many waits; nothing if that was often enough.
pub fn wait(waits: u32) -> Option<Duration> {
    (waits < WAITS_MAX).then(|| FIRST_WAIT.saturating_mul(2_u32.saturating_pow(waits)).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use pingora_core::ErrorType;

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
    fn waits_are_bounded() {
        let all: Duration = (0..100).map_while(wait).sum();
        assert_eq!(all, Duration::from_millis(5 + 10 + 20 + 40 + 80 + 48 * 100));
    }
}
