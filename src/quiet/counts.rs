//! What the gate has counted, as plain numbers.

use super::gaps::Detector;
use super::trust::Distrust;
use super::verdict::Reason;

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Syncs that were parked.
    pub parked: u64,
    /// Syncs with a timeout of 0 that got the kept answer at once.
    pub replayed_at_once: u64,
    /// Syncs that were forwarded, by [`Reason::ALL`].
    pub forwarded: [u64; Reason::ALL.len()],
    /// Answers that were kept.
    pub learned: u64,
    /// Answers that became too old.
    pub expired: u64,
    /// Empty answers that were not kept, by [`Distrust::ALL`].
    pub distrusted: [u64; Distrust::ALL.len()],
    /// How often something may have been missed, by [`Detector::ALL`].
    pub gaps: [u64; Detector::ALL.len()],
    /// Changes that had to concern everybody because the database did not say whom in time.
    pub lookups_given_up: u64,
    /// Forwarded syncs that were expected to be quiet, and were.
    pub quiet_and_empty: u64,
    /// Forwarded syncs that were expected to be quiet, were touched, and told of something: right.
    pub touched_and_full: u64,
    /// The same, which told of nothing: woken for nothing.
    pub touched_and_empty: u64,
    /// Forwarded syncs that told of something although nothing was known to have happened.
    pub missed: u64,
    /// Those of them that prove a late message.
    pub confirmed_misses: u64,
}

/// How much there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Syncs that are parked.
    pub parked: usize,
    /// Answers that are kept.
    pub kept: usize,
    /// Bytes of their bodies and tokens.
    pub kept_bytes: usize,
    /// Users whose rooms are known or asked for.
    pub users: usize,
    /// Pairs of user and room.
    pub pairs: usize,
    /// Rooms and people of whom the ledger knows when they were touched.
    pub touches: usize,
    /// Changes that wait for the database.
    pub lookups: usize,
}

impl Counts {
    pub(super) fn forwarded(&mut self, reason: Reason) {
        add(&mut self.forwarded, &Reason::ALL, reason);
    }

    pub(super) fn distrusted(&mut self, reason: Distrust) {
        add(&mut self.distrusted, &Distrust::ALL, reason);
    }

    pub(super) fn gap(&mut self, detector: Detector) {
        add(&mut self.gaps, &Detector::ALL, detector);
    }
}

fn add<T: PartialEq>(counts: &mut [u64], all: &[T], one: T) {
    if let Some(count) = all.iter().position(|known| *known == one).and_then(|place| counts.get_mut(place)) {
        *count += 1;
    }
}
