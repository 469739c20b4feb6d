//! The state of one hash, and the rounds of several at once.
//!
//! What was measured of the layout: lanes one behind the other need one base register, and each lane is a displacement
//! from it; the loop over the lanes must be within the loop over the rounds, since a core does not look far enough ahead
//! to overlap lanes that come one after the other; a body of one round is faster than one of two or of all sixteen.

use zeroize::{Zeroize, Zeroizing};

use crate::tables;

/// The state of one hash that is being computed.
#[derive(Clone, PartialEq)]
pub(crate) struct Lane {
    boxes: [[u32; 256]; 4],
    subkeys: [u32; SUBKEYS],
    /// The password and the NUL behind it, over and over, as words: what is mixed into the subkeys.
    password: [u32; SUBKEYS],
    /// The salt, over and over, as words.
    salt: [u32; SUBKEYS],
}

/// Half a block for each of `N` lanes.
type Halves<const N: usize> = [u32; N];

/// The first bytes of a password, which are all that bcrypt looks at.
pub(crate) const PASSWORD_BYTES_MAX: usize = 72;
/// The bytes of a salt.
pub(crate) const SALT_BYTES: usize = 16;
/// The bytes of a hash that are written. The last one of the 24 that are computed never is.
pub(crate) const DIGEST_BYTES: usize = 23;

const SUBKEYS: usize = 18;
const ROUNDS: usize = 16;
/// What is encrypted at last.
const TEXT: &[u8; 24] = b"OrpheanBeholderScryDoubt";
/// How often.
const TEXT_ENCRYPTIONS: usize = 64;

// === impl Lane ===

impl Lane {
    /// A lane in which nothing is computed.
    pub(crate) const EMPTY: Lane =
        Lane { boxes: [[0; 256]; 4], subkeys: [0; SUBKEYS], password: [0; SUBKEYS], salt: [0; SUBKEYS] };

    /// Begins a hash: password and salt are expanded together.
    pub(crate) fn start(&mut self, password: &[u8], salt: &[u8; SALT_BYTES]) {
        self.boxes = *tables::boxes();
        self.subkeys = *tables::subkeys();
        fill(&mut self.password, (password.len() + 1).min(PASSWORD_BYTES_MAX), |index| {
            password.get(index).copied().unwrap_or(0)
        });
        fill(&mut self.salt, SALT_BYTES, |index| salt[index]);
        mix(&mut self.subkeys, &self.password);
        let lane = std::array::from_mut(self);
        let (mut left, mut right) = ([0], [0]);
        for pair in 0..SUBKEYS / 2 {
            salted(lane, pair, &mut left, &mut right);
            lane[0].set_subkeys(pair, left[0], right[0]);
        }
        for word in 0..4 * 256 / 2 {
            salted(lane, SUBKEYS / 2 + word, &mut left, &mut right);
            lane[0].set_box_words(word / 128, word % 128, left[0], right[0]);
        }
    }

    /// The hash of a lane whose iterations are done.
    pub(crate) fn finish(&mut self) -> Zeroizing<[u8; DIGEST_BYTES]> {
        let lane = std::array::from_mut(self);
        let mut text = Zeroizing::new(*TEXT);
        for block in text.as_chunks_mut::<8>().0 {
            let whole = u64::from_be_bytes(*block);
            let (mut left, mut right) = ([(whole >> 32) as u32], [whole as u32]);
            for _ in 0..TEXT_ENCRYPTIONS {
                encrypt(lane, &mut left, &mut right);
            }
            *block = (u64::from(left[0]) << 32 | u64::from(right[0])).to_be_bytes();
        }
        let mut digest = Zeroizing::new([0; DIGEST_BYTES]);
        digest.copy_from_slice(&text[..DIGEST_BYTES]);
        digest
    }

    /// Makes it empty, in a way that the compiler cannot leave out.
    pub(crate) fn wipe(&mut self) {
        self.boxes.zeroize();
        self.subkeys.zeroize();
        self.password.zeroize();
        self.salt.zeroize();
    }

    /// Blowfish's function of half a block.
    #[inline(always)]
    fn substitute(&self, half: u32) -> u32 {
        let [first, second, third, fourth] = &self.boxes;
        let sum = first[(half >> 24) as usize].wrapping_add(second[(half >> 16) as u8 as usize]);
        (sum ^ third[(half >> 8) as u8 as usize]).wrapping_add(fourth[half as u8 as usize])
    }

    #[inline(always)]
    fn set_subkeys(&mut self, pair: usize, left: u32, right: u32) {
        self.subkeys[2 * pair] = left;
        self.subkeys[2 * pair + 1] = right;
    }

