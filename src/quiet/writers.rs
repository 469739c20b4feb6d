//! Who writes where: names of Synapse's processes and their numbers, each as one small number.

use std::collections::HashMap;

use super::since::field_of;
use crate::replication::Stream;

/// The most names that are kept. They are those of processes, so that more are a sign of confusion.
const WRITERS_MAX: usize = 4096;

/// A process that writes, by the order in which they became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Writer(u16);

/// A writer in a stream that tokens have a field for: where a position belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The field's place in [`super::since::LAYOUT`].
    pub field: u8,
    /// The writer.
    pub writer: Writer,
}

/// The writers that are known. None is ever forgotten.
#[derive(Debug, Default)]
pub struct Writers {
    by_name: HashMap<Box<str>, Writer>,
    by_id: HashMap<u32, Writer>,
}

impl Writers {
    /// A writer's number; `None` if there are too many.
    pub fn of_name(&mut self, name: &str) -> Option<Writer> {
        if let Some(writer) = self.by_name.get(name) {
            return Some(*writer);
        }
        if self.by_name.len() >= WRITERS_MAX {
            return None;
        }
        let writer = Writer(u16::try_from(self.by_name.len()).ok()?);
        self.by_name.insert(name.into(), writer);
        Some(writer)
    }

    /// Takes note of a row of Synapse's table `instance_map`.
    pub fn learn_id(&mut self, id: u32, name: &str) {
        if let Some(writer) = self.of_name(name) {
            self.by_id.insert(id, writer);
        }
    }

    /// The writer of this number in `instance_map`.
    pub fn of_id(&self, id: u32) -> Option<Writer> {
        self.by_id.get(&id).copied()
    }

    /// The place of a writer in a stream; `None` if tokens say nothing of the stream, or if there are too many writers.
    pub fn place(&mut self, stream: Stream, name: &str) -> Option<Place> {
        let field = u8::try_from(field_of(stream)?).ok()?;
        Some(Place { field, writer: self.of_name(name)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_one_by_name_and_number() {
        let mut writers = Writers::default();
        let (main, other) = (writers.of_name("master").unwrap(), writers.of_name("w1").unwrap());
        assert_ne!(main, other);
        writers.learn_id(3, "w1");
        assert_eq!((writers.of_id(3), writers.of_id(4)), (Some(other), None));
        assert_eq!(writers.place(Stream::Typing, "w1"), Some(Place { field: 2, writer: other }));
        assert_eq!(writers.place(Stream::Caches, "w1"), None);
    }

    #[test]
    fn writers_are_bounded() {
        let mut writers = Writers::default();
        assert!((0..WRITERS_MAX).all(|number| writers.of_name(&number.to_string()).is_some()));
        assert_eq!(writers.of_name("one more"), None);
        assert!(writers.of_name("7").is_some());
    }
}
