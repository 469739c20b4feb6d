//! What was seen of each writer of each stream, and whether something was missed.
//!
//! A row says where its writer is, but not where it was before; only `POSITION` says that. So a lost row is noticed when
//! its writer next tells its position: by itself within a second or two if it is idle, else in answer to `REPLICATE`.
//! A row that is lost *between* two others is noticed by nobody: the one behind it covers it. Each writer publishes over
//! one connection in order, so that this takes a publication that fails between two that succeed.

use std::collections::HashMap;
use std::sync::Arc;

use super::change::{Concerns, Doubt, Gap};
use super::stream::Stream;

/// The most pairs of stream and writer that are kept track of.
const WRITERS_MAX: usize = 8192;
/// The most rows of an unfinished batch. Synapse reads its database about a hundred rows at a time, and may exceed that by
/// the rows of one position.
const BATCH_ROWS_MAX: usize = 16_384;

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Positions {
    by_stream: HashMap<Box<str>, HashMap<Arc<str>, Seen>>,
    count: usize,
}

/// What was seen of one writer in one stream.
#[derive(Debug)]
pub struct Seen {
    writer: Arc<str>,
    position: Option<i64>,
    /// What the rows of an unfinished batch concern.
    batch: Vec<Concerns>,
    /// Whether rows of the batch were dropped.
    batch_is_cut: bool,
}

/// A move of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it was seen before.
    pub after: i64,
    /// Where it is.
    pub position: i64,
    /// What was noticed.
    pub doubt: Option<Doubt>,
}

/// A writer's place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterPosition {
    /// The stream.
    pub stream: Stream,
    /// The process that writes.
    pub writer: Arc<str>,
    /// Where it is.
    pub position: i64,
}

// === impl Positions ===

impl Positions {
    /// What was seen of a writer; `None` if there are too many to keep track of.
    pub fn of(&mut self, stream: &str, instance: &str) -> Option<&mut Seen> {
        let is_known = self.by_stream.get(stream).is_some_and(|writers| writers.contains_key(instance));
        if !is_known {
            if self.count >= WRITERS_MAX {
                return None;
            }
            self.count += 1;
            let writer: Arc<str> = instance.into();
            let seen = Seen { writer: Arc::clone(&writer), position: None, batch: Vec::new(), batch_is_cut: false };
            self.by_stream.entry(stream.into()).or_default().insert(writer, seen);
        }
        self.by_stream.get_mut(stream)?.get_mut(instance)
    }

    /// Forgets a writer, and returns where it was. When it comes back, it is a new one.
    pub fn forget(&mut self, instance: &str) -> Vec<WriterPosition> {
        let mut forgotten = Vec::new();
        for (stream, writers) in &mut self.by_stream {
            if let Some(seen) = writers.remove(instance) {
                self.count -= 1;
                forgotten.extend(seen.told(stream));
            }
        }
        forgotten
    }

    /// Where every writer is.
    pub fn all(&self) -> Vec<WriterPosition> {
        let streams = self.by_stream.iter();
        streams.flat_map(|(stream, writers)| writers.values().filter_map(|seen| seen.told(stream))).collect()
    }

    /// Every writer that was seen, once for each of its streams.
    pub fn writers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_stream.values().flat_map(HashMap::keys)
    }
}

// === impl Seen ===

impl Seen {
    /// The writer's name.
    pub fn writer(&self) -> &Arc<str> {
        &self.writer
    }

    /// Keeps a row of a batch until its position is told.
    pub fn hold(&mut self, concerns: Concerns) {
        if self.batch.len() < BATCH_ROWS_MAX {
            self.batch.push(concerns);
        } else {
            self.batch_is_cut = true;
        }
    }

    /// The rows that were held, and whether there were more.
    pub fn release(&mut self) -> (Vec<Concerns>, bool) {
        (std::mem::take(&mut self.batch), std::mem::take(&mut self.batch_is_cut))
    }

    /// A row at `position`. `is_settled` tells whether every writer has had the time to tell its position, so that a
    /// new one is unexpected.
    pub fn row(&mut self, position: i64, is_settled: bool) -> Step {
        let doubt = match self.position {
            None => is_settled.then_some(Doubt::UnknownWriter),
            Some(seen) if position < seen => Some(Doubt::Gap(Gap::Backwards)),
            Some(_) => None,
        };
        self.step(position, position.saturating_sub(1), doubt)
    }

    /// A `POSITION`: that nothing was written from `previous` to `new`. Synapse itself asks its database again unless
    /// what was seen lies between the two (`_process_position` in `replication/tcp/handler.py`).
    pub fn position(&mut self, previous: i64, new: i64, is_settled: bool) -> Step {
        let gap = match self.position {
            _ if !self.batch.is_empty() || self.batch_is_cut => Some(Gap::BatchCut),
            None => is_settled.then_some(Gap::NewWriter),
            Some(seen) if new < seen => Some(Gap::Backwards),
            // Writers answer `REPLICATE` with one and the same position twice.
            Some(seen) if previous > seen && previous == new => Some(Gap::Heartbeat),
            Some(seen) if previous > seen => Some(Gap::Ahead),
            Some(_) => None,
        };
        self.release();
        self.step(new, new, gap.map(Doubt::Gap))
    }

