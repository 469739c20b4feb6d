//! Changes of which the database has to say whom they concern. Each waits for that, for a second at most; then, and if
//! too many wait, it concerns everybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;

use super::marks::Mark;
use super::names::Name;
use crate::replication::Stream;

/// The most changes that wait.
const LOOKUPS_MAX: usize = 1024;
/// How long one waits at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of how many users who do not sync here the rooms are remembered.
const NEIGHBOURS_MAX: usize = 10_000;

/// What waits, and what need not be asked again.
#[derive(Debug)]
pub struct Lookups {
    waiting: VecDeque<Lookup>,
    next: u64,
    /// The rooms of users who do not sync here: those of other servers, whose presence comes over and over.
    neighbours: Cache<Box<str>, Arc<[Name]>>,
}

/// A change that waits.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Its number.
    pub id: u64,
    /// The stream that it came in.
    pub stream: Stream,
    /// Where it is.
    pub mark: Mark,
    /// What is asked.
    pub subject: Wanted,
    asked: Option<Instant>,
    waits_since: Instant,
    /// Whether something was told of the user meanwhile, so that the answer may not hold for the next change.
    is_moved: bool,
}

/// What is asked of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The rooms of a user, which the change touches.
    RoomsOf(Box<str>),
    /// The rooms in which devices have changed behind the first position, up to the second; the change touches them.
    DeviceChanges(i64, i64),
    /// Who of this server is in a room, so that they can be touched in it.
    MembersOf(Box<str>),
}

/// There are too many: the change concerns everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

// === impl Lookups ===

impl Default for Lookups {
    fn default() -> Self {
        Lookups { waiting: VecDeque::new(), next: 0, neighbours: Cache::new(NEIGHBOURS_MAX) }
    }
}

impl Lookups {
    /// Lets a change wait for an answer.
    ///
    /// # Errors
    ///
    /// [`TooMany`] if it cannot.
    pub fn add(&mut self, stream: Stream, mark: Mark, subject: Wanted, now: Instant) -> Result<(), TooMany> {
        let is_same = |lookup: &Lookup| lookup.asked.is_none() && lookup.mark == mark && lookup.subject == subject;
        // The rows of a batch often ask for the same.
        if self.waiting.back().is_some_and(is_same) {
            return Ok(());
        }
        if self.waiting.len() >= LOOKUPS_MAX {
            return Err(TooMany);
        }
        let id = self.next;
        self.next += 1;
        self.waiting.push_back(Lookup { id, stream, mark, subject, asked: None, waits_since: now, is_moved: false });
        Ok(())
    }

    /// The rooms of a user who does not sync here, if they are remembered.
    pub fn rooms_of(&self, user: &str) -> Option<Arc<[Name]>> {
        self.neighbours.get(user).cloned()
    }

    /// A user may have come into a room, or left one.
    pub fn moved(&mut self, user: &str) {
        self.neighbours.remove(user);
        let is_about = |lookup: &&mut Lookup| matches!(&lookup.subject, Wanted::RoomsOf(about) if **about == *user);
        self.waiting.iter_mut().filter(is_about).for_each(|lookup| lookup.is_moved = true);
    }

    /// Every user may have.
    pub fn moved_all(&mut self) {
        self.neighbours.clear();
        self.waiting.iter_mut().for_each(|lookup| lookup.is_moved = true);
    }

    /// What is to be asked now, so much at most; each is to be answered, if it can.
    pub fn questions(&mut self, count_max: usize, now: Instant) -> Vec<(u64, Wanted)> {
        let unasked = self.waiting.iter_mut().filter(|lookup| lookup.asked.is_none());
        unasked
            .take(count_max)
            .map(|lookup| {
                lookup.asked = Some(now);
                (lookup.id, lookup.subject.clone())
            })
            .collect()
    }

    /// Whether something is to be asked.
    pub fn has_questions(&self) -> bool {
        // What is asked stands in front.
        self.waiting.back().is_some_and(|lookup| lookup.asked.is_none())
    }

