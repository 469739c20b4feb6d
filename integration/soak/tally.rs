//! What became of every request of the soak, and whether that may be.
//!
//! While a process restarts, a request may fail, as long as its failure is told; at any other time none may.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libtest_mimic::Failed;

use crate::harness::http::Answer;

/// How many faults are kept in words.
const FAULTS_MAX: usize = 20;

/// The counts of one kind of client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// What ended as it must.
    pub good: u64,
    /// What failed while a process restarted.
    pub excused: u64,
    /// What failed without such an excuse.
    pub faults: u64,
}

/// The counts of all clients. Threads share it.
#[derive(Default)]
pub struct Tally(Mutex<State>);

#[derive(Default)]
struct State {
    counts: BTreeMap<&'static str, Counts>,
    faults: Vec<String>,
    /// When processes restarted; the last time may still last.
    troubles: Vec<(Instant, Option<Instant>)>,
}

impl Tally {
    /// From now on a process restarts.
    pub fn trouble_begins(&self) {
        self.lock().troubles.push((Instant::now(), None));
    }

    /// All are there again.
    pub fn trouble_ends(&self) {
        if let Some((_, end)) = self.lock().troubles.last_mut() {
            *end = Some(Instant::now());
        }
    }

    /// Counts what ended as it must.
    pub fn good(&self, client: &'static str) {
        self.lock().counts.entry(client).or_default().good += 1;
    }

    /// Counts what did not, of a request that began at a time.
    pub fn bad(&self, client: &'static str, begun: Instant, reason: &str) {
        let mut state = self.lock();
        let is_excused = state.troubles.iter().any(|(_, end)| end.is_none_or(|end| end > begun));
        let counts = state.counts.entry(client).or_default();
        if is_excused {
            counts.excused += 1;
            return;
        }
        counts.faults += 1;
        if state.faults.len() < FAULTS_MAX {
            state.faults.push(format!("{client}: {reason}"));
        }
    }

    /// Counts a fault for which there is no excuse at any time.
    pub fn fault(&self, client: &'static str, reason: &str) {
        let mut state = self.lock();
        state.counts.entry(client).or_default().faults += 1;
        if state.faults.len() < FAULTS_MAX {
            state.faults.push(format!("{client}: {reason}"));
        }
    }

    /// Counts an answer, which must have the status 200; returns it if it has.
    pub fn answer(&self, client: &'static str, begun: Instant, answer: Result<Answer, Failed>) -> Option<Answer> {
        match answer {
            Ok(answer) if answer.status == 200 => {
                self.good(client);
                return Some(answer);
            }
            Ok(answer) if answer.status < 500 => {
                self.fault(client, &format!("{} {}", answer.status, answer.text()));
            }
            Ok(answer) => self.bad(client, begun, &format!("{} {}", answer.status, answer.text())),
            Err(error) => self.bad(client, begun, error.message().unwrap_or("no answer")),
        }
        None
    }

    /// The counts of every client, and the first faults.
    pub fn result(&self) -> (Vec<(&'static str, Counts)>, Vec<String>) {
        let state = self.lock();
        (state.counts.iter().map(|(client, counts)| (*client, *counts)).collect(), state.faults.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
