//! Synapse's own empty answers, kept to be given again.
//!
//! Whether one may be given is not decided here; only for how long it is remembered, and how many are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::ledger::Subject;
use super::marks::Point;
use super::poll::PollKey;

/// An empty answer of Synapse's, status 200, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The headers that are to be said again: without those of one hop or one moment.
    pub headers: Arc<[(HeaderName, HeaderValue)]>,
    /// The body.
    pub body: Bytes,
    /// Where the answer ends: `next_batch`, or `pos` in sliding sync.
    pub next: Box<str>,
    /// In sliding sync, `next_batch` of the to-device extension if it is there.
    pub to_device_next: Option<Box<str>>,
}

/// An answer with what has to be known to give it again.
#[derive(Debug)]
pub struct Record {
    /// The answer.
    pub answer: Arc<KeptAnswer>,
    /// Where it ends.
    pub point: Point,
    /// For whom it was.
    pub subject: Subject,
    /// When it came.
    pub learned: Instant,
}

/// The answers that are kept, each until it is as old as an answer is remembered, is renewed, or has to make room.
#[derive(Debug)]
pub struct Kept {
    by_key: HashMap<PollKey, Numbered>,
    /// Every answer that came, in order; those that were renewed since are passed over.
    order: VecDeque<(Instant, PollKey, u64)>,
    serial: u64,
    bytes: usize,
    /// Headers that are the same for most, so that they are kept once.
    headers: Vec<Arc<[(HeaderName, HeaderValue)]>>,
    bounds: Bounds,
}

/// An answer with its number in the order in which they came.
type Numbered = (u64, Arc<Record>);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For how long.
    pub age_max: Duration,
    /// How many answers.
    pub count_max: usize,
    /// How many bytes of bodies and tokens.
    pub bytes_max: usize,
}

/// How many different headers are kept once for all.
const HEADERS_MAX: usize = 16;

// === impl KeptAnswer ===

impl KeptAnswer {
    fn bytes(&self) -> usize {
        self.body.len() + self.next.len() + self.to_device_next.as_ref().map_or(0, |token| token.len())
    }
}

// === impl Kept ===

