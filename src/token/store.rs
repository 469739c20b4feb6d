//! What is known of tokens. Bounded: at the bound, tokens that nobody asks for make room.
//!
//! A token is forgotten by itself when its time is over. One token, or a user's or a device's, are forgotten by a note
//! of the moment: whatever was asked about them up to then is not believed any more. So no index has to be kept by user, and
//! an answer that was under way at the moment of a logout teaches nothing. Notes end with the lifetime of what they are
//! about; when there are too many, they are folded into one note about everybody. To forget too much costs a question
//! to Synapse, to forget too little is what must not happen.
//!
//! Times are whole seconds since the start, to keep an entry small; within one second the note wins.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::TokenHash;

/// The most notes that are kept apart.
const NOTES_MAX: usize = 65_536;

/// Who is behind a token, as Synapse's answer to `/account/whoami` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user id with the device id behind it: one allocation for both.
    ids: Arc<str>,
    user_bytes: u32,
    has_device: bool,
    kind: CallerKind,
}

/// What kind of user is behind a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// Somebody with an account.
    User,
    /// A guest.
    Guest,
}

impl Caller {
    /// A caller; application services and tokens of administrators have no device.
    pub fn new(user_id: &str, device_id: Option<&str>, kind: CallerKind) -> Self {
        let ids = [user_id, device_id.unwrap_or_default()].concat().into();
        let user_bytes = u32::try_from(user_id.len()).unwrap_or(u32::MAX);
        Caller { ids, user_bytes, has_device: device_id.is_some(), kind }
    }

    /// The user id.
    pub fn user_id(&self) -> &str {
        self.ids.get(..self.user_bytes as usize).unwrap_or_default()
    }

    /// The device id, if there is one.
    pub fn device_id(&self) -> Option<&str> {
        self.ids.get(self.user_bytes as usize..).filter(|_| self.has_device)
    }

    /// What kind of user it is.
    pub fn kind(&self) -> CallerKind {
        self.kind
    }
}

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
    asked: u32,
    ends: u32,
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

    /// Who is behind a token, if that is known.
    pub fn get(&self, hash: TokenHash, now: Instant) -> Option<Caller> {
        let entry = self.cache.get(&hash)?;
        if self.second(now) >= entry.ends || entry.asked <= self.forgotten_until(hash, &entry.caller) {
            self.cache.remove(&hash);
            return None;
        }
        Some(entry.caller)
    }

    /// Takes note of an answer of Synapse's to a question that was asked at `asked`. `valid_for` is how long the token
    /// is said to be good, from that moment.
    pub fn learn(&self, hash: TokenHash, caller: Caller, asked: Instant, valid_for: Option<Duration>) {
        let lifetime = valid_for.map_or(self.lifetime, |valid| valid.min(self.lifetime));
        let entry = Entry { caller, asked: self.second(asked), ends: self.second(asked + lifetime) };
        self.cache.insert(hash, entry);
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
        self.cache.clear();
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

    /// Seconds since the start, from 1 on.
    fn second(&self, moment: Instant) -> u32 {
        let passed = moment.saturating_duration_since(self.begun).as_secs();
        u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenHasher;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    fn caller(user: &str, device: Option<&str>) -> Caller {
        Caller::new(user, device, CallerKind::User)
    }

    #[test]
    fn a_caller_tells_its_parts() {
        for device in [None, Some(""), Some("D")] {
            let caller = Caller::new("@a:b", device, CallerKind::Guest);
            assert_eq!((caller.user_id(), caller.device_id(), caller.kind()), ("@a:b", device, CallerKind::Guest));
        }
    }

    #[test]
    fn a_token_is_known_for_its_time() {
        let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
        let tokens = Tokens::new(10, HOUR, now);
        let (long, short) = (hasher.hash("long"), hasher.hash("short"));
        tokens.learn(long, caller("@a:b", Some("D")), now, None);
        tokens.learn(short, caller("@a:b", Some("D")), now, Some(SECOND * 60));
        let table = [(long, 0, true), (short, 59, true), (short, 60, false), (long, 3_599, true), (long, 3_600, false)];
        for (hash, seconds, known) in table {
            assert_eq!(tokens.get(hash, now + SECOND * seconds).is_some(), known, "{seconds}");
        }
    }

    #[test]
    fn what_is_forgotten_is_forgotten_and_nothing_else() {
        type Forget = fn(&Tokens, TokenHash, Instant);
        let table: [(Forget, [bool; 4]); 4] = [
            (|tokens, hash, now| tokens.forget_token_hash(hash, now), [false, true, true, true]),
            (|tokens, _, now| tokens.forget_device("@a:b", "D", now), [false, true, true, true]),
            (|tokens, _, now| tokens.forget_user("@a:b", now), [false, false, false, true]),
            (|tokens, _, now| tokens.forget_all(now), [false, false, false, false]),
        ];
        for (place, (forget, known)) in table.into_iter().enumerate() {
            let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
            let tokens = Tokens::new(10, HOUR, now);
            let callers = [("@a:b", Some("D")), ("@a:b", Some("E")), ("@a:b", None), ("@c:b", Some("D"))].map(
                |(user, device)| {
                    let hash = hasher.hash(&format!("{user}{device:?}"));
                    tokens.learn(hash, caller(user, device), now, None);
                    hash
                },
            );
            forget(&tokens, callers[0], now + SECOND);
            assert_eq!(callers.map(|hash| tokens.get(hash, now + SECOND).is_some()), known, "{place}");
            // What was asked before the moment teaches nothing, what is asked afterwards does.
            tokens.learn(callers[0], caller("@a:b", Some("D")), now + SECOND, None);
            assert_eq!(tokens.get(callers[0], now + SECOND * 2), None, "{place}");
            tokens.learn(callers[0], caller("@a:b", Some("D")), now + SECOND * 2, None);
            assert!(tokens.get(callers[0], now + SECOND * 2).is_some(), "{place}");
        }
    }

    #[test]
    fn tokens_and_notes_are_bounded() {
        let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
        let tokens = Tokens::new(100, HOUR, now);
        for number in 0..10_000 {
            tokens.learn(hasher.hash(&number.to_string()), caller("@a:b", None), now, None);
        }
        let known = (0..10_000).filter(|number| tokens.get(hasher.hash(&number.to_string()), now).is_some()).count();
        assert!((1..=110).contains(&known), "{known}");
        let last = hasher.hash("last");
        tokens.learn(last, caller("@c:b", None), now, None);
        for number in 0..=NOTES_MAX {
            tokens.forget_user(&number.to_string(), now + SECOND);
        }
        assert!(tokens.notes.read().unwrap().until.len() <= NOTES_MAX);
        // Too many notes are one about everybody.
        assert_eq!(tokens.get(last, now + SECOND), None);
    }

    /// Alone in its process, since it looks at the whole process's memory:
    /// `cargo test --lib a_million_tokens -- --ignored`.
    #[test]
    #[ignore = "looks at the memory of the whole process"]
    fn a_million_tokens_are_small() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
        let before = resident();
        let tokens = Tokens::new(1_000_000, HOUR, now);
        for number in 0..1_000_000 {
            let user = format!("@somebody-{number:07}:matrix.example.org");
            tokens.learn(hasher.hash(&number.to_string()), caller(&user, Some("ABCDEFGHIJ")), now, None);
        }
        let grown = (resident() - before) / 1024;
        assert!(grown <= 200, "{grown} MiB");
        assert!(tokens.cache.len() > 900_000, "{}", tokens.cache.len());
        println!("{grown} MiB for {} tokens", tokens.cache.len());
    }
}
