//! The places at one process and whose turn it is, as a pure state: who gets a place at once, who waits, who is next.
//!
//! Requests of one class wait in a line of their own, first come, first served. A place that becomes free goes to the
//! next line in turn, so that a flood of one class costs another class the wait for one turn and no more; and a line is
//! bounded by itself, so that the flood is refused where it is and fills no other's line.
//!
//! Turns alone are not enough where the places themselves are held for long: a thousand long-polls hold a thousand
//! places for half a minute each, as do first syncs on a bad day. So no class holds them all: an eighth of the places is
//! out of its reach, and long-polls, whatever their class, count as one there. That eighth is what keeps a login or a send
//! from waiting for a poll's end. Long-polls do count besides, because each costs a connection to the process. A process
//! that serves one class alone is therefore given seven eighths of its places, and is the better for it when something
//! else comes.
//!
//! Not here: waiting itself, and for how long (`queue`).

use std::collections::VecDeque;

use crate::endpoint::Class;

/// The part of the places that no class can take alone: an eighth.
const RESERVE: usize = 8;

const CLASSES: usize = Class::ALL.len();

/// The places at one process. `T` is what is known of a request that waits.
#[derive(Debug)]
pub struct Turns<T> {
    places: usize,
    /// The most places that one class holds.
    share: usize,
    line_max: usize,
    held: usize,
    held_by: [usize; CLASSES],
    held_by_polls: usize,
    waiting: usize,
    lines: [VecDeque<(u64, T)>; CLASSES],
    /// The class whose line had the last turn.
    last: usize,
    next_number: u64,
}

/// What becomes of a request that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has a place.
    Placed,
    /// It waits, under this number.
    Waits(u64),
    /// As many of its class wait as may.
    Refused,
}

impl<T> Turns<T> {
    /// A process with so many places, and a line of at most `line_max` requests for each class.
    pub fn new(places: usize, line_max: usize) -> Self {
        Turns {
            places,
            share: places.saturating_sub(places.div_ceil(RESERVE)).max(1),
            line_max,
            held: 0,
            held_by: [0; CLASSES],
            held_by_polls: 0,
            waiting: 0,
            lines: std::array::from_fn(|_| VecDeque::new()),
            last: 0,
            next_number: 0,
        }
    }

