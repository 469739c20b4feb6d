//! Positions, and where a token stands among them.
//!
//! Positions of different writers are not compared with each other: each is covered by a token, or not.

use std::time::{Duration, Instant};

use super::since::{FIELDS_MAX, LAYOUT, SyncToken};
use super::writers::{Place, Writers};

/// How long a process of Synapse may go on answering from before something that it, too, learns from the stream. What
/// has no position is compared by time, with so much to spare.
pub const MARGIN: Duration = Duration::from_secs(1);

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// At a position, which tokens cover or not.
    At(Place, i64),
    /// At a moment: it has no position that tokens would tell of.
    Moment(Instant),
}

/// The last position at each place, and the last moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    places: Vec<(Place, i64)>,
    moment: Option<Instant>,
}

/// Where a token stands: it covers whatever happened up to here, and whatever its kind of sync never tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    least: [i64; FIELDS_MAX],
    further: Box<[(Place, i64)]>,
    /// The fields of streams that concern nobody with such a token, a bit for each.
    untold: u16,
    /// When the request came whose answer has the token.
    arrived: Instant,
}

/// Who is further than was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// This writer of a stream.
    Writer(Place),
    /// Some writer of the stream with this field.
    Field(u8),
}

// === impl Marks ===

impl Marks {
    /// Takes note of a mark, unless a later one was noted already.
    pub fn raise(&mut self, mark: Mark) {
        match mark {
            Mark::At(place, position) => match self.places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, at)) => *at = position.max(*at),
                None => self.places.push((place, position)),
            },
            Mark::Moment(moment) => self.moment = self.moment.max(Some(moment)),
        }
    }

    /// Takes note of all these marks.
    pub fn raise_all(&mut self, other: &Marks) {
        for (place, position) in &other.places {
            self.raise(Mark::At(*place, *position));
        }
        self.moment = self.moment.max(other.moment);
    }

    /// Puts a place where it is now, be it further or back.
    pub fn set(&mut self, place: Place, position: i64) {
        match self.places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, at)) => *at = position,
            None => self.places.push((place, position)),
        }
    }

    /// Forgets a place.
    pub fn forget(&mut self, place: Place) {
        self.places.retain(|(known, _)| *known != place);
    }

    /// Where a place is.
    pub fn get(&self, place: Place) -> Option<i64> {
        self.places.iter().find(|(known, _)| *known == place).map(|(_, position)| *position)
    }

    /// How far the furthest writer of a field is.
    pub fn furthest(&self, field: u8) -> Option<i64> {
        self.places.iter().filter(|(place, _)| place.field == field).map(|(_, position)| *position).max()
    }

    /// Every place with its position.
    pub fn places(&self) -> &[(Place, i64)] {
        &self.places
    }
}

// === impl Point ===

impl Point {
    /// Where a token stands that came with the answer to a request of this moment; `None` if it names a writer that is
    /// not known.
    pub fn new(token: &SyncToken, arrived: Instant, writers: &Writers) -> Option<Point> {
        let mut point = Point { least: [0; FIELDS_MAX], further: Box::default(), untold: 0, arrived };
        let mut further = Vec::new();
        for (index, (field, least)) in token.fields().iter().zip(&mut point.least).enumerate() {
            *least = field.least;
            point.untold |= u16::from(token.is_untold(index)) << index;
            for (id, position) in &field.further {
                let place = Place { field: u8::try_from(index).ok()?, writer: writers.of_id(*id)? };
                further.push((place, *position));
            }
        }
        point.further = further.into();
        Some(point)
    }

    /// Whether what happened then is behind the token: its answer would have told of it, if any does.
    pub fn covers(&self, mark: Mark) -> bool {
        match mark {
            Mark::At(place, position) => {
                if self.untold & 1_u16.checked_shl(place.field.into()).unwrap_or(0) != 0 {
                    return true;
                }
                let least = self.least.get(usize::from(place.field)).is_some_and(|least| position <= *least);
                least || self.further.iter().any(|(known, at)| *known == place && position <= *at)
            }
            Mark::Moment(moment) => moment + MARGIN < self.arrived,
        }
    }

    /// Whether all of these are behind the token.
    pub fn covers_all(&self, marks: &Marks) -> bool {
        marks.moment.is_none_or(|moment| self.covers(Mark::Moment(moment)))
            && marks.places.iter().all(|(place, position)| self.covers(Mark::At(*place, *position)))
    }

