//! Many who do the same thing at once, each again when it is through, as after an outage.

use std::time::{Duration, Instant};

use super::plain::Connection;
use crate::fault::{Outcome, wrong};

/// What came of a storm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Storm {
    /// How many were answered in time.
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) errors: u64,
}

/// Has so many clients send a request again and again for some time. Those under way at the end are waited for, and count
/// like the time that they take.
pub(crate) fn storm(port: u16, request: &[u8], clients: usize, time: Duration) -> Outcome<Storm> {
    let begun = Instant::now();
    let one = || {
        let mut own = Storm::default();
        while begun.elapsed() < time {
            let answer = Connection::open(port).and_then(|mut connection| connection.ask(request));
            match answer {
                Ok(answer) if answer.status == 200 => own.count += 1,
                _ => own.errors += 1,
            }
        }
        own
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        let mut all = Storm::default();
        for thread in threads {
            let own = thread.join().map_err(|_| wrong("a client of the storm has failed"))?;
            all.count += own.count;
            all.errors += own.errors;
        }
        all.seconds = begun.elapsed().as_secs_f64();
        Ok(all)
    })
}
