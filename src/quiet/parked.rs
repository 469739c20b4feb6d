//! Who is parked: found by user, woken once, forgotten at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;
use tokio::sync::oneshot;

use super::kept::Record;
use super::ledger::NameHasher;
use super::members::UserIndex;
use super::names::Name;
use super::verdict::WakeReason;

/// The most syncs of one user that are parked.
const PER_USER_MAX: usize = 64;

/// Everybody who is parked.
#[derive(Debug, Default)]
pub struct ParkedSet {
    waiters: Slab<Waiter>,
    by_user: Vec<Vec<u32>>,
    /// Whose a token is, and how many are parked with it.
    by_token: HashMap<Name, (UserIndex, u32), BuildHasherDefault<NameHasher>>,
    serial: u32,
}

/// One parked sync.
#[derive(Debug)]
struct Waiter {
    record: Arc<Record>,
    wake: oneshot::Sender<Woken>,
    user: UserIndex,
    serial: u32,
}

/// The place of a parked sync. Its slot may be another's after it was woken, which the serial tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    slot: u32,
    serial: u32,
}

/// What a parked sync is told when it is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    /// Why.
    pub reason: WakeReason,
    /// Until when it should wait before it is forwarded, so that not all are at once; `None` for not at all.
    pub until: Option<Instant>,
}

/// Somebody who is to be told. That is done where nobody waits for it.
#[derive(Debug)]
pub struct Wake {
    wake: oneshot::Sender<Woken>,
    woken: Woken,
}

// === impl ParkedSet ===

impl ParkedSet {
    /// Parks a sync of this user; `None` if the user has too many.
    pub fn insert(&mut self, user: UserIndex, record: Arc<Record>) -> Option<(Ticket, oneshot::Receiver<Woken>)> {
        if self.by_user.len() <= user.index() {
            self.by_user.resize_with(user.index() + 1, Vec::new);
        }
        let of_user = self.by_user.get_mut(user.index()).filter(|of_user| of_user.len() < PER_USER_MAX)?;
        let (wake, woken) = oneshot::channel();
        let serial = self.serial;
        self.serial = serial.wrapping_add(1);
        let (_, count) = self.by_token.entry(record.subject.token).or_insert((user, 0));
        *count += 1;
        let slot = u32::try_from(self.waiters.insert(Waiter { record, wake, user, serial })).ok()?;
        of_user.push(slot);
        Some((Ticket { slot, serial }, woken))
    }

    /// Forgets a sync; `false` if it was woken already.
    pub fn remove(&mut self, ticket: Ticket) -> bool {
        let slot = ticket.slot as usize;
        let is_there = self.waiters.get(slot).is_some_and(|waiter| waiter.serial == ticket.serial);
        is_there && self.take(slot).is_some()
    }

    /// Wakes those of a user's syncs that are meant.
    pub fn wake(
        &mut self,
        user: UserIndex,
        reason: WakeReason,
        is_meant: impl Fn(&Record) -> bool,
        wakes: &mut Vec<Wake>,
    ) {
        let Some(of_user) = self.by_user.get(user.index()) else { return };
        let mut place = 0;
        let mut next = of_user.first().copied();
        while let Some(slot) = next {
            if self.waiters.get(slot as usize).is_some_and(|waiter| is_meant(&waiter.record)) {
                let taken = self.take(slot as usize);
                wakes.extend(taken.map(|waiter| Wake::new(waiter, reason, None)));
            } else {
                place += 1;
            }
            next = self.by_user.get(user.index()).and_then(|of_user| of_user.get(place)).copied();
        }
    }

    /// Whose a token is, if anybody is parked with it.
    pub fn user_of(&self, token: Name) -> Option<UserIndex> {
        self.by_token.get(&token).map(|(user, _)| *user)
    }

    /// Wakes all who are meant, each at a moment of its own.
    pub fn wake_all(
        &mut self,
        reason: WakeReason,
        is_meant: impl Fn(&Record) -> bool,
        mut until: impl FnMut() -> Instant,
        wakes: &mut Vec<Wake>,
    ) {
        let meant = self.waiters.iter().filter(|(_, waiter)| is_meant(&waiter.record)).map(|(slot, _)| slot);
        for slot in meant.collect::<Vec<_>>() {
            let taken = self.take(slot);
            wakes.extend(taken.map(|waiter| Wake::new(waiter, reason, Some(until()))));
        }
    }

    /// Whether a user has a sync parked.
    pub fn has(&self, user: UserIndex) -> bool {
        self.by_user.get(user.index()).is_some_and(|of_user| !of_user.is_empty())
    }