    #[inline(always)]
    fn set_box_words(&mut self, number: usize, pair: usize, left: u32, right: u32) {
        self.boxes[number][2 * pair] = left;
        self.boxes[number][2 * pair + 1] = right;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Fills words with bytes that begin again after `length`.
fn fill(words: &mut [u32; SUBKEYS], length: usize, byte: impl Fn(usize) -> u8) {
    for (index, word) in words.iter_mut().enumerate() {
        *word = u32::from_be_bytes(std::array::from_fn(|place| byte((4 * index + place) % length)));
    }
}

#[inline(always)]
fn mix(subkeys: &mut [u32; SUBKEYS], words: &[u32; SUBKEYS]) {
    for (subkey, word) in subkeys.iter_mut().zip(words) {
        *subkey ^= word;
    }
}

/// Encrypts a block that the salt was mixed into, of which each block takes the next two words.
#[inline(always)]
fn salted(lane: &[Lane; 1], block: usize, left: &mut Halves<1>, right: &mut Halves<1>) {
    left[0] ^= lane[0].salt[2 * (block % 2)];
    right[0] ^= lane[0].salt[2 * (block % 2) + 1];
    encrypt(lane, left, right);
}

/// Encrypts a block of each lane.
///
/// The halves are not swapped from round to round: what a round makes of the right half becomes the left one. A subkey is
/// mixed in a round earlier than in the books, where nothing waits for it.
#[inline(always)]
fn encrypt<const N: usize>(lanes: &[Lane; N], left: &mut Halves<N>, right: &mut Halves<N>) {
    for lane in 0..N {
        left[lane] ^= lanes[lane].subkeys[0];
    }
    for round in 1..=ROUNDS {
        for lane in 0..N {
            let mixed = right[lane] ^ lanes[lane].subkeys[round] ^ lanes[lane].substitute(left[lane]);
            (left[lane], right[lane]) = (mixed, left[lane]);
        }
    }
    for lane in 0..N {
        (left[lane], right[lane]) = (right[lane] ^ lanes[lane].subkeys[ROUNDS + 1], left[lane]);
    }
}

/// Replaces the state of each lane, whose subkeys a key was mixed into.
#[inline(always)]
fn expand<const N: usize>(lanes: &mut [Lane; N]) {
    let (mut left, mut right) = ([0; N], [0; N]);
    for pair in 0..SUBKEYS / 2 {
        encrypt(lanes, &mut left, &mut right);
        for lane in 0..N {
            lanes[lane].set_subkeys(pair, left[lane], right[lane]);
        }
    }
    for number in 0..4 {
        for pair in 0..128 {
            encrypt(lanes, &mut left, &mut right);
            for lane in 0..N {
                lanes[lane].set_box_words(number, pair, left[lane], right[lane]);
            }
        }
    }
}

/// Goes on by so many iterations in each lane, of which there are at most four: password and salt are expanded.
#[inline(never)]
pub(crate) fn iterate(lanes: &mut [Lane], iterations: u32) {
    let done = iterate_all::<4>(lanes, iterations)
        || iterate_all::<3>(lanes, iterations)
        || iterate_all::<2>(lanes, iterations)
        || iterate_all::<1>(lanes, iterations);
    debug_assert!(done || lanes.is_empty(), "more lanes than there is code for");
}

/// Whether these were `N` lanes; if so they have gone on.
#[inline(never)]
fn iterate_all<const N: usize>(lanes: &mut [Lane], iterations: u32) -> bool {
    let Ok(lanes) = <&mut [Lane; N]>::try_from(lanes) else { return false };
    for _ in 0..iterations {
        for lane in lanes.iter_mut() {
            mix(&mut lane.subkeys, &lane.password);
        }
        expand(lanes);
        for lane in lanes.iter_mut() {
            mix(&mut lane.subkeys, &lane.salt);
        }
        expand(lanes);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eric Young's test vectors of Blowfish itself: key, plain text and cipher text.
    #[test]
    fn it_is_blowfish() {
        let vectors: [(u64, u64, u64); 6] = [
            (0x0000_0000_0000_0000, 0x0000_0000_0000_0000, 0x4ef9_9745_6198_dd78),
            (0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff, 0x5186_6fd5_b85e_cb8a),
            (0x3000_0000_0000_0000, 0x1000_0000_0000_0001, 0x7d85_6f9a_6130_63f2),
            (0x0123_4567_89ab_cdef, 0x1111_1111_1111_1111, 0x61f9_c380_2281_b096),
            (0xfedc_ba98_7654_3210, 0x0123_4567_89ab_cdef, 0x0ace_ab0f_c6a0_a28d),
            (0x7ca1_1045_4a1a_6e57, 0x01a1_d6d0_3977_6742, 0x59c6_8245_eb05_282b),
        ];
        for (key, plain, cipher) in vectors {
            let mut lanes = [Lane { boxes: *tables::boxes(), subkeys: *tables::subkeys(), ..Lane::EMPTY.clone() }];
            let bytes = key.to_be_bytes();
            fill(&mut lanes[0].password, bytes.len(), |index| bytes[index]);
            let words = lanes[0].password;
            mix(&mut lanes[0].subkeys, &words);
            expand(&mut lanes);
            let (mut left, mut right) = ([(plain >> 32) as u32], [plain as u32]);
            encrypt(&lanes, &mut left, &mut right);
            assert_eq!(u64::from(left[0]) << 32 | u64::from(right[0]), cipher, "{key:016x}");
        }
    }

    #[test]
    fn a_wiped_lane_holds_nothing() {
        let mut lane = Lane::EMPTY;
        lane.start(b"secret", &[7; SALT_BYTES]);
        assert!(lane.boxes[3][255] != 0 && lane.password[0] != 0 && lane.salt[0] != 0);
        lane.wipe();
        let words = lane.boxes.iter().flatten().chain(&lane.subkeys).chain(&lane.password).chain(&lane.salt);
        assert_eq!(words.map(|word| u64::from(*word)).sum::<u64>(), 0);
    }
}
