//! Who is in which room, as far as it matters: for users who sync here. Only ever too much, never too little.
//!
//! A user's rooms are asked of the database when the user is first seen, and asked anew when they may have changed. While
//! the question is under way, what the stream tells is added, and joined with the answer: what the stream told before the
//! question began was committed by then, so that the answer has it; what it tells later is added. Rooms are taken away by
//! an answer alone, and not while something told of them since the question began.
//!
//! A user's rooms are *certain* when they are at least the true ones. A user who is only [`Members::stale`] may have rooms
//! too many, and stays certain; one who is in [`Members::doubt`] may have too few.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::ledger::NameHasher;
use super::names::Name;

/// For how long a user may be away before the rooms are forgotten.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How soon a user's rooms may be asked again because some may be too many.
const PAUSE: Duration = Duration::from_secs(5);
/// At how many users more than are asked about is looked.
const LOOKED_AT: usize = 4;
/// At how many users a search for those who are away looks.
const SWEPT: usize = 2048;

/// Who is in which room.
#[derive(Debug)]
pub struct Members {
    users: Slab<User>,
    by_name: HashMap<Arc<str>, UserIndex>,
    by_room: HashMap<Name, Vec<UserIndex>, BuildHasherDefault<NameHasher>>,
    /// Who may have to be asked about.
    wanted: VecDeque<UserIndex>,
    pairs: usize,
    users_max: usize,
    pairs_max: usize,
    serial: u32,
    /// Where the search for users who are away goes on.
    cursor: usize,
}

/// A user, as long as the rooms are not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserIndex(u32);

#[derive(Debug)]
struct User {
    name: Arc<str>,
    /// Sorted.
    rooms: Vec<Name>,
    is_certain: bool,
    is_stale: bool,
    question: Option<Asking>,
    used: Instant,
    asked: Option<Instant>,
}

/// A question that is under way.
#[derive(Debug)]
struct Asking {
    serial: u32,
    /// What the stream has told of meanwhile.
    added: Vec<Name>,
    /// Whether something was missed meanwhile, so that the answer may be too little.
    is_void: bool,
}

/// A question for the database: which rooms is this user in?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The user.
    pub user: UserIndex,
    /// The user's id.
    pub name: Arc<str>,
    serial: u32,
}

// === impl Members ===

impl Members {
    /// Knows nobody yet.
    pub fn new(users_max: usize, pairs_max: usize) -> Self {
        Members {
            users: Slab::new(),
            by_name: HashMap::new(),
            by_room: HashMap::default(),
            wanted: VecDeque::new(),
            pairs: 0,
            users_max,
            pairs_max,
            serial: 0,
            cursor: 0,
        }
    }

    /// The user of this name, whose rooms will be asked for if they are not known; `None` if too much is known already.
    pub fn using(&mut self, name: &str, now: Instant) -> Option<UserIndex> {
        if let Some(index) = self.by_name.get(name) {
            if let Some(user) = self.users.get_mut(index.index()) {
                user.used = now;
            }
            return Some(*index);
        }
        if self.users.len() >= self.users_max || self.pairs >= self.pairs_max {
            return None;
        }
        let name: Arc<str> = name.into();
        let user = User {
            name: Arc::clone(&name),
            rooms: Vec::new(),
            is_certain: false,
            is_stale: true,
            question: None,
            used: now,
            asked: None,
        };
        let index = UserIndex(u32::try_from(self.users.insert(user)).ok()?);
        self.by_name.insert(name, index);
        self.wanted.push_back(index);
        Some(index)
    }

    /// The user of this name, if the user syncs here.
    pub fn find(&self, name: &str) -> Option<UserIndex> {
        self.by_name.get(name).copied()
    }

    /// The rooms of a user; `None` while they may be too few.
    pub fn rooms(&self, user: UserIndex) -> Option<&[Name]> {
        self.users.get(user.index()).filter(|user| user.is_certain).map(|user| user.rooms.as_slice())
    }

    /// Who is in a room.
    pub fn in_room(&self, room: Name) -> &[UserIndex] {
        self.by_room.get(&room).map_or(&[], Vec::as_slice)
    }

    /// A user may have come into a room, or left it. Returns the user if the room was not known to be one of the user's:
    /// then what has happened there already may be news.
    pub fn moved(&mut self, room: Name, name: &str) -> Option<UserIndex> {
        let index = self.find(name)?;
        self.want(index);
        self.add(index, room).then_some(index)
    }

    /// A user has come into a room; the rooms need not be asked for again. Returns the same.
    pub fn joined(&mut self, room: Name, name: &str) -> Option<UserIndex> {
        let index = self.find(name)?;
        self.add(index, room).then_some(index)
    }

    /// Users of this room may not be in it any more.
    pub fn stale(&mut self, room: Name) {
        for index in self.in_room(room).to_vec() {
            self.want(index);
        }
    }

