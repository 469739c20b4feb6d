//! Positions that somebody else has seen, and the stream has not told. It has a little time; then something was missed.
//!
//! The follower compares what a writer says of itself. Here, what Synapse's table `stream_positions` and the tokens in
//! its answers say is compared with what the stream has told.

use std::time::{Duration, Instant};

use super::marks::{Beyond, Marks};

/// How long the stream may be behind.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most positions that are waited for.
const WAITING_MAX: usize = 256;

/// Who says that something was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detector {
    /// The follower: a writer's own word.
    Stream,
    /// The table `stream_positions`.
    Table,
    /// A token in an answer of Synapse's.
    Answer,
}

/// The positions that the stream is to tell of.
#[derive(Debug, Default)]
pub struct Gaps {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    beyond: Beyond,
    position: i64,
    since: Instant,
    detector: Detector,
}

// === impl Gaps ===

impl Gaps {
    /// Somebody is said to be at a position that was not told yet.
    pub fn note(&mut self, beyond: Beyond, position: i64, detector: Detector, now: Instant) {
        let is_known = self.waiting.iter().any(|waiting| waiting.beyond == beyond && waiting.position <= position);
        if !is_known && self.waiting.len() < WAITING_MAX {
            self.waiting.push(Waiting { beyond, position, since: now, detector });
        }
    }

    /// The positions that were not told in time.
    pub fn missed(&mut self, seen: &Marks, now: Instant) -> Vec<(Beyond, i64, Detector)> {
        let at = |beyond: Beyond| match beyond {
            Beyond::Writer(place) => seen.get(place),
            Beyond::Field(field) => seen.furthest(field),
        };
        self.waiting.retain(|waiting| at(waiting.beyond).is_none_or(|at| at < waiting.position));
        let is_due = |waiting: &mut Waiting| now.saturating_duration_since(waiting.since) > PATIENCE;
        let due = self.waiting.extract_if(.., is_due);
        due.map(|waiting| (waiting.beyond, waiting.position, waiting.detector)).collect()
    }

    /// Waits for nothing any more.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

// === impl Detector ===

impl Detector {
    /// Every detector.
    pub const ALL: [Detector; 3] = [Detector::Stream, Detector::Table, Detector::Answer];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Detector::Stream => "stream",
            Detector::Table => "table",
            Detector::Answer => "answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet::writers::Writers;
    use crate::replication::Stream;

    #[test]
    fn a_position_has_its_time_to_be_told() {
        let (now, mut writers, mut seen, mut gaps) =
            (Instant::now(), Writers::default(), Marks::default(), Gaps::default());
        let place = writers.place(Stream::Events, "w").unwrap();
        let other = writers.place(Stream::Events, "other").unwrap();
        seen.set(place, 5);
        gaps.note(Beyond::Writer(place), 7, Detector::Table, now);
        gaps.note(Beyond::Writer(place), 9, Detector::Table, now + PATIENCE);
        gaps.note(Beyond::Writer(other), 3, Detector::Table, now);
        gaps.note(Beyond::Field(0), 7, Detector::Answer, now);
        assert_eq!(gaps.missed(&seen, now + PATIENCE), []);
        seen.set(place, 6);
        let late = now + PATIENCE + Duration::from_millis(1);
        let expected = [
            (Beyond::Writer(place), 7, Detector::Table),
            (Beyond::Writer(other), 3, Detector::Table),
            (Beyond::Field(0), 7, Detector::Answer),
        ];
        assert_eq!(gaps.missed(&seen, late), expected);
        assert_eq!(gaps.missed(&seen, late + PATIENCE * 9), []);
    }

    #[test]
    fn what_is_told_in_time_is_no_gap() {
        let (now, mut writers, mut seen, mut gaps) =
            (Instant::now(), Writers::default(), Marks::default(), Gaps::default());
        let place = writers.place(Stream::Events, "w").unwrap();
        gaps.note(Beyond::Writer(place), 7, Detector::Table, now);
        seen.set(place, 7);
        assert_eq!(gaps.missed(&seen, now + PATIENCE * 2), []);
        for number in 0..1000 {
            gaps.note(Beyond::Field(1), 1000 - number, Detector::Answer, now);
        }
        assert_eq!(gaps.waiting.len(), WAITING_MAX);
    }
}
