//! The last position at which each room and each user was touched.
//!
//! Bounded by two generations: what is touched is noted in the young one; when that is full it becomes the old one, and
//! the old one is given up. What was in it is taken to have touched everybody, up to the furthest position in it. As
//! nothing in it was touched for a whole generation, tokens that are any younger do not notice.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::marks::{Mark, Marks, Point};
use super::names::Name;
use super::writers::Place;

/// Who is touched, and by what.
#[derive(Debug)]
pub struct Ledger {
    rooms: Touches,
    people: Touches,
    /// What has touched everybody.
    everybody: Marks,
    /// What was given up, until somebody has the time to free it.
    retired: Vec<Generation>,
}

/// Who asks: touched by whatever touches one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The user.
    pub user: Name,
    /// The user's device.
    pub device: Name,
    /// The access token.
    pub token: Name,
}

#[derive(Debug)]
struct Touches {
    young: Generation,
    old: Generation,
    max: usize,
}

/// Names with their marks, and all the marks in one.
#[derive(Debug, Default)]
pub struct Generation {
    by_name: HashMap<Name, Marks, BuildHasherDefault<NameHasher>>,
    all: Marks,
}

/// Names are hashes already.
#[derive(Debug, Default)]
pub struct NameHasher(u64);

// === impl Ledger ===

impl Ledger {
    /// A ledger that tells apart the last `max` rooms, and as many people, at least.
    pub fn new(max: usize) -> Self {
        let touches = || Touches { young: Generation::default(), old: Generation::default(), max: max.max(1) };
        Ledger { rooms: touches(), people: touches(), everybody: Marks::default(), retired: Vec::new() }
    }

    /// Something has happened in a room.
    pub fn touch_room(&mut self, room: Name, mark: Mark) {
        if let Some(retired) = self.rooms.touch(room, mark) {
            self.retire(retired);
        }
    }

    /// Something has happened to a user, a device or a token.
    pub fn touch(&mut self, name: Name, mark: Mark) {
        if let Some(retired) = self.people.touch(name, mark) {
            self.retire(retired);
        }
    }

    /// Something has happened that may concern everybody.
    pub fn touch_everybody(&mut self, mark: Mark) {
        self.everybody.raise(mark);
    }

    /// Forgets all positions of a place whose writer counts anew. It takes as long as there are rooms and people, but
    /// happens only when a writer starts again.
    pub fn forget(&mut self, place: Place) {
        self.everybody.forget(place);
        for touches in [&mut self.rooms, &mut self.people] {
            for generation in [&mut touches.young, &mut touches.old] {
                generation.all.forget(place);
                generation.by_name.values_mut().for_each(|marks| marks.forget(place));
            }
        }
    }

    /// Whether anything has happened since `point` that concerns this subject, who is in these rooms.
    pub fn touched(&self, subject: Subject, rooms: &[Name], point: &Point) -> bool {
        let Subject { user, device, token } = subject;
        !point.covers_all(&self.everybody)
            || [user, device, token].into_iter().any(|name| self.people.touched(name, point))
            || rooms.iter().any(|room| self.rooms.touched(*room, point))
    }

    /// What may be freed. That takes a while, so that it should be done where nobody waits.
    pub fn take_retired(&mut self) -> Vec<Generation> {
        std::mem::take(&mut self.retired)
    }

    /// How many rooms and people are told apart.
    pub fn len(&self) -> usize {
        [&self.rooms, &self.people].map(|touches| touches.young.by_name.len() + touches.old.by_name.len()).iter().sum()
    }

    /// Whether nothing was noted yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn retire(&mut self, retired: Generation) {
        self.everybody.raise_all(&retired.all);
        self.retired.push(retired);
    }
}

// === impl Touches ===

