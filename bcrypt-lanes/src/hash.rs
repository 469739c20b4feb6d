//! Hashes as they are written.

use std::fmt;

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use crate::count::LaneCount;
use crate::kernel::{DIGEST_BYTES, SALT_BYTES};
use crate::lanes::Lanes;

/// A hash that passwords can be compared with. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    cost: u32,
    salt: [u8; SALT_BYTES],
    digest: [u8; DIGEST_BYTES],
}

/// The text is no bcrypt hash, or one that nobody should write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no bcrypt hash, or one in an unusual spelling")]
pub struct NotAHash;

/// The characters of a hash.
const TEXT_BYTES: usize = 60;
/// Where the salt begins, and where it ends and the hash itself begins.
const SALT_START: usize = 7;
const DIGEST_START: usize = 29;
/// The least and the greatest cost.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
/// Bits that belong to no byte must be zero, as the crate `bcrypt` demands.
const BASE64: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);

// === impl Hash ===

impl Hash {
    /// Reads a hash: `$2a$`, `$2b$` or `$2y$`, which today mean the same, two digits of cost, `$`, salt and hash.
    ///
    /// Whatever has another spelling is refused: `$2x$`, which may mean a hash with a mistake of 2011 in it; a sign before
    /// the cost; bits behind the last byte. Who gets [`NotAHash`] should ask somebody else.
    pub fn parse(text: &str) -> Result<Hash, NotAHash> {
        let bytes: &[u8; TEXT_BYTES] = text.as_bytes().try_into().map_err(|_| NotAHash)?;
        let [b'$', b'2', b'a' | b'b' | b'y', b'$', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b'$', ..] = bytes else {
            return Err(NotAHash);
        };
        let cost = u32::from(tens - b'0') * 10 + u32::from(ones - b'0');
        if !COSTS.contains(&cost) {
            return Err(NotAHash);
        }
        let salt = decode(&bytes[SALT_START..DIGEST_START])?;
        let digest = decode(&bytes[DIGEST_START..])?;
        Ok(Hash { cost, salt, digest })
    }

    /// A hash of this cost, or of the nearest that there is, to compare with where there is none: it takes as long as
    /// another. No password is known that it would match.
    pub fn decoy(cost: u32) -> Hash {
        let cost = cost.clamp(*COSTS.start(), *COSTS.end());
        Hash { cost, salt: [0; SALT_BYTES], digest: [0; DIGEST_BYTES] }
    }

    /// The binary logarithm of the number of iterations.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether `password` is the one that was hashed, in a lane alone.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut lanes = Lanes::new(LaneCount::ONE);
        lanes.push(password, self, ());
        let mut right = false;
        while !lanes.is_empty() {
            lanes.turn(u32::MAX, |(), matches| right = matches);
        }
        right
    }

    pub(crate) fn iterations(&self) -> u32 {
        1 << self.cost
    }

    pub(crate) fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    pub(crate) fn digest(&self) -> &[u8; DIGEST_BYTES] {
        &self.digest
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hash(cost {})", self.cost)
    }
}

/// Exactly so many bytes.
fn decode<const N: usize>(text: &[u8]) -> Result<[u8; N], NotAHash> {
    let mut bytes = [0; N];
    match BASE64.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(NotAHash),
    }
}

#[cfg(test)]
mod tests;
