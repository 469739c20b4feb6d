//! Lines in, changes out. Pure: the caller reads the lines and passes the time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::change::{Change, Concerns, Doubt, Gap};
use super::command::{Command, Position, Rdata, parse};
use super::field::{self, Field};
use super::positions::{Positions, Step, WriterPosition};
use super::stream::Stream;
use crate::token::TokenHasher;

/// Turns lines into changes, and remembers for that what was seen since the connection was made.
pub struct Sequencer {
    positions: Positions,
    hasher: Arc<TokenHasher>,
    is_settled: bool,
    /// Who has told a position since [`Sequencer::begin_round`].
    answered: HashSet<Arc<str>>,
    nobody: Arc<str>,
}

/// What a line was, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A row of a stream.
    Row {
        /// The stream.
        stream: Stream,
        /// When the row's transaction took place, in milliseconds of Unix time, where it says so.
        committed_ms: Option<i64>,
    },
    /// A writer's position.
    Position,
    /// Anything else.
    Other,
}

impl Sequencer {
    /// A sequencer that has seen nothing yet. It takes new writers for natural until [`Sequencer::settle`].
    pub fn new(hasher: Arc<TokenHasher>) -> Self {
        Sequencer {
            positions: Positions::default(),
            hasher,
            is_settled: false,
            answered: HashSet::new(),
            nobody: "".into(),
        }
    }

    /// Reads a line and appends what it means to `changes`.
    pub fn line(&mut self, line: &str, now: Instant, changes: &mut Vec<Change>) -> Line {
        match parse(line) {
            Command::Rdata(rdata) => self.rdata(&rdata, now, changes),
            Command::Position(position) => {
                self.position(&position, now, changes);
                Line::Position
            }
            Command::Unknown { .. } => self.nowhere(Doubt::UnknownCommand, now, changes),
            Command::Malformed { .. } => self.nowhere(Doubt::MalformedCommand, now, changes),
            Command::Replicate
            | Command::UserSync(_)
            | Command::ClearUserSync { .. }
            | Command::Ignored(_)
            | Command::Blank => Line::Other,
        }
    }

    /// From now on whoever appears is unexpected: every writer has had the time to tell its positions.
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Begins to note who tells its positions.
    pub fn begin_round(&mut self) {
        self.answered.clear();
    }

    /// Whether somebody has told a position since the round began, and so did each of these.
    pub fn have_answered(&self, instances: &[String]) -> bool {
        !self.answered.is_empty() && instances.iter().all(|instance| self.answered.contains(instance.as_str()))
    }

    /// Ends a round: whoever has told no position in it is forgotten, and what it may have dropped concerns everybody.
    pub fn end_round(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let silent: HashSet<Arc<str>> =
            self.positions.writers().filter(|writer| !self.answered.contains(*writer)).cloned().collect();
        for writer in silent {
            for place in self.positions.forget(&writer) {
                let WriterPosition { stream, writer, position } = place;
                let concerns = Concerns::Everybody(Doubt::Gap(Gap::WriterSilent));
                changes.push(Change { stream, writer, after: position, position, concerns, received: now });
            }
        }
    }

    /// Where every writer is.
    pub fn positions(&self) -> Vec<WriterPosition> {
        self.positions.all()
    }

    fn rdata(&mut self, rdata: &Rdata<'_>, now: Instant, changes: &mut Vec<Change>) -> Line {
        let stream = Stream::of_name(rdata.stream);
        let row = field::row(rdata.row.0);
        let concerns = self.concerns(stream, row.as_deref());
        let committed_ms = match (stream, row.as_deref()) {
            (Stream::Caches, Some([_, _, Field::Number(time), ..])) => Some(*time),
            _ => None,
        };
        let line = Line::Row { stream, committed_ms };
        let Some(seen) = self.positions.of(rdata.stream, rdata.instance) else {
            self.nowhere(Doubt::TooManyWriters, now, changes);
            return line;
        };
        let Some(position) = rdata.token else {
            seen.hold(concerns);
            return line;
        };
        let step = if stream.is_counted() {
            seen.row(position, self.is_settled)
        } else {
            Step { after: position, position, doubt: None }
        };
        let (batch, is_cut) = seen.release();
        let writer = Arc::clone(seen.writer());
        let cut = is_cut.then_some(Doubt::Gap(Gap::BatchCut));
        let doubts = step.doubt.into_iter().chain(cut).map(Concerns::Everybody);
        for concerns in doubts.chain(batch).chain([concerns]) {
            let writer = Arc::clone(&writer);
            changes.push(Change { stream, writer, after: step.after, position, concerns, received: now });
        }
        line
    }

    fn concerns(&self, stream: Stream, row: Option<&[Field<'_>]>) -> Concerns {
        let Some(rule) = stream.rule() else { return Concerns::Everybody(Doubt::UnknownStream) };
        let concerns = row.and_then(|row| rule.concerns(row, &self.hasher));
        concerns.unwrap_or(Concerns::Everybody(Doubt::UnknownRow))
    }

    fn position(&mut self, told: &Position<'_>, now: Instant, changes: &mut Vec<Change>) {
        let stream = Stream::of_name(told.stream);
        let Some(seen) = self.positions.of(told.stream, told.instance) else {
            self.nowhere(Doubt::TooManyWriters, now, changes);
            return;
        };
        let writer = Arc::clone(seen.writer());
        if !self.answered.contains(&writer) {
            self.answered.insert(Arc::clone(&writer));
        }
        if !stream.is_counted() {
            return;
        }
        let Step { after, position, doubt } = seen.position(told.previous, told.new, self.is_settled);
        let concerns = match doubt {
            Some(doubt) => Some(Concerns::Everybody(doubt)),
            // Nothing was written there, which whoever compares positions has to know.
            None => (after != position).then_some(Concerns::Nobody),
        };
        if let Some(concerns) = concerns {
            changes.push(Change { stream, writer, after, position, concerns, received: now });
        }
    }

    /// A doubt that belongs to no stream.
    fn nowhere(&self, doubt: Doubt, now: Instant, changes: &mut Vec<Change>) -> Line {
        let concerns = Concerns::Everybody(doubt);
        let writer = Arc::clone(&self.nobody);
        changes.push(Change { stream: Stream::Unknown, writer, after: 0, position: 0, concerns, received: now });
        Line::Other
    }
}

#[cfg(test)]
mod tests;