impl Kept {
    /// Keeps nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Kept { by_key: HashMap::new(), order: VecDeque::new(), serial: 0, bytes: 0, headers: Vec::new(), bounds }
    }

    /// The answer that was last kept for requests of this key.
    pub fn get(&self, key: PollKey) -> Option<&Arc<Record>> {
        self.by_key.get(&key).map(|(_, record)| record)
    }

    /// Keeps an answer in place of the one before. At a bound, the oldest make room.
    pub fn keep(&mut self, key: PollKey, mut record: Record) {
        let answer = Arc::make_mut(&mut record.answer);
        match self.headers.iter().find(|known| **known == answer.headers) {
            Some(known) => answer.headers = Arc::clone(known),
            None => {
                self.headers.truncate(HEADERS_MAX - 1);
                self.headers.insert(0, Arc::clone(&answer.headers));
            }
        }
        self.serial += 1;
        self.order.push_back((record.learned, key, self.serial));
        self.bytes += record.answer.bytes();
        if let Some((_, before)) = self.by_key.insert(key, (self.serial, Arc::new(record))) {
            self.bytes -= before.answer.bytes();
        }
        // Renewals leave their elders in line, which is kept no longer than twice as many as there are answers.
        while self.by_key.len() > self.bounds.count_max
            || self.bytes > self.bounds.bytes_max
            || self.order.len() > 2 * self.bounds.count_max
        {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    /// Drops what is too old; how many that were.
    pub fn expire(&mut self, now: Instant) -> usize {
        let before = self.by_key.len();
        let age_max = self.bounds.age_max;
        let is_old = |learned: Instant| now.saturating_duration_since(learned) >= age_max;
        while self.order.front().is_some_and(|(learned, ..)| is_old(*learned)) {
            self.drop_oldest();
        }
        before - self.by_key.len()
    }

    /// All of it, in place of which nothing is kept. To free it takes a while.
    pub fn take(&mut self) -> Kept {
        let empty = Kept { serial: self.serial, ..Kept::new(self.bounds) };
        std::mem::replace(self, empty)
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many bytes of bodies and tokens are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the oldest in line, if that was not renewed since; `false` if there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some((_, key, serial)) = self.order.pop_front() else { return false };
        if self.by_key.get(&key).is_some_and(|(known, _)| *known == serial)
            && let Some((_, record)) = self.by_key.remove(&key)
        {
            self.bytes -= record.answer.bytes();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet::names::Namer;
    use crate::quiet::poll::PollHasher;
    use crate::quiet::since::SyncToken;
    use crate::quiet::writers::Writers;

    const SECOND: Duration = Duration::from_secs(1);
    const BOUNDS: Bounds = Bounds { age_max: Duration::from_secs(10), count_max: 3, bytes_max: 100 };

    fn record(body: &'static str, learned: Instant) -> Record {
        let user = Namer::default().user("@a:b");
        let headers = vec![(http::header::SERVER, HeaderValue::from_static("Synapse"))];
        Record {
            answer: Arc::new(KeptAnswer {
                headers: headers.into(),
                body: Bytes::from_static(body.as_bytes()),
                next: "s1".into(),
                to_device_next: None,
            }),
            point: Point::new(&SyncToken::parse("s1").unwrap(), learned, &Writers::default()).unwrap(),
            subject: Subject { user, device: user, token: user },
            learned,
        }
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_renewed() {
        let (now, hasher) = (Instant::now(), PollHasher::new().unwrap());
        let mut kept = Kept::new(BOUNDS);
        let (one, other) = (hasher.key([&b"1"[..]]), hasher.key([&b"2"[..]]));
        kept.keep(one, record("a", now));
        kept.keep(other, record("bb", now));
        kept.keep(one, record("ccc", now + SECOND * 5));
        assert_eq!((kept.len(), kept.bytes()), (2, 2 + 2 + 3 + 2));
        assert_eq!((kept.expire(now + SECOND * 9), kept.expire(now + SECOND * 10)), (0, 1));
        assert!(kept.get(other).is_none());
        assert_eq!(kept.get(one).unwrap().answer.body, "ccc");
        assert_eq!((kept.expire(now + SECOND * 15), kept.bytes(), kept.is_empty()), (1, 0, true));
    }

    #[test]
    fn the_same_headers_are_kept_once() {
        let (now, hasher) = (Instant::now(), PollHasher::new().unwrap());
        let mut kept = Kept::new(BOUNDS);
        let keys = [&b"1"[..], &b"2"[..]].map(|part| hasher.key([part]));
        keys.iter().for_each(|key| kept.keep(*key, record("", now)));
        let [one, other] = keys.map(|key| Arc::clone(&kept.get(key).unwrap().answer.headers));
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (now, hasher) = (Instant::now(), PollHasher::new().unwrap());
        let mut kept = Kept::new(BOUNDS);
        for number in 0..1000_u32 {
            kept.keep(hasher.key([&number.to_le_bytes()[..]]), record("a", now));
            assert!(kept.len() <= 3 && kept.order.len() <= 6);
        }
        let big: &'static str = Box::leak("x".repeat(60).into_boxed_str());
        kept.keep(hasher.key([&b"big"[..]]), record(big, now));
        kept.keep(hasher.key([&b"bigger"[..]]), record(big, now));
        assert_eq!((kept.len(), kept.bytes()), (1, 62));
        for _ in 0..100 {
            kept.keep(hasher.key([&b"again"[..]]), record("a", now));
            assert!(kept.order.len() <= 6);
        }
        // One that is renewed over and over has outlived the others.
        assert_eq!(kept.take().len(), 1);
        assert_eq!((kept.len(), kept.bytes()), (0, 0));
    }
}
