//! Answers that told of something although nothing was known to have happened.
//!
//! Each has a little time: the stream may tell of it a moment later. What is still not known then would have been late,
//! had the sync been parked. If it was one that would have been parked but for its age, and the answer came at once, a
//! sync before it *was* parked while that something had happened already: a late message. That ends all parking, not that
//! of one stream: what an answer tells does not say by which stream it should have been known, and whatever let one row
//! pass unseen may let others pass.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::marks::Point;
use crate::token::{Caller, TokenHash};

/// How long the stream may take to tell of what an answer has.
const GRACE: Duration = Duration::from_secs(2);
/// How fast an answer is that had something to tell from the beginning.
pub const AT_ONCE: Duration = Duration::from_secs(1);
/// The most answers that are looked into.
const SUSPECTS_MAX: usize = 1024;

/// What was expected of an answer when its sync was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing can be said.
    None,
    /// Nothing was known to have happened.
    Quiet,
    /// Nothing was known to have happened since an answer that was given again until it was too old.
    Renewal,
}

/// An answer that was not expected.
#[derive(Debug)]
pub struct Suspect {
    /// Who asked.
    pub caller: Caller,
    /// With which token.
    pub token: TokenHash,
    /// The token that the answer begins from.
    pub since: Point,
    /// What it told of.
    pub sections: Vec<&'static str>,
    /// Whether a message was late if it remains unexplained.
    pub is_grave: bool,
    /// When the answer came.
    pub answered: Instant,
}

/// The answers that are looked into.
#[derive(Debug, Default)]
pub struct Misses {
    suspects: VecDeque<Suspect>,
}

impl Misses {
    /// Looks into an answer. When too many are looked into, the oldest is let off.
    pub fn suspect(&mut self, suspect: Suspect) {
        if self.suspects.len() >= SUSPECTS_MAX {
            self.suspects.pop_front();
        }
        self.suspects.push_back(suspect);
    }

    /// The answers whose time is over.
    pub fn due(&mut self, now: Instant) -> Vec<Suspect> {
        let is_due = |suspect: &&Suspect| now.saturating_duration_since(suspect.answered) >= GRACE;
        let count = self.suspects.iter().take_while(is_due).count();
        self.suspects.drain(..count).collect()
    }

    /// Lets all off.
    pub fn clear(&mut self) {
        self.suspects.clear();
    }
}