    /// A user may have rooms that are not known.
    pub fn doubt(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.doubt_user(index);
        }
    }

    /// Every user may.
    pub fn doubt_all(&mut self) {
        let all: Vec<UserIndex> = self.by_name.values().copied().collect();
        all.into_iter().for_each(|index| self.doubt_user(index));
    }

    /// Whom to ask about now, so many at most. Each is to be answered or failed.
    pub fn questions(&mut self, count_max: usize, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        // Those who have to wait go to the end, where they are not looked at again at once.
        for _ in 0..self.wanted.len().min(LOOKED_AT * count_max) {
            if questions.len() >= count_max {
                break;
            }
            let Some(index) = self.wanted.pop_front() else { break };
            let Some(user) = self.users.get_mut(index.index()).filter(|user| user.is_stale) else { continue };
            let is_soon = user.asked.is_some_and(|asked| now < asked + PAUSE);
            if user.question.is_some() || user.is_certain && is_soon {
                self.wanted.push_back(index);
                continue;
            }
            self.serial = self.serial.wrapping_add(1);
            user.is_stale = false;
            user.asked = Some(now);
            user.question = Some(Asking { serial: self.serial, added: Vec::new(), is_void: false });
            questions.push(Question { user: index, name: Arc::clone(&user.name), serial: self.serial });
        }
        questions
    }

    /// Whether there may be somebody to ask about.
    pub fn has_questions(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The rooms of a user, as they were when the question was put or later. Returns whether the user is certain now.
    pub fn answered(&mut self, question: &Question, rooms: impl IntoIterator<Item = Name>) -> bool {
        let index = question.user;
        let Some(user) = self.users.get_mut(index.index()) else { return false };
        let Some(asking) = user.question.take_if(|asking| asking.serial == question.serial) else { return false };
        let mut rooms: Vec<Name> = rooms.into_iter().chain(asking.added).collect();
        if asking.is_void {
            // The answer may be too little by now, and what was known before may be, too.
            rooms.extend_from_slice(&user.rooms);
        }
        user.is_certain = !asking.is_void;
        rooms.sort_unstable();
        rooms.dedup();
        rooms.shrink_to_fit();
        self.replace(index, rooms);
        !asking.is_void
    }

    /// A question was not answered; it will be put again.
    pub fn failed(&mut self, question: &Question) {
        if let Some(user) = self.users.get_mut(question.user.index())
            && user.question.take_if(|asking| asking.serial == question.serial).is_some()
        {
            self.want(question.user);
        }
    }

    /// Forgets who has been away for long, but for those who are `busy`. Looks at some users only, each time at others.
    pub fn forget_idle(&mut self, now: Instant, busy: impl Fn(UserIndex) -> bool) {
        let begin = if self.cursor < self.users.capacity() { self.cursor } else { 0 };
        self.cursor = begin + SWEPT;
        let mut is_any_gone = false;
        for slot in begin..self.cursor {
            let Some(user) = self.users.get(slot) else { continue };
            let Ok(index) = u32::try_from(slot).map(UserIndex) else { continue };
            let is_idle = user.question.is_none() && now.saturating_duration_since(user.used) >= IDLE_MAX;
            if is_idle && !busy(index) {
                self.replace(index, Vec::new());
                let user = self.users.remove(slot);
                self.by_name.remove(&user.name);
                is_any_gone = true;
            }
        }
        if is_any_gone {
            let users = &self.users;
            self.wanted.retain(|index| users.contains(index.index()));
        }
    }

    /// How many users are known.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// How many pairs of user and room are known.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Adds a room; `false` if it was there.
    fn add(&mut self, index: UserIndex, room: Name) -> bool {
        let Some(user) = self.users.get_mut(index.index()) else { return false };
        if let Some(asking) = &mut user.question
            && !asking.added.contains(&room)
        {
            asking.added.push(room);
        }
        let Err(place) = user.rooms.binary_search(&room) else { return false };
        user.rooms.insert(place, room);
        self.by_room.entry(room).or_default().push(index);
        self.pairs += 1;
        true
    }

    fn want(&mut self, index: UserIndex) {
        if let Some(user) = self.users.get_mut(index.index())
            && !user.is_stale
        {
            user.is_stale = true;
            self.wanted.push_back(index);
        }
    }

    fn doubt_user(&mut self, index: UserIndex) {
        if let Some(user) = self.users.get_mut(index.index()) {
            user.is_certain = false;
            if let Some(asking) = &mut user.question {
                asking.is_void = true;
            }
        }
        self.want(index);
    }

    /// Puts a user into these rooms, which are sorted, and out of all others.
    fn replace(&mut self, index: UserIndex, rooms: Vec<Name>) {
        let Some(user) = self.users.get_mut(index.index()) else { return };
        let before = std::mem::replace(&mut user.rooms, rooms);
        for room in before.iter().filter(|room| user.rooms.binary_search(room).is_err()) {
            if let Some(members) = self.by_room.get_mut(room) {
                if let Some(place) = members.iter().position(|member| *member == index) {
                    members.swap_remove(place);
                }
                if members.is_empty() {
                    self.by_room.remove(room);
                }
            }
        }
        for room in user.rooms.iter().filter(|room| before.binary_search(room).is_err()) {
            self.by_room.entry(*room).or_default().push(index);
        }
        self.pairs = self.pairs + user.rooms.len() - before.len();
    }
}

// === impl UserIndex ===

impl UserIndex {
    /// The place in a list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests;