    /// The fields, and the writers of a field where the token names them, that are further than was seen.
    pub fn beyond<'point>(&'point self, seen: &'point Marks) -> impl Iterator<Item = (Beyond, i64)> + 'point {
        let named = self.further.iter().filter(|(place, at)| seen.get(*place).is_none_or(|seen| *at > seen));
        let named = named.map(|(place, at)| (Beyond::Writer(*place), *at));
        let counted = (0_u8..).zip(&self.least).filter(|(field, _)| LAYOUT[usize::from(*field)].is_some());
        // A field whose writers have told nothing says nothing.
        let least = counted.filter(|(field, least)| seen.furthest(*field).is_some_and(|seen| **least > seen));
        named.chain(least.map(|(field, least)| (Beyond::Field(field), *least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::Stream;

    fn writers() -> Writers {
        let mut writers = Writers::default();
        for (id, name) in [(1, "w1"), (2, "w2")] {
            writers.learn_id(id, name);
        }
        writers
    }

    #[test]
    fn a_writer_is_compared_with_its_own_position() {
        let (now, mut writers) = (Instant::now(), writers());
        let point = Point::new(&SyncToken::parse("m5~2.9_3_1").unwrap(), now, &writers).unwrap();
        let table = [
            (Stream::Events, "w1", 5, true),
            (Stream::Events, "w1", 6, false),
            (Stream::Events, "w2", 9, true),
            (Stream::Events, "w2", 10, false),
            (Stream::Events, "w3", 5, true),
            (Stream::Events, "w3", 6, false),
            (Stream::Presence, "w2", 3, true),
            (Stream::Presence, "w2", 4, false),
            // The token is of a time when there was no such stream.
            (Stream::ProfileUpdates, "w1", 1, false),
        ];
        for (stream, writer, position, expected) in table {
            let mark = Mark::At(writers.place(stream, writer).unwrap(), position);
            assert_eq!(point.covers(mark), expected, "{stream:?} {writer} {position}");
            let mut marks = Marks::default();
            marks.raise(mark);
            assert_eq!(point.covers_all(&marks), expected, "{stream:?} {writer} {position}");
        }
    }

    #[test]
    fn what_a_kind_of_sync_never_tells_is_behind_it() {
        let (now, mut writers) = (Instant::now(), writers());
        let point = Point::new(&SyncToken::parse_sliding("1/s5_3_1").unwrap(), now, &writers).unwrap();
        let places = [Stream::Presence, Stream::Typing].map(|stream| writers.place(stream, "w1").unwrap());
        assert_eq!(places.map(|place| point.covers(Mark::At(place, 9))), [true, false]);
        // A row that is told of in a token was seen by Synapse, whoever it concerns.
        let mut seen = Marks::default();
        seen.set(places[0], 2);
        assert_eq!(point.beyond(&seen).collect::<Vec<_>>(), [(Beyond::Field(1), 3)]);
    }

    #[test]
    fn moments_are_compared_with_some_to_spare() {
        let now = Instant::now();
        let point = Point::new(&SyncToken::parse("s1").unwrap(), now + MARGIN * 5, &writers()).unwrap();
        let table = [(0, true), (3_999, true), (4_000, false), (5_000, false), (6_000, false)];
        for (milliseconds, expected) in table {
            let mark = Mark::Moment(now + Duration::from_millis(milliseconds));
            assert_eq!(point.covers(mark), expected, "{milliseconds}");
        }
    }

    #[test]
    fn unknown_numbers_are_not_guessed() {
        let token = SyncToken::parse("m5~3.9").unwrap();
        assert_eq!(Point::new(&token, Instant::now(), &writers()), None);
    }

    #[test]
    fn marks_only_rise_unless_set() {
        let (mut marks, mut writers) = (Marks::default(), writers());
        let place = writers.place(Stream::Typing, "w1").unwrap();
        for position in [3, 7, 5] {
            marks.raise(Mark::At(place, position));
        }
        assert_eq!((marks.get(place), marks.furthest(2), marks.furthest(3)), (Some(7), Some(7), None));
        marks.set(place, 1);
        assert_eq!(marks.get(place), Some(1));
    }

    #[test]
    fn what_is_beyond_the_seen_is_found() {
        let (now, mut writers) = (Instant::now(), writers());
        let (w1, w2) = (writers.place(Stream::Events, "w1").unwrap(), writers.place(Stream::Events, "w2").unwrap());
        let mut seen = Marks::default();
        seen.set(w1, 5);
        seen.set(w2, 8);
        let beyond = |text: &str| -> Vec<(Beyond, i64)> {
            Point::new(&SyncToken::parse(text).unwrap(), now, &writers).unwrap().beyond(&seen).collect()
        };
        assert_eq!(beyond("s8_100_3"), []);
        assert_eq!(beyond("s9"), [(Beyond::Field(0), 9)]);
        assert_eq!(beyond("m5~2.8"), []);
        assert_eq!(beyond("m5~2.9~1.6"), [(Beyond::Writer(w2), 9), (Beyond::Writer(w1), 6)]);
    }
}
