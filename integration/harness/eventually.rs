//! Waiting for something to become true, with a bound.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

/// How long one waits for something that takes a moment.
pub const SOON: Duration = Duration::from_secs(15);

/// Asks again and again until there is an answer, or `within` is over; then the last reason is the failure's.
pub fn eventually<T>(within: Duration, mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(reason) if begun.elapsed() > within => {
                let reason = reason.message().unwrap_or("no reason given").to_owned();
                return Err(format!("not within {} s: {reason}", within.as_secs()).into());
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
