//! Passwords and their hashes, as Synapse compares them (`validate_hash` in `handlers/auth.py`).
//!
//! Synapse hashes with the package `bcrypt`. It is patient with some hashes that nobody should have, and raises errors for
//! others; whatever is not exactly a hash that it would itself write is left to it.

use std::fmt;

use bcrypt_lanes::Hash;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::new_characters::is_new;

/// A password as a client sent it. It is wiped when it is dropped, and shown nowhere.
#[derive(PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// What is put behind every password before it is hashed. It is wiped when it is dropped, and shown nowhere.
#[derive(Clone, Default)]
pub struct Pepper(Zeroizing<String>);

/// What is hashed: the normalized password and the pepper, cut to what bcrypt looks at.
pub struct Prepared(Zeroizing<Vec<u8>>);

/// A hash that Synapse's own database holds. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash(Hash);

/// What bcrypt looks at, in bytes.
const HASHED_BYTES_MAX: usize = 72;
/// The costs that are checked here; a configured one beyond them is brought inside. At 16 a check takes some four seconds;
/// a dearer hash would hold a thread for minutes or hours, so it is left to Synapse.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

// === impl Password ===

impl Password {
    /// A password of this text.
    pub fn new(text: String) -> Password {
        Password(Zeroizing::new(text))
    }

    /// Whether it holds NUL, which older versions of Synapse's bcrypt refuse.
    pub fn has_nul(&self) -> bool {
        self.0.contains('\0')
    }

