//! A sync as the gate sees it: who asks, from where on, for how long, and what else decides the answer.

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::token::{Caller, TokenHash};

/// A sync that could be parked. Whoever makes one has seen to it that nothing else in the request matters.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Who asks: somebody with an account and a device.
    pub caller: Caller,
    /// The access token that was shown.
    pub token: TokenHash,
    /// What else decides the answer.
    pub key: PollKey,
    /// `since`, or `pos` in sliding sync.
    pub since: Box<str>,
    /// How long the client waits for something to happen.
    pub timeout: Duration,
    /// When the request came; for one that was parked and woken, when it was forwarded, with the timeout that was left.
    pub arrived: Instant,
    /// Of which kind it is.
    pub kind: PollKind,
}

/// The two syncs that Synapse has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollKind {
    /// `GET …/sync`.
    Sync,
    /// `POST …/org.matrix.simplified_msc3575/sync`.
    Sliding {
        /// What the request says of the to-device messages that it has, as `extensions.to_device.since`.
        to_device_since: Option<Box<str>>,
    },
}

/// 128 bits of a keyed hash of the access token, the path and the exact query without `since` and `timeout`; in sliding
/// sync also of the body without what may differ from poll to poll. Requests of one key differ in nothing that Synapse
/// looks at, but in where they begin and how long they wait.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PollKey(u128);

/// Makes [`PollKey`]s, under a key that never leaves the process.
pub struct PollHasher {
    key: Zeroizing<[u8; blake3::KEY_LEN]>,
}

// === impl PollHasher ===

impl PollHasher {
    /// A hasher with a key from the system's random numbers.
    ///
    /// # Errors
    ///
    /// When the system has none to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; blake3::KEY_LEN]);
        getrandom::fill(key.as_mut())?;
        Ok(PollHasher { key })
    }

    /// The key of a request with these parts, whose number and order have to be the same for all.
    pub fn key<'part>(&self, parts: impl IntoIterator<Item = &'part [u8]>) -> PollKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            // With its length before it, no part can pass for the end of another.
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part);
        }
        let half = hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
        PollKey(u128::from_le_bytes(half))
    }
}

impl fmt::Debug for PollHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PollHasher(…)")
    }
}

impl fmt::Debug for PollKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PollKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let hasher = PollHasher::new().unwrap();
        let key = |parts: &[&str]| hasher.key(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(key(&["token", "path", ""]), key(&["token", "path", ""]));
        for other in [&["token", "pat", "h"], &["tokenp", "ath", ""], &["token", "", "path"]] {
            assert_ne!(key(&["token", "path", ""]), key(other), "{other:?}");
        }
        assert_ne!(PollHasher::new().unwrap().key([&b"a"[..]]), hasher.key([&b"a"[..]]));
        assert_eq!(format!("{hasher:?} {:?}", key(&["a"])), "PollHasher(…) PollKey(…)");
    }
}