    /// How many are parked.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Takes a waiter out of all there is.
    fn take(&mut self, slot: usize) -> Option<Waiter> {
        let waiter = self.waiters.try_remove(slot)?;
        if let Some(of_user) = self.by_user.get_mut(waiter.user.index()) {
            of_user.retain(|known| *known as usize != slot);
            if of_user.is_empty() {
                // Most users who wait no longer will not wait here again soon.
                *of_user = Vec::new();
            }
        }
        if let Entry::Occupied(mut token) = self.by_token.entry(waiter.record.subject.token) {
            token.get_mut().1 -= 1;
            if token.get().1 == 0 {
                token.remove();
            }
        }
        Some(waiter)
    }
}

// === impl Wake ===

impl Wake {
    fn new(waiter: Waiter, reason: WakeReason, until: Option<Instant>) -> Self {
        Wake { wake: waiter.wake, woken: Woken { reason, until } }
    }

    /// What it will be told.
    pub fn woken(&self) -> Woken {
        self.woken
    }

    /// Tells it, unless it has gone meanwhile.
    pub fn send(self) {
        let _ = self.wake.send(self.woken);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::HashMap;

    use super::*;
    use crate::quiet::kept::KeptAnswer;
    use crate::quiet::ledger::Subject;
    use crate::quiet::marks::Point;
    use crate::quiet::members::Members;
    use crate::quiet::names::Namer;
    use crate::quiet::since::SyncToken;
    use crate::quiet::writers::Writers;

    fn record(token: Name) -> Arc<Record> {
        let answer =
            KeptAnswer { headers: [].into(), body: bytes::Bytes::new(), next: "s1".into(), to_device_next: None };
        let now = Instant::now();
        let point = Point::new(&SyncToken::parse("s1").unwrap(), now, &Writers::default()).unwrap();
        let subject = Subject { user: token, device: token, token };
        Arc::new(Record { answer: Arc::new(answer), point, subject, learned: now })
    }

    /// What happens to three users with two tokens each.
    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize, usize),
        Remove(usize),
        Wake(usize, Option<usize>),
        WakeAll(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_usize, 0..2_usize).prop_map(|(user, token)| Step::Insert(user, token)),
            2 => (0..20_usize).prop_map(Step::Remove),
            1 => (0..3_usize, prop::option::of(0..2_usize)).prop_map(|(user, token)| Step::Wake(user, token)),
            1 => (0..2_usize).prop_map(Step::WakeAll),
        ]
    }

    proptest! {
        /// Whoever is parked is woken or removed once, by whom it concerns; and nothing is left.
        #[test]
        fn everybody_ends_once(steps in prop::collection::vec(step(), 0..100)) {
            let (mut set, namer, now) = (ParkedSet::default(), Namer::default(), Instant::now());
            let mut members = Members::new(10, 10);
            let users = ["@a", "@b", "@c"].map(|name| members.using(name, now).unwrap());
            let token = |user: usize, token: usize| namer.user(&format!("{user}{token}"));
            // All that ever was, and whether it is parked still.
            let mut all: Vec<(usize, usize, Ticket, oneshot::Receiver<Woken>)> = Vec::new();
            let mut parked: HashMap<usize, ()> = HashMap::new();
            for step in steps {
                let mut wakes = Vec::new();
                let mut gone: Vec<usize> = Vec::new();
                match step {
                    Step::Insert(user, number) => {
                        let (ticket, woken) = set.insert(users[user], record(token(user, number))).unwrap();
                        parked.insert(all.len(), ());
                        all.push((user, number, ticket, woken));
                    }
                    Step::Remove(place) if place < all.len() => {
                        let is_parked = parked.remove(&place).is_some();
                        prop_assert_eq!(set.remove(all[place].2), is_parked);
                    }
                    Step::Remove(_) => {}
                    Step::Wake(user, number) => {
                        let is_meant = |record: &Record| number.is_none_or(|number| record.subject.token == token(user, number));
                        set.wake(users[user], WakeReason::Keys, is_meant, &mut wakes);
                        let is_gone = |place: &&usize| all[**place].0 == user && number.is_none_or(|number| all[**place].1 == number);
                        gone = parked.keys().filter(is_gone).copied().collect();
                    }
                    Step::WakeAll(number) => {
                        let is_meant = |record: &Record| (0..3).any(|user| record.subject.token == token(user, number));
                        set.wake_all(WakeReason::Switched, is_meant, || now, &mut wakes);
                        gone = parked.keys().filter(|place| all[**place].1 == number).copied().collect();
                    }
                }
                prop_assert_eq!(wakes.len(), gone.len());
                wakes.into_iter().for_each(Wake::send);
                for place in gone {
                    prop_assert!(all[place].3.try_recv().is_ok());
                    parked.remove(&place);
                }
                prop_assert_eq!(set.len(), parked.len());
                for (user, index) in users.iter().enumerate() {
                    prop_assert_eq!(set.has(*index), parked.keys().any(|place| all[*place].0 == user));
                    for number in 0..2 {
                        let has = parked.keys().any(|place| all[*place].0 == user && all[*place].1 == number);
                        prop_assert_eq!(set.user_of(token(user, number)), has.then_some(*index));
                    }
                }
            }
        }
    }
}