    /// The change that an answer is for, unless it waits no longer; its rooms, if that is what was asked, are
    /// remembered.
    pub fn answered(&mut self, id: u64, rooms: &[Name]) -> Option<Lookup> {
        let place = self.waiting.iter().position(|lookup| lookup.id == id)?;
        let lookup = self.waiting.remove(place)?;
        if let Wanted::RoomsOf(user) = &lookup.subject
            && !lookup.is_moved
        {
            self.neighbours.insert(user.clone(), rooms.into());
        }
        Some(lookup)
    }

    /// A question that the database does not answer: the change concerns everybody.
    pub fn failed(&mut self, id: u64) -> Option<Lookup> {
        let place = self.waiting.iter().position(|lookup| lookup.id == id)?;
        self.waiting.remove(place)
    }

    /// The changes that have waited too long.
    pub fn overdue(&mut self, now: Instant) -> Vec<Lookup> {
        let is_due = |lookup: &Lookup| now.saturating_duration_since(lookup.waits_since) >= PATIENCE;
        let count = self.waiting.iter().take_while(|lookup| is_due(lookup)).count();
        self.waiting.drain(..count).collect()
    }

    /// Whether it is asked who has come into a room.
    pub fn asks_for_members(&self) -> bool {
        self.waiting.iter().any(|lookup| matches!(lookup.subject, Wanted::MembersOf(_)))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets all: what comes next is a new beginning.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.neighbours.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet::names::Namer;

    fn mark(now: Instant) -> Mark {
        Mark::Moment(now)
    }

    #[test]
    fn a_change_waits_for_its_answer_and_not_for_ever() {
        let now = Instant::now();
        let mut lookups = Lookups::default();
        let wanted = Wanted::DeviceChanges(3, 5);
        for _ in 0..3 {
            lookups.add(Stream::DeviceLists, mark(now), wanted.clone(), now).unwrap();
        }
        assert_eq!(lookups.questions(9, now), [(0, wanted.clone())]);
        assert_eq!(lookups.questions(9, now), []);
        // The same again may have been answered from before.
        lookups.add(Stream::DeviceLists, mark(now), wanted.clone(), now + PATIENCE / 2).unwrap();
        assert_eq!(lookups.questions(9, now), [(1, wanted)]);
        assert_eq!(lookups.answered(0, &[]).map(|lookup| lookup.stream), Some(Stream::DeviceLists));
        assert!(lookups.answered(0, &[]).is_none());
        assert!(lookups.overdue(now + PATIENCE).is_empty());
        assert_eq!(lookups.overdue(now + PATIENCE * 3 / 2).len(), 1);
        assert!(lookups.failed(1).is_none() && lookups.is_empty());
    }

    #[test]
    fn waiting_is_bounded() {
        let now = Instant::now();
        let mut lookups = Lookups::default();
        for number in 0..LOOKUPS_MAX {
            let wanted = Wanted::RoomsOf(number.to_string().into());
            assert_eq!(lookups.add(Stream::Presence, mark(now), wanted, now), Ok(()));
        }
        let wanted = Wanted::RoomsOf("one more".into());
        assert_eq!(lookups.add(Stream::Presence, mark(now), wanted, now), Err(TooMany));
        assert_eq!(lookups.len(), LOOKUPS_MAX);
    }

    #[test]
    fn a_neighbour_is_remembered_until_it_moves() {
        let (now, namer) = (Instant::now(), Namer::default());
        let mut lookups = Lookups::default();
        let ask = |lookups: &mut Lookups| {
            lookups.add(Stream::Presence, mark(now), Wanted::RoomsOf("@far".into()), now).unwrap();
            lookups.questions(9, now).remove(0).0
        };
        let id = ask(&mut lookups);
        lookups.answered(id, &[namer.room("!a")]).unwrap();
        assert_eq!(lookups.rooms_of("@far").unwrap().len(), 1);
        lookups.moved("@far");
        assert!(lookups.rooms_of("@far").is_none());
        let id = ask(&mut lookups);
        lookups.moved("@far");
        lookups.answered(id, &[namer.room("!a")]).unwrap();
        assert!(lookups.rooms_of("@far").is_none());
    }
}