    /// What is hashed of it; `None` if that depends on how old Synapse's Python is. The pepper comes before the cut, so
    /// that a long password leaves no room for it.
    pub fn prepare(&self, pepper: &Pepper) -> Option<Prepared> {
        if self.0.chars().any(is_new) {
            return None;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(HASHED_BYTES_MAX + char::MAX_LEN_UTF8));
        for character in self.0.nfkc() {
            if bytes.len() >= HASHED_BYTES_MAX {
                break;
            }
            bytes.extend_from_slice(character.encode_utf8(&mut [0; char::MAX_LEN_UTF8]).as_bytes());
        }
        let room = HASHED_BYTES_MAX.saturating_sub(bytes.len());
        let pepper = pepper.0.as_bytes();
        bytes.extend_from_slice(&pepper[..pepper.len().min(room)]);
        bytes.truncate(HASHED_BYTES_MAX);
        Some(Prepared(bytes))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

// === impl Prepared ===

impl Prepared {
    /// What is hashed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

// === impl Pepper ===

impl Pepper {
    /// A pepper of this text.
    pub fn new(text: &str) -> Pepper {
        Pepper(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pepper(…)")
    }
}

// === impl StoredHash ===

impl StoredHash {
    /// Reads a hash of the database; `None` if it is not one that Synapse would write, or too dear.
    pub fn parse(text: &str) -> Option<StoredHash> {
        Hash::parse(text).ok().filter(|hash| COSTS.contains(&hash.cost())).map(StoredHash)
    }

    /// A hash that is compared with when there is none, so that an unknown user takes as long as a wrong password.
    /// Whatever comes of the comparison means nothing.
    pub fn decoy(bcrypt_rounds: u32) -> StoredHash {
        StoredHash(Hash::decoy(bcrypt_rounds.clamp(*COSTS.start(), *COSTS.end())))
    }

    /// What passwords are compared with. That is what takes a quarter of a second.
    pub fn hash(&self) -> &Hash {
        &self.0
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoredHash(cost {})", self.0.cost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret` at cost 4, as Synapse's Python wrote it.
    const SECRET: &str = "$2b$04$GGDGYT8KBRxFQd6GM6G7VeJAHpcDCZU2malbME1utrgNLjHhE5spa";

    fn prepared(password: &str, pepper: &str) -> Vec<u8> {
        Password::new(password.into()).prepare(&Pepper::new(pepper)).unwrap().0.to_vec()
    }

    fn hash_of(password: &[u8]) -> StoredHash {
        StoredHash::parse(&bcrypt::hash(password, 4).unwrap()).unwrap()
    }

    #[test]
    fn a_password_is_normalized_peppered_and_cut() {
        let x = |times| "x".repeat(times);
        let table = [
            ("", "", String::new()),
            ("ﬁ①ｗ", "", "fi1w".into()),
            ("e\u{301}", "\u{65}\u{301}", "é\u{65}\u{301}".into()),
            ("pass", "pepper", "passpepper".into()),
            (&x(70), "pepper", x(70) + "pe"),
            (&x(72), "pepper", x(72)),
            (&x(100), "pepper", x(72)),
        ];
        for (password, pepper, expected) in table {
            assert_eq!(prepared(password, pepper), expected.as_bytes(), "{password} {pepper}");
        }
        // In the middle of a character.
        assert_eq!(prepared(&(x(71) + "ä"), "p"), [x(71).as_bytes(), &[0xc3]].concat());
        assert!(Password::new("a\u{10781}".into()).prepare(&Pepper::default()).is_none());
    }

    #[test]
    fn the_versions_of_bcrypt_are_compared_alike() {
        let password = Password::new("secret".into()).prepare(&Pepper::default()).unwrap();
        let wrong = Password::new("secreT".into()).prepare(&Pepper::default()).unwrap();
        for version in ["2a", "2b", "2y"] {
            let stored = StoredHash::parse(&SECRET.replace("2b", version)).unwrap();
            assert!(stored.hash().verify(password.as_bytes()), "{version}");
            assert!(!stored.hash().verify(wrong.as_bytes()), "{version}");
            assert_eq!(stored.hash().cost(), 4);
        }
    }

    #[test]
    fn the_end_of_a_long_password_does_not_count() {
        let hash = hash_of(&[b'x'; 72]);
        for (length, matches) in [(71, false), (72, true), (73, true), (1000, true)] {
            let password = Password::new("x".repeat(length)).prepare(&Pepper::new("pepper")).unwrap();
            assert_eq!(hash.hash().verify(password.as_bytes()), matches, "{length}");
        }
    }

    #[test]
    fn a_hash_that_synapse_would_not_write_is_not_judged() {
        let changed = |from: &str, to: &str| SECRET.replacen(from, to, 1);
        let table = [
            String::new(),
            "secret".into(),
            "$".into(),
            SECRET[..59].into(),
            SECRET[..29].into(),
            format!("{SECRET}x"),
            format!("{SECRET}\n"),
            format!(" {SECRET}"),
            SECRET[1..].into(),
            changed("$2b$", "$2$"),
            changed("$2b$", "$2x$"),
            changed("$2b$", "$2z$"),
            changed("$2b$", "$2B$"),
            changed("$04$", "$4$"),
            changed("$04$", "$+4$"),
            changed("$04$G", "$004$"),
            changed("$04$", "$03$"),
            changed("$04$", "$17$"),
            changed("$04$", "$32$"),
            changed("$04$", "$+4$G"),
            changed("GGDG", "GG!G"),
            changed("GGDG", "GéG"),
            // The last characters of the salt and of the hash carry bits that are not used.
            changed("VeJA", "VzJA"),
            changed("5spa", "5sp9"),
            changed("JAHp", "J!Hp"),
        ];
        for text in table {
            assert_eq!(StoredHash::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_decoy_has_the_configured_cost() {
        for (rounds, cost) in [(0, 4), (4, 4), (12, 12), (31, 16), (99, 16)] {
            assert_eq!(StoredHash::decoy(rounds).hash().cost(), cost);
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let shown = format!(
            "{:?} {:?} {:?}",
            Password::new("wonder".into()),
            Pepper::new("pepper!"),
            StoredHash::parse(SECRET).unwrap()
        );
        assert!(!shown.contains("wonder") && !shown.contains("pepper!") && !shown.contains("GGDG"), "{shown}");
    }
}