    /// How many places are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many places are held by requests that the process is at work on: by all but polls, which wait there.
    pub fn at_work(&self) -> usize {
        self.held.saturating_sub(self.held_by_polls)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many requests of a class wait.
    pub fn waiting_of(&self, class: Class) -> usize {
        self.lines[class.index()].len()
    }

    /// A request arrives. `request` is asked for only if it has to wait. Nobody is overtaken: whoever waits while a place
    /// is free waits for its class's share.
    pub fn arrive(&mut self, class: Class, request: impl FnOnce() -> T) -> Arrival {
        if self.may_hold_more(class) {
            self.take_place(class);
            return Arrival::Placed;
        }
        let line = &mut self.lines[class.index()];
        if line.len() >= self.line_max {
            return Arrival::Refused;
        }
        let number = self.next_number;
        line.push_back((number, request()));
        self.next_number += 1;
        self.waiting += 1;
        Arrival::Waits(number)
    }

    /// A place of this class becomes free. Whoever is next has it from now on.
    pub fn leave(&mut self, class: Class) -> Option<(Class, T)> {
        self.held = self.held.saturating_sub(1);
        let held = &mut self.held_by[class.index()];
        *held = held.saturating_sub(1);
        self.held_by_polls = self.held_by_polls.saturating_sub(class.is_poll().into());
        if self.waiting == 0 {
            return None;
        }
        let in_turn = (1..=CLASSES).map(|step| Class::ALL[(self.last + step) % CLASSES]);
        let mut in_turn = in_turn.filter(|class| !self.lines[class.index()].is_empty());
        let next = in_turn.find(|class| self.may_hold_more(*class))?;
        let (_, request) = self.lines[next.index()].pop_front()?;
        self.waiting -= 1;
        self.last = next.index();
        self.take_place(next);
        Some((next, request))
    }

    /// A request waits no longer. One that has its place by now is no longer in line, and stays unharmed.
    pub fn give_up(&mut self, class: Class, number: u64) {
        let line = &mut self.lines[class.index()];
        if let Ok(place) = line.binary_search_by_key(&number, |(number, _)| *number) {
            line.remove(place);
            self.waiting -= 1;
        }
    }

    fn take_place(&mut self, class: Class) {
        self.held += 1;
        self.held_by[class.index()] += 1;
        self.held_by_polls += usize::from(class.is_poll());
    }

    fn may_hold_more(&self, class: Class) -> bool {
        let held_by_alike = match class.is_poll() {
            true => self.held_by_polls,
            false => self.held_by[class.index()],
        };
        self.held < self.places && held_by_alike < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrive(turns: &mut Turns<u32>, class: Class, times: u32) -> Vec<Arrival> {
        (0..times).map(|number| turns.arrive(class, || number)).collect()
    }

    /// The classes of those who are given places, while `class` gives up one after the other.
    fn served(turns: &mut Turns<u32>, class: Class, times: u32) -> Vec<Class> {
        (0..times).filter_map(|_| turns.leave(class)).map(|(class, _)| class).collect()
    }

    #[test]
    fn a_share_of_the_places_is_out_of_one_classs_reach() {
        use Class::{EventSend, InitialSync, SlidingSync, Sync};
        // Places, who arrives, and how many of each are given a place.
        let table = [
            (1, &[(InitialSync, 3), (EventSend, 1)][..], &[1, 0][..]),
            (2, &[(InitialSync, 3), (EventSend, 1)], &[1, 1]),
            (8, &[(InitialSync, 10), (EventSend, 10)], &[7, 1]),
            (80, &[(Sync, 100), (EventSend, 100)], &[70, 10]),
            (80, &[(Sync, 40), (SlidingSync, 40), (EventSend, 100)], &[40, 30, 10]),
            (80, &[(SlidingSync, 100), (Sync, 1)], &[70, 0]),
            (0, &[(EventSend, 1)], &[0]),
        ];
        for (places, arrivals, expected) in table {
            let mut turns = Turns::new(places, 1000);
            let placed = arrivals.iter().map(|(class, times)| {
                let arrivals = arrive(&mut turns, *class, *times);
                arrivals.iter().filter(|arrival| **arrival == Arrival::Placed).count()
            });
            assert_eq!(placed.collect::<Vec<_>>(), expected, "{places} {arrivals:?}");
        }
    }

    #[test]
    fn a_full_line_refuses_its_own_class_alone() {
        let mut turns = Turns::new(1, 2);
        let expected = [Arrival::Placed, Arrival::Waits(0), Arrival::Waits(1), Arrival::Refused];
        assert_eq!(arrive(&mut turns, Class::InitialSync, 4), expected);
        assert_eq!(arrive(&mut turns, Class::EventSend, 1), [Arrival::Waits(2)]);
        assert_eq!((turns.waiting(), turns.waiting_of(Class::InitialSync)), (3, 2));
    }

    #[test]
    fn lines_take_turns_and_a_line_is_served_in_its_order() {
        use Class::{EventSend, InitialSync, Login};
        let mut turns = Turns::new(1, 10);
        arrive(&mut turns, InitialSync, 5);
        arrive(&mut turns, EventSend, 2);
        arrive(&mut turns, Login, 1);
        let mut holder = InitialSync;
        let mut order = Vec::new();
        while let Some((class, number)) = turns.leave(holder) {
            order.push((class, number));
            holder = class;
        }
        // The flood had the first place; the others' turns come at once.
        let expected = [
            (InitialSync, 1),
            (Login, 0),
            (EventSend, 0),
            (InitialSync, 2),
            (EventSend, 1),
            (InitialSync, 3),
            (InitialSync, 4),
        ];
        assert_eq!(order, expected);
        assert_eq!((turns.held(), turns.waiting()), (0, 0));
    }

    #[test]
    fn a_class_that_holds_its_share_is_passed_over() {
        use Class::{EventSend, Sync};
        let mut turns = Turns::new(8, 100);
        arrive(&mut turns, Sync, 50);
        arrive(&mut turns, EventSend, 3);
        // The reserved place goes from send to send, and to no poll.
        assert_eq!(served(&mut turns, EventSend, 3), [EventSend, EventSend]);
        assert_eq!(turns.waiting(), 43);
        // It is free now, and whoever comes has it at once although so many wait.
        assert_eq!(arrive(&mut turns, EventSend, 1), [Arrival::Placed]);
        assert_eq!(served(&mut turns, Sync, 1), [Sync]);
    }

    #[test]
    fn who_gives_up_leaves_the_line() {
        let mut turns = Turns::new(1, 2);
        assert_eq!(arrive(&mut turns, Class::Login, 3)[1..], [Arrival::Waits(0), Arrival::Waits(1)]);
        turns.give_up(Class::Login, 0);
        turns.give_up(Class::Login, 0);
        assert_eq!(turns.waiting(), 1);
        assert_eq!(turns.leave(Class::Login), Some((Class::Login, 2)));
        turns.give_up(Class::Login, 1);
        assert_eq!((turns.held(), turns.waiting()), (1, 0));
    }

    proptest! {
        /// However requests come, leave and give up: the bounds hold, and nobody waits who could have a place.
        #[test]
        fn the_bounds_hold(places in 0_usize..20, line_max in 0_usize..4, steps in prop::collection::vec((0_u8..4, 0_usize..6), 0..200)) {
            const SEEN: [Class; 6] =
                [Class::Sync, Class::SlidingSync, Class::InitialSync, Class::EventSend, Class::Login, Class::Media];
            let mut turns = Turns::new(places, line_max);
            let (mut held, mut waiting) = (Vec::new(), Vec::new());
            for (what, which) in steps {
                match what {
                    0 | 1 => match turns.arrive(SEEN[which], || ()) {
                        Arrival::Placed => held.push(SEEN[which]),
                        Arrival::Waits(number) => waiting.push((SEEN[which], number)),
                        Arrival::Refused => prop_assert_eq!(turns.waiting_of(SEEN[which]), line_max),
                    },
                    2 if !held.is_empty() => {
                        let class = held.remove(which % held.len());
                        if let Some((next, ())) = turns.leave(class) {
                            let first = waiting.iter().position(|(class, _)| *class == next);
                            waiting.remove(first.expect("somebody who waits"));
                            held.push(next);
                        }
                    }
                    3 if !waiting.is_empty() => {
                        let (class, number) = waiting.remove(which % waiting.len());
                        turns.give_up(class, number);
                    }
                    _ => {}
                }
                prop_assert_eq!((turns.held(), turns.waiting()), (held.len(), waiting.len()));
                prop_assert_eq!(turns.at_work(), held.iter().filter(|class| !class.is_poll()).count());
                prop_assert!(turns.held() <= places);
                for class in SEEN {
                    prop_assert!(turns.waiting_of(class) <= line_max);
                    prop_assert!(turns.waiting_of(class) == 0 || !turns.may_hold_more(class), "{:?} waits", class);
                }
            }
        }
    }
}
