//! How many lanes are best on this machine.

use std::time::{Duration, Instant};

use crate::hash::Hash;
use crate::lanes::Lanes;

/// A number of lanes, from one to four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneCount(usize);

/// A hash came out wrong that is known: what this program or this machine computes cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a published bcrypt hash comes out wrong on this machine")]
pub struct Miscalculated;

/// One of the published test vectors.
const PASSWORD: &[u8] = b"U*U";
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
/// How often every number of lanes is tried. One try takes two to three milliseconds, so that all take some fifty.
const TRIES: u32 = 5;
/// More lanes must be faster by as much, in percent: they make each check a little slower.
const GAIN_PERCENT: u128 = 3;

// === impl LaneCount ===

impl LaneCount {
    /// One check at a time.
    pub const ONE: LaneCount = LaneCount(1);
    /// As many as there is code for.
    pub const MAX: LaneCount = LaneCount(4);

    /// So many lanes, if there can be.
    pub const fn new(count: usize) -> Option<LaneCount> {
        if count >= LaneCount::ONE.0 && count <= LaneCount::MAX.0 { Some(LaneCount(count)) } else { None }
    }

    /// The number itself.
    pub const fn get(self) -> usize {
        self.0
    }

    /// Finds out which number of lanes checks most passwords in a second, and that each computes rightly. It keeps a core
    /// busy for some 50 ms.
    pub fn measure() -> Result<LaneCount, Miscalculated> {
        let mut times = [Duration::MAX; LaneCount::MAX.0];
        // In turns, and the least time of each, since something else may run on the core for a while.
        for _ in 0..TRIES {
            for (count, time) in (1..).zip(&mut times) {
                *time = (*time).min(try_out(LaneCount(count))?);
            }
        }
        Ok(fastest(&times))
    }
}

/// How long so many checks take side by side.
fn try_out(count: LaneCount) -> Result<Duration, Miscalculated> {
    let hash = Hash::parse(HASH).map_err(|_| Miscalculated)?;
    let mut lanes = Lanes::new(count);
    let start = Instant::now();
    while lanes.push(PASSWORD, &hash, ()).is_none() {}
    let mut right = 0;
    while !lanes.is_empty() {
        lanes.turn(u32::MAX, |(), matches| right += usize::from(matches));
    }
    if right == count.get() { Ok(start.elapsed()) } else { Err(Miscalculated) }
}

/// The number of lanes that does most in a second, given how long each number took for as many checks.
fn fastest(times: &[Duration; LaneCount::MAX.0]) -> LaneCount {
    let mut best = LaneCount::ONE;
    for (count, time) in (1..).zip(times) {
        // Checks a second against checks a second, without dividing.
        let (more, fewer) = (times[best.0 - 1].as_nanos() * count as u128, time.as_nanos() * best.0 as u128);
        if more * 100 > fewer * (100 + GAIN_PERCENT) {
            best = LaneCount(count);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_number_is_chosen() {
        let table = [
            // Each lane is free.
            ([100, 100, 100, 100], 4),
            // A lane more does exactly as much more, or nearly so.
            ([100, 200, 300, 400], 1),
            ([100, 197, 300, 400], 1),
            ([100, 190, 300, 400], 2),
            // The compiler has spoiled four lanes.
            ([100, 102, 105, 280], 3),
            // Two hardware threads on a core share what it can do.
            ([100, 101, 151, 205], 2),
            ([100, 300, 400, 200], 4),
        ];
        for (milliseconds, count) in table {
            assert_eq!(fastest(&milliseconds.map(Duration::from_millis)).get(), count, "{milliseconds:?}");
        }
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!([0, 1, 4, 5].map(|count| LaneCount::new(count).map(LaneCount::get)), [None, Some(1), Some(4), None]);
    }

    #[test]
    fn this_machine_can_be_measured() {
        assert!(LaneCount::measure().is_ok());
    }
}
