//! What is known of tokens. Bounded: at the bound, tokens that nobody asks for make room.
//!
//! Who is behind a token never changes; whether the token is still good does. So a token is *believed* only for a while
//! after Synapse has taken it, and every request that Synapse takes renews that; but whose it is stays *known* for as
//! long as there is room, which is enough to choose a process by.
//!
//! One token, or a user's or a device's, are forgotten by a note of the moment: whatever was asked about them up to then
//! is not believed any more. So no index has to be kept by user, and an answer that was under way at the moment of a
//! logout teaches nothing. Notes end with the lifetime of what they are about; when there are too many, they are folded
//! into one note about everybody. To forget too much costs a question to Synapse, to forget too little is what must not
//! happen.
//!
//! Times are whole seconds since the start, to keep an entry small; within one second the note wins.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::{Caller, TokenHash};

/// The most notes that are kept apart.
const NOTES_MAX: usize = 65_536;

/// The tokens that are known.
pub struct Tokens {
    cache: Cache<TokenHash, Entry>,
    lifetime: Duration,
    begun: Instant,
    notes: RwLock<Notes>,
    /// Everything that was asked up to this second is forgotten; 0 is before the first.
    all_until: AtomicU32,
}

#[derive(Clone)]
struct Entry {
    caller: Caller,
    /// When the request began that Synapse last took the token for.
    asked: u32,
    /// When the token expires, as far as that was told.
    expires: u32,
}

/// Whom a note is about.
#[derive(Hash)]
enum About<'name> {
    Token(TokenHash),
    User(&'name str),
    Device(&'name str, &'name str),
}

/// The second up to which is forgotten, by the hash of whom it is about. Two that share a hash are forgotten together.
#[derive(Default)]
struct Notes {
    until: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Tokens {
    /// A store for so many tokens, each believed for `lifetime` at most.
    pub fn new(capacity: usize, lifetime: Duration, now: Instant) -> Self {
        Tokens {
            cache: Cache::new(capacity),
            lifetime,
            begun: now,
            notes: RwLock::default(),
            all_until: AtomicU32::new(0),
        }
    }

    /// Who is behind a token, if that is believed.
    pub fn get(&self, hash: TokenHash, now: Instant) -> Option<Caller> {
        let entry = self.cache.get(&hash)?;
        let is_over = self.second(now) >= self.ends(&entry);
        (!is_over && entry.asked > self.forgotten_until(hash, &entry.caller)).then_some(entry.caller)
    }

    /// Whose token it is or was. Nothing may be answered because of that.
    pub fn owner(&self, hash: TokenHash) -> Option<Caller> {
        self.cache.get(&hash).map(|entry| entry.caller)
    }

    /// Takes note of an answer of Synapse's to a question that was asked at `asked`. `valid_for` is how long the token
    /// is said to be good, from that moment.
    pub fn learn(&self, hash: TokenHash, caller: Caller, asked: Instant, valid_for: Option<Duration>) {
        let end = valid_for.and_then(|valid_for| asked.checked_add(valid_for));
        let expires = end.map_or(u32::MAX, |end| self.second(end));
        self.cache.insert(hash, Entry { caller, asked: self.second(asked), expires });
    }

    /// Takes note that Synapse has taken a known token for a request that began at `asked`.
    pub fn confirm(&self, hash: TokenHash, asked: Instant) {
        let asked = self.second(asked);
        if let Some(entry) = self.cache.get(&hash)
            && entry.asked < asked
        {
            // One that was removed in the meantime has ended, and must not come back.
            let _ = self.cache.replace(hash, Entry { asked, ..entry }, true);
        }
    }

    /// How many tokens are known.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Forgets one token.
    pub fn forget_token_hash(&self, hash: TokenHash, now: Instant) {
        self.note(About::Token(hash), now);
        self.cache.remove(&hash);
    }

    /// Forgets all tokens of a user.
    pub fn forget_user(&self, user_id: &str, now: Instant) {
        self.note(About::User(user_id), now);
    }

    /// Forgets all tokens of a device.
    pub fn forget_device(&self, user_id: &str, device_id: &str, now: Instant) {
        self.note(About::Device(user_id, device_id), now);
    }

    /// Forgets everything, as is right when messages may have been missed.
    pub fn forget_all(&self, now: Instant) {
        self.all_until.fetch_max(self.second(now), Ordering::SeqCst);
    }

    fn note(&self, about: About<'_>, now: Instant) {
        let second = self.second(now);
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        if notes.until.len() >= NOTES_MAX {
            // What was asked before a lifetime ago is believed no more anyway.
            let lifetime = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
            notes.until.retain(|_, until| until.saturating_add(lifetime) >= second);
        }
        if notes.until.len() >= NOTES_MAX {
            notes.until.clear();
            self.all_until.fetch_max(second, Ordering::SeqCst);
        }
        let key = notes.hasher.hash_one(about);
        notes.until.insert(key, second);
    }

    fn forgotten_until(&self, hash: TokenHash, caller: &Caller) -> u32 {
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        let all = self.all_until.load(Ordering::SeqCst);
        if notes.until.is_empty() {
            return all;
        }
        let until = |about: About<'_>| notes.until.get(&notes.hasher.hash_one(about)).copied().unwrap_or_default();
        let device = caller.device_id().map_or(0, |device| until(About::Device(caller.user_id(), device)));
        all.max(until(About::Token(hash))).max(until(About::User(caller.user_id()))).max(device)
    }

    /// The second at which an entry is not believed any more.
    fn ends(&self, entry: &Entry) -> u32 {
        let lifetime = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        entry.asked.saturating_add(lifetime).min(entry.expires)
    }

    /// Seconds since the start, from 1 on.
    fn second(&self, moment: Instant) -> u32 {
        let passed = moment.saturating_duration_since(self.begun).as_secs();
        u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