    fn step(&mut self, position: i64, unseen: i64, doubt: Option<Doubt>) -> Step {
        let after = self.position.unwrap_or(unseen).min(position);
        self.position = Some(position);
        Step { after, position, doubt }
    }

    fn told(&self, stream: &str) -> Option<WriterPosition> {
        let writer = Arc::clone(&self.writer);
        self.position.map(|position| WriterPosition { stream: Stream::of_name(stream), writer, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a writer sends: a row, or a `POSITION`.
    #[derive(Clone, Copy, Debug)]
    enum Sent {
        Row(i64),
        Position(i64, i64),
    }

    fn steps(sent: &[Sent], is_settled: bool) -> Vec<Option<Doubt>> {
        let mut positions = Positions::default();
        let seen = positions.of("events", "w").unwrap();
        let step = |sent: &Sent| match *sent {
            Sent::Row(position) => seen.row(position, is_settled),
            Sent::Position(previous, new) => seen.position(previous, new, is_settled),
        };
        sent.iter().map(step).map(|step| step.doubt).collect()
    }

    #[test]
    fn what_was_missed_is_noticed() {
        use Sent::{Position, Row};
        let gap = |gap| Some(Doubt::Gap(gap));
        let table: [(&str, &[Sent], Option<Doubt>); 14] = [
            ("rows follow each other", &[Position(5, 5), Row(6), Row(9)], None),
            ("an idle writer moves", &[Position(5, 5), Position(5, 9)], None),
            ("it tells again what was seen", &[Position(5, 5), Row(6), Position(5, 6)], None),
            ("the answer to REPLICATE", &[Position(5, 5), Row(6), Position(6, 6)], None),
            ("a row was lost, then POSITION", &[Position(5, 5), Position(7, 9)], gap(Gap::Ahead)),
            ("a row was lost, then REPLICATE", &[Position(5, 5), Position(7, 7)], gap(Gap::Heartbeat)),
            ("a POSITION was lost, then POSITION", &[Position(5, 5), Row(6), Position(8, 9)], gap(Gap::Ahead)),
            ("the writer starts anew, row", &[Position(5, 5), Row(1)], gap(Gap::Backwards)),
            ("the writer starts anew, POSITION", &[Position(5, 5), Position(0, 0)], gap(Gap::Backwards)),
            ("a row is told twice", &[Position(5, 5), Row(6), Row(6)], None),
            ("negative positions", &[Position(-5, -5), Row(-4), Position(-4, -1)], None),
            ("nothing is said twice", &[Position(5, 5), Position(7, 7), Row(8)], None),
            ("a gap ends where it was noticed", &[Position(5, 5), Position(7, 9), Position(9, 9)], None),
            ("after going back, forward", &[Position(5, 5), Row(1), Position(1, 2)], None),
        ];
        for (what, sent, expected) in table {
            assert_eq!(steps(sent, true).last(), Some(&expected), "{what}");
        }
    }

    #[test]
    fn a_writer_that_appears_late_may_have_written_before() {
        assert_eq!(steps(&[Sent::Row(5)], true), [Some(Doubt::UnknownWriter)]);
        assert_eq!(steps(&[Sent::Position(5, 5)], true), [Some(Doubt::Gap(Gap::NewWriter))]);
        assert_eq!(steps(&[Sent::Row(5), Sent::Position(5, 5)], false), [None, None]);
    }

    #[test]
    fn a_step_tells_from_where() {
        let mut positions = Positions::default();
        let seen = positions.of("events", "w").unwrap();
        assert_eq!(seen.row(5, false), Step { after: 4, position: 5, doubt: None });
        assert_eq!(seen.row(9, true), Step { after: 5, position: 9, doubt: None });
        let doubt = Some(Doubt::Gap(Gap::Backwards));
        assert_eq!(seen.row(1, true), Step { after: 1, position: 1, doubt });
    }

    #[test]
    fn a_position_in_a_batch_is_a_gap() {
        let mut positions = Positions::default();
        let seen = positions.of("events", "w").unwrap();
        seen.position(5, 5, false);
        seen.hold(Concerns::Nobody);
        assert_eq!(seen.position(5, 6, true).doubt, Some(Doubt::Gap(Gap::BatchCut)));
        assert_eq!(seen.release(), (Vec::new(), false));
        assert_eq!(seen.position(6, 6, true).doubt, None);
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut positions = Positions::default();
        let seen = positions.of("events", "w").unwrap();
        (0..=BATCH_ROWS_MAX).for_each(|_| seen.hold(Concerns::Nobody));
        let (rows, is_cut) = seen.release();
        assert_eq!((rows.len(), is_cut), (BATCH_ROWS_MAX, true));
        assert_eq!(seen.release(), (Vec::new(), false));
    }

    #[test]
    fn writers_are_bounded_and_forgotten() {
        let mut positions = Positions::default();
        for number in 0..WRITERS_MAX {
            assert!(positions.of("events", &number.to_string()).is_some());
        }
        assert!(positions.of("events", "one more").is_none());
        positions.of("events", "7").unwrap().row(3, false);
        let place = WriterPosition { stream: Stream::Events, writer: "7".into(), position: 3 };
        assert_eq!(positions.all(), std::slice::from_ref(&place));
        assert_eq!(positions.forget("7"), [place]);
        assert_eq!(positions.forget("7"), []);
        assert!(positions.of("events", "one more").is_some());
    }
}
