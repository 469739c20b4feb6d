//! Requests at a fixed rate, whether those before were answered or not: each has its moment, and its time counts from
//! then on, also where its connection was still busy. A generator that waits for slow answers would ask less just when
//! answers are slow, and hide it (coordinated omission).
//!
//! Threads and blocking sockets, because a thread's sleep is kept to some fifty microseconds, and a timer of an
//! asynchronous runtime to a millisecond. Where the generator itself wakes late on an idle connection, the request's time
//! counts from when it was sent.

use std::io;
use std::time::{Duration, Instant};

use super::plain::Connection;
use crate::fault::{Doing, Outcome, wrong};

/// What is sent, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace<'requests> {
    pub(crate) requests: &'requests [Vec<u8>],
    pub(crate) per_second: f64,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
}

/// How long requests took, in order of length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    /// Requests that were not answered, or with an error.
    pub(crate) errors: u64,
}

impl Pace<'_> {
    /// Sends to a port.
    pub(crate) fn run(&self, port: u16) -> Outcome<Latencies> {
        let begun = Instant::now() + Duration::from_millis(50);
        let connections = u32::try_from(self.connections).unwrap_or(1).max(1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..connections)
                .map(|number| scope.spawn(move || self.one(port, begun, number, connections)))
                .collect();
            let mut all = Latencies::default();
            for thread in threads {
                let own = thread.join().map_err(|_| wrong("a generator's thread has failed"))?;
                let own = own.doing("connecting")?;
                all.sorted.extend(own.sorted);
                all.errors += own.errors;
            }
            all.sorted.sort_unstable();
            Ok(all)
        })
    }

    /// The requests of one connection: every `connections`-th, from its own number on.
    fn one(&self, port: u16, begun: Instant, number: u32, connections: u32) -> io::Result<Latencies> {
        let mut connection = Connection::open(port)?;
        let mut latencies = Latencies::default();
        let mut place = number;
        loop {
            let due = Duration::from_secs_f64(f64::from(place) / self.per_second);
            if due > self.duration {
                return Ok(latencies);
            }
            let due = begun + due;
            let wait = due.saturating_duration_since(Instant::now());
            std::thread::sleep(wait);
            let from = if wait.is_zero() { due } else { Instant::now() };
            let request = &self.requests[place as usize % self.requests.len()];
            match connection.ask(request) {
                Ok(answer) if answer.status < 400 => {}
                Ok(_) => latencies.errors += 1,
                Err(_) => {
                    latencies.errors += 1;
                    connection = Connection::open(port)?;
                }
            }
            latencies.sorted.push(from.elapsed());
            place += connections;
        }
    }
}

impl Latencies {
    /// Those of requests that were all answered.
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Latencies { sorted: latencies, errors: 0 }
    }

    /// The latency that so many of a thousand requests keep within, in microseconds.
    pub(crate) fn of_thousand(&self, count: usize) -> f64 {
        let place = (self.sorted.len() * count / 1_000).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }

    pub(crate) fn count(&self) -> u64 {
        self.sorted.len() as u64
    }
}