impl Touches {
    /// Notes a mark; returns a generation that had to make room.
    fn touch(&mut self, name: Name, mark: Mark) -> Option<Generation> {
        let is_full = self.young.by_name.len() >= self.max && !self.young.by_name.contains_key(&name);
        let retired = is_full.then(|| std::mem::replace(&mut self.old, std::mem::take(&mut self.young)));
        self.young.by_name.entry(name).or_default().raise(mark);
        self.young.all.raise(mark);
        retired
    }

    fn touched(&self, name: Name, point: &Point) -> bool {
        let marks = [&self.young, &self.old].into_iter().filter_map(|generation| generation.by_name.get(&name));
        marks.into_iter().any(|marks| !point.covers_all(marks))
    }
}

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::quiet::names::Namer;
    use crate::quiet::since::SyncToken;
    use crate::quiet::writers::Writers;
    use crate::replication::Stream;

    fn point(events: i64, typing: i64, now: Instant, writers: &Writers) -> Point {
        Point::new(&SyncToken::parse(&format!("s{events}_0_{typing}")).unwrap(), now, writers).unwrap()
    }

    #[test]
    fn a_touch_concerns_its_own() {
        let (now, namer, mut writers) = (Instant::now(), Namer::default(), Writers::default());
        let mut ledger = Ledger::new(10);
        let place = writers.place(Stream::Events, "w").unwrap();
        let user = |name: &str| namer.user(name);
        let subject = |name: &str| Subject { user: user(name), device: user("d"), token: user("t") };
        ledger.touch_room(namer.room("!a"), Mark::At(place, 5));
        ledger.touch(user("@a"), Mark::At(place, 7));
        let table = [
            ("@b", vec!["!a"], 4, true),
            ("@b", vec!["!a"], 5, false),
            ("@b", vec!["!b", "!c"], 0, false),
            ("@a", vec![], 6, true),
            ("@a", vec![], 7, false),
        ];
        for (name, rooms, at, expected) in table {
            let rooms: Vec<Name> = rooms.into_iter().map(|room| namer.room(room)).collect();
            assert_eq!(ledger.touched(subject(name), &rooms, &point(at, 0, now, &writers)), expected, "{name} {at}");
        }
        ledger.touch_everybody(Mark::At(place, 9));
        assert!(ledger.touched(subject("@b"), &[], &point(8, 0, now, &writers)));
        assert!(!ledger.touched(subject("@b"), &[], &point(9, 0, now, &writers)));
    }

    proptest! {
        /// Against a model that forgets nothing: the ledger may say more, and is bounded.
        #[test]
        fn nothing_is_forgotten(
            touches in prop::collection::vec((0_u8..30, 0_i64..50, any::<bool>()), 0..200),
            rooms in prop::collection::hash_set(0_u8..30, 0..5),
            at in (0_i64..50, 0_i64..50),
        ) {
            let (now, namer, mut writers) = (Instant::now(), Namer::default(), Writers::default());
            let places = [Stream::Events, Stream::Typing].map(|stream| writers.place(stream, "w").unwrap());
            let mut ledger = Ledger::new(4);
            let name = |room: u8| namer.room(&room.to_string());
            for (room, position, is_typing) in &touches {
                ledger.touch_room(name(*room), Mark::At(places[usize::from(*is_typing)], *position));
                prop_assert!(ledger.len() <= 8);
            }
            let point = point(at.0, at.1, now, &writers);
            let expected = touches.iter().any(|(room, position, is_typing)| {
                rooms.contains(room) && *position > if *is_typing { at.1 } else { at.0 }
            });
            let user = namer.user("@a");
            let subject = Subject { user, device: user, token: user };
            let names: Vec<Name> = rooms.iter().map(|room| name(*room)).collect();
            let told = ledger.touched(subject, &names, &point);
            prop_assert!(told || !expected);
            // While nothing had to make room, it says no more than that.
            let different: HashSet<u8> = touches.iter().map(|(room, ..)| *room).collect();
            prop_assert!(told == expected || different.len() > 4);
        }
    }
}
