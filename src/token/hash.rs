//! All that is kept of a token: a hash under a key that is drawn anew at every start and never leaves the process. Who
//! reads dendron's memory or a dump of it learns no token, and cannot try guesses elsewhere.

use std::fmt;

use zeroize::Zeroizing;

/// 128 bits of a token's keyed hash. Its `Debug` does not show them, so that logs cannot be joined by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(u128);

/// Makes hashes.
pub struct TokenHasher {
    key: Zeroizing<[u8; blake3::KEY_LEN]>,
}

impl TokenHasher {
    /// A hasher with a key from the system's random numbers.
    ///
    /// # Errors
    ///
    /// When the system has none to give.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; blake3::KEY_LEN]);
        getrandom::fill(key.as_mut())?;
        Ok(TokenHasher { key })
    }

    /// A hasher with this key, for tests and benchmarks, in which hashes should be the same in every run.
    pub fn with_key(key: [u8; blake3::KEY_LEN]) -> Self {
        TokenHasher { key: Zeroizing::new(key) }
    }

    /// The hash of a token as the client sent it.
    pub fn hash(&self, token: &str) -> TokenHash {
        let hash = blake3::keyed_hash(&self.key, token.as_bytes());
        let half = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        TokenHash(u128::from_le_bytes(half))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash(…)")
    }
}

impl fmt::Debug for TokenHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHasher(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_one_processs_own() {
        let (one, other) = (TokenHasher::new().unwrap(), TokenHasher::new().unwrap());
        assert_eq!(one.hash("syt_a"), one.hash("syt_a"));
        assert_ne!(one.hash("syt_a"), one.hash("syt_b"));
        assert_ne!(one.hash("syt_a"), other.hash("syt_a"));
    }

    #[test]
    fn nothing_is_shown() {
        let hasher = TokenHasher::new().unwrap();
        assert_eq!(format!("{hasher:?} {:?}", hasher.hash("syt_a")), "TokenHasher(…) TokenHash(…)");
    }
}
