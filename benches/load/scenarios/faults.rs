//! (k): one process answers only after a second, and another one dies in the middle: what the requests of all others
//! notice of it.

use std::time::Duration;

use super::Suite;
use super::rounds;
use crate::contenders::Contender;
use crate::fault::{Outcome, wrong};
use crate::figures::{Figure, Measured};
use crate::generate::paced::{Latencies, Pace};
use crate::generate::plain::bytes;
use crate::mix;

/// The process that dies; its pool has another one.
const DEAD: &str = "client1";
/// The process that is slow, alone in its pool.
const SLOW: &str = "media1";
const SLOW_MILLISECONDS: u64 = 1_000;
/// How many requests a second the others are asked.
const PER_SECOND: f64 = 1_000.0;
const CONNECTIONS: usize = 16;
/// The same for the slow process.
const SLOW_PER_SECOND: f64 = 20.0;
const SLOW_CONNECTIONS: usize = 30;

pub(super) fn run(suite: &Suite<'_>) -> Outcome<Vec<Measured>> {
    let contenders = rounds::start(suite)?;
    let mut measured = Measured::new(format!(
        "{PER_SECOND} requests a second while {DEAD} dies and comes back, and {SLOW} takes a second"
    ));
    let upstream = suite.stage.upstream;
    let result = rounds::run(suite, &contenders, |contender| {
        upstream.order(&format!("delay {SLOW} {SLOW_MILLISECONDS}"))?;
        let latencies = one(suite, contender)?;
        for (figure, thousandths) in [(Figure::Median, 500), (Figure::Percentile99, 990), (Figure::Percentile999, 999)]
        {
            measured.add(contender.name, figure, latencies.of_thousand(thousandths));
        }
        measured.failed(contender.name, latencies.errors);
        Ok(())
    });
    upstream.order(&format!("delay {SLOW} 0"))?;
    result?;
    measured.notes.push("Latencies and errors are those of the requests that are not for the slow process.".to_owned());
    Ok(vec![measured])
}

/// A third of the time all is well, a third the process is dead, and a third it is back.
fn one(suite: &Suite<'_>, contender: &Contender) -> Outcome<Latencies> {
    let third = Duration::from_secs(suite.by_size(1, 1, 3));
    let requests = mix::forty_endpoints();
    let (slow, others): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.pool == "media");
    let as_bytes = |requests: Vec<&mix::Request>| -> Vec<Vec<u8>> { requests.into_iter().map(bytes).collect() };
    let (slow, others) = (as_bytes(slow), as_bytes(others));
    let duration = third * 3;
    let fast = Pace { requests: &others, per_second: PER_SECOND, connections: CONNECTIONS, duration };
    let slow = Pace { requests: &slow, per_second: SLOW_PER_SECOND, connections: SLOW_CONNECTIONS, duration };
    let upstream = suite.stage.upstream;
    std::thread::scope(|scope| {
        let fast = scope.spawn(|| fast.run(contender.plain));
        let slow = scope.spawn(|| slow.run(contender.plain));
        std::thread::sleep(third);
        upstream.order(&format!("close {DEAD}"))?;
        std::thread::sleep(third);
        upstream.order(&format!("open {DEAD}"))?;
        slow.join().map_err(|_| wrong("a generator has failed"))??;
        fast.join().map_err(|_| wrong("a generator has failed"))?
    })
}
