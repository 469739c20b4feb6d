//! Processes that are no Synapse and fail as they are told, and that remember what reached them.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libtest_mimic::Failed;

use crate::harness::stub::{Stub, read_body};

/// What a stub does with a request, once it has read it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It answers 200. So it does with every request for which it was told nothing.
    Answer,
    /// It closes the connection.
    Break,
}

/// A request that a stub has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which stub it was.
    pub stub: usize,
    pub method: String,
    pub body_bytes: usize,
}

/// Some stubs with one script: whoever gets the next request does the next act. Health checks are no requests.
pub struct Stubs {
    plan: Arc<Mutex<Plan>>,
    stubs: Vec<Stub>,
}

#[derive(Default)]
struct Plan {
    acts: VecDeque<Act>,
    seen: Vec<Seen>,
}

impl Stubs {
    /// Starts stubs.
    pub fn start(count: usize) -> Result<Self, Failed> {
        let plan = Arc::new(Mutex::new(Plan::default()));
        let stubs = (0..count).map(|number| {
            let plan = Arc::clone(&plan);
            Stub::start(move |head, stream| act(&plan, number, head, stream))
        });
        Ok(Stubs { stubs: stubs.collect::<Result<_, _>>()?, plan })
    }

    /// The addresses, as a configuration has them.
    pub fn addresses(&self) -> Vec<String> {
        self.stubs.iter().map(Stub::url).collect()
    }

    /// Sets what is done with the next requests, and forgets what was seen.
    pub fn script(&self, acts: &[Act]) {
        *lock(&self.plan) = Plan { acts: acts.iter().copied().collect(), seen: Vec::new() };
    }

    /// What was seen since then.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.plan).seen.clone()
    }
}

/// The error with which a stub closes a connection without an answer.
pub fn broken() -> Error {
    Error::from(ErrorKind::ConnectionAborted)
}

fn act(plan: &Mutex<Plan>, stub: usize, head: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let body_bytes = read_body(head, stream)?.len();
    let method = head.split(' ').next().unwrap_or_default().to_owned();
    let mut plan = lock(plan);
    plan.seen.push(Seen { stub, method, body_bytes });
    if plan.acts.pop_front() == Some(Act::Break) {
        return Err(broken());
    }
    // So that every connection of dendron's is a fresh one, and counts as one when it breaks.
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}
