//! Many who do the same thing at once, each again when it is through, as after an outage.

use std::time::{Duration, Instant};

use super::plain::Connection;
use crate::fault::{Outcome, wrong};
use crate::homeserver::users::PASSWORD;

/// What came of a storm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Storm {
    /// How many were answered in time.
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    pub(crate) errors: u64,
}

/// Has a client for each of these requests, who sends it again and again for some time. Those under way at the end are
/// waited for, and count like the time that they take.
pub(crate) fn storm(port: u16, requests: &[Vec<u8>], time: Duration) -> Outcome<Storm> {
    side_by_side(requests.iter(), time, |request| {
        let answer = Connection::open(port).and_then(|mut connection| connection.ask(request));
        answer.is_ok_and(|answer| answer.status == 200)
    })
}

/// The same with no server: so many threads that check a password whose hash has this cost.
pub(crate) fn bare_loop(threads: usize, cost: u32, time: Duration) -> Outcome<Storm> {
    let hash = bcrypt::hash(PASSWORD, cost).map_err(|error| wrong(error.to_string()))?;
    side_by_side(0..threads, time, |_| bcrypt::verify(PASSWORD, &hash).unwrap_or(false))
}

/// A thread for each of these, which does something again and again for some time; the word of it is whether it went well.
fn side_by_side<T: Copy + Send>(
    each: impl Iterator<Item = T>,
    time: Duration,
    act: impl Fn(T) -> bool + Sync,
) -> Outcome<Storm> {
    let begun = Instant::now();
    let one = |what: T| {
        let mut own = Storm::default();
        while begun.elapsed() < time {
            if act(what) {
                own.count += 1;
            } else {
                own.errors += 1;
            }
        }
        own
    };
    std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = each.map(|what| scope.spawn(move || one(what))).collect();
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
