//! Whether an empty answer of Synapse's may be taken for "nothing has happened".

use std::time::Duration;

/// How much longer than its timeout a poll may take, for its answer to be trusted.
const LATE: Duration = Duration::from_secs(2);
/// For how long Synapse waits for a process that lags to catch up; then it answers with nothing and the client's own
/// `since` (`wait_for_stream_token` in its `notifier.py`), whatever has happened meanwhile.
const LAG_PATH: (Duration, Duration) = (Duration::from_millis(9_500), Duration::from_millis(11_500));

/// Why an empty answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distrust {
    /// The gate was not live for the whole time of the request.
    NotLive,
    /// It came before the timeout was over.
    Early,
    /// It came long after.
    Late,
    /// It looks like that of a process which lags.
    Lagging,
    /// It ends with a token that is not understood.
    Token,
    /// Something has happened since, or just before, or before the stream was followed.
    Touched,
}

impl Distrust {
    /// Every reason.
    pub const ALL: [Distrust; 6] =
        [Distrust::NotLive, Distrust::Early, Distrust::Late, Distrust::Lagging, Distrust::Token, Distrust::Touched];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Distrust::NotLive => "not_live",
            Distrust::Early => "early",
            Distrust::Late => "late",
            Distrust::Lagging => "lagging",
            Distrust::Token => "token",
            Distrust::Touched => "touched",
        }
    }
}

/// Judges by the time that an answer took, and by whether it ends where it began.
///
/// # Errors
///
/// The reason not to trust it.
pub fn judge(timeout: Duration, elapsed: Duration, is_same_token: bool) -> Result<(), Distrust> {
    if elapsed < timeout {
        Err(Distrust::Early)
    } else if elapsed > timeout + LATE {
        Err(Distrust::Late)
    } else if is_same_token && (LAG_PATH.0..=LAG_PATH.1).contains(&elapsed) {
        Err(Distrust::Lagging)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_to_come_at_the_end_of_its_time() {
        let table = [
            (30_000, 30_010, true, Ok(())),
            (30_000, 29_999, true, Err(Distrust::Early)),
            (30_000, 10_020, true, Err(Distrust::Early)),
            (30_000, 32_000, false, Ok(())),
            (30_000, 32_001, false, Err(Distrust::Late)),
            (0, 5, true, Ok(())),
            (0, 2_001, true, Err(Distrust::Late)),
            (10_000, 10_010, true, Err(Distrust::Lagging)),
            (10_000, 10_010, false, Ok(())),
            (9_000, 9_500, true, Err(Distrust::Lagging)),
            (9_000, 9_499, true, Ok(())),
            (11_000, 11_501, true, Ok(())),
        ];
        for (timeout, elapsed, is_same_token, expected) in table {
            let (timeout, elapsed) = (Duration::from_millis(timeout), Duration::from_millis(elapsed));
            assert_eq!(judge(timeout, elapsed, is_same_token), expected, "{timeout:?} {elapsed:?} {is_same_token}");
        }
    }
}
