//! The checks of one thread, side by side.

use subtle::ConstantTimeEq;

use crate::count::LaneCount;
use crate::hash::Hash;
use crate::kernel::{self, DIGEST_BYTES, Lane};

/// Passwords that are being checked, each for an owner: whatever the caller wants to have again with the result.
pub struct Lanes<T> {
    count: LaneCount,
    /// The first ones are in use, one for each check.
    lanes: Box<[Lane; LaneCount::MAX.get()]>,
    checks: Vec<Check<T>>,
}

/// What a lane is for.
struct Check<T> {
    digest: [u8; DIGEST_BYTES],
    iterations_left: u32,
    owner: T,
}

// === impl Lanes ===

impl<T> Lanes<T> {
    /// So many lanes, all free.
    pub fn new(count: LaneCount) -> Lanes<T> {
        let lanes = Box::new([const { Lane::EMPTY }; LaneCount::MAX.get()]);
        Lanes { count, lanes, checks: Vec::with_capacity(count.get()) }
    }

    /// How many passwords are being checked.
    pub fn len(&self) -> usize {
        self.checks.len()
    }

    /// Whether no password is being checked.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Whether another password can be checked.
    pub fn has_room(&self) -> bool {
        self.checks.len() < self.count.get()
    }

    /// Begins to check a password; gives the owner back if there is no room. Of a password the first 72 bytes count.
    pub fn push(&mut self, password: &[u8], hash: &Hash, owner: T) -> Option<T> {
        if !self.has_room() {
            return Some(owner);
        }
        let Some(lane) = self.lanes.get_mut(self.checks.len()) else { return Some(owner) };
        lane.start(password, hash.salt());
        self.checks.push(Check { digest: *hash.digest(), iterations_left: hash.iterations(), owner });
        None
    }

    /// Goes on by at most so many iterations, until the first check ends; tells who has ended, and whether the password
    /// was the one of the hash. An iteration takes some 70 µs, with one lane as with four.
    pub fn turn(&mut self, iterations_max: u32, mut ended: impl FnMut(T, bool)) {
        let left = self.checks.iter().map(|check| check.iterations_left);
        let iterations = left.min().unwrap_or(0).min(iterations_max);
        kernel::iterate(&mut self.lanes[..self.checks.len()], iterations);
        for check in &mut self.checks {
            check.iterations_left -= iterations;
        }
        for index in (0..self.checks.len()).rev() {
            if self.checks[index].iterations_left == 0 {
                let digest = self.lanes[index].finish();
                let check = self.remove(index);
                ended(check.owner, check.digest.ct_eq(&*digest).into());
            }
        }
    }

    /// Gives up the checks of these owners.
    pub fn take_if(&mut self, mut given_up: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for index in (0..self.checks.len()).rev() {
            if given_up(&self.checks[index].owner) {
                taken.push(self.remove(index).owner);
            }
        }
        taken
    }

    /// Makes a lane free. The last one takes its place, so that those in use stay together.
    fn remove(&mut self, index: usize) -> Check<T> {
        let last = self.checks.len() - 1;
        self.lanes.swap(index, last);
        self.lanes[last].wipe();
        self.checks.swap_remove(index)
    }
}

#[cfg(test)]
mod tests;
