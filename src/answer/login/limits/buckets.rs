//! A bounded table of buckets, by a keyed hash of what they are of.
//!
//! Only 64 bits of a hash under a random key are kept of an address or a name: enough that two of a million share a
//! bucket with a chance of one to tens of millions, and nobody can choose them to.
//!
//! # Bounds
//!
//! Buckets that have drained are the same as none and are dropped, at the latest when something is next asked of their
//! shard after [`SWEEP_SECONDS`]. A shard holds at most [`SHARD_BUCKETS_MAX`]. When it is full of buckets that have not
//! drained, the sixteenth part that would drain first goes. Those are the emptiest: the addresses that a flood was seen
//! from once go first, and whoever has reached a limit goes last. To have a full bucket of one's own forgotten, one
//! would have to fill as many others as the table holds to the same level, from as many addresses: each of them could
//! have tried as often itself. To refuse strangers while the table is full would be worse: anybody with an IPv6
//! network could then lock everybody out.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Bucket, Count, Limited, Rule};

/// The most buckets in a shard: what a table of 2^15 slots takes before it grows.
const SHARD_BUCKETS_MAX: usize = 28_672;
/// How many go when a shard is full.
const EVICTED: usize = SHARD_BUCKETS_MAX / 16;
/// How often a shard that is in use is rid of drained buckets, as often as Synapse does it.
const SWEEP_SECONDS: f64 = 15.0;

/// A table of buckets.
pub(super) struct Buckets {
    key: RandomState,
    shards: Vec<Mutex<Shard>>,
}

/// A part of the table, with a lock of its own. Nothing is ever taken out of `buckets` one by one, so that the table
/// has no graves that would make it grow.
struct Shard {
    buckets: HashMap<u64, Bucket, BuildHasherDefault<AlreadyHashed>>,
    swept_seconds: f64,
}

/// Keys are hashes already.
#[derive(Default)]
struct AlreadyHashed(u64);

// === impl Buckets ===

impl Buckets {
    /// An empty table of this many shards, at least one.
    pub(super) fn new(shards: usize) -> Buckets {
        let shard = || Mutex::new(Shard { buckets: HashMap::default(), swept_seconds: 0.0 });
        Buckets { key: RandomState::new(), shards: (0..shards.max(1)).map(|_| shard()).collect() }
    }

    /// Asks the bucket of `key`.
    pub(super) fn ask(&self, key: &impl Hash, rule: Rule, count: Count, now_seconds: f64) -> Result<(), Limited> {
        let hash = self.key.hash_one(key);
        // The table uses the lowest and the highest bits; the shard is chosen by some between.
        let shard = &self.shards[(hash >> 32) as usize % self.shards.len()];
        lock(shard).ask(hash, rule, count, now_seconds)
    }

    /// How many buckets are kept.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).buckets.len()).sum()
    }

    /// How many bytes the buckets take: a slot and a byte of control for each place, of which an eighth stays free.
    pub(super) fn allocated_bytes(&self) -> usize {
        let slot = size_of::<(u64, Bucket)>() + 1;
        let places = |capacity: usize| if capacity == 0 { 0 } else { (capacity * 8).div_ceil(7).next_power_of_two() };
        self.shards.iter().map(|shard| places(lock(shard).buckets.capacity()) * slot).sum()
    }
}

/// A shard is in order even if somebody panicked with it.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Shard ===

impl Shard {
    fn ask(&mut self, hash: u64, rule: Rule, count: Count, now_seconds: f64) -> Result<(), Limited> {
        if now_seconds - self.swept_seconds > SWEEP_SECONDS {
            self.sweep(rule, now_seconds);
        }
        // To insert what is there already would make a full table grow.
        if let Some(kept) = self.buckets.get_mut(&hash) {
            let mut bucket = *kept;
            bucket.admit(rule, now_seconds)?;
            if count == Count::Yes {
                *kept = bucket;
            }
            return Ok(());
        }
        let mut bucket = Bucket::empty(now_seconds);
        bucket.admit(rule, now_seconds)?;
        if count == Count::Yes && bucket.drained_seconds(rule) > now_seconds {
            if self.buckets.len() == self.buckets.capacity() {
                self.make_room(rule, now_seconds);
            }
            self.buckets.insert(hash, bucket);
        }
        Ok(())
    }

    /// Room for one more, by dropping what has drained, by growing, or by dropping what would drain first.
    fn make_room(&mut self, rule: Rule, now_seconds: f64) {
        self.sweep(rule, now_seconds);
        // To sweep a shard that stays almost full would have to be done again at once.
        if self.buckets.len() < SHARD_BUCKETS_MAX - EVICTED {
            return;
        }
        let mut times: Vec<f64> = self.buckets.values().map(|bucket| bucket.drained_seconds(rule)).collect();
        let (_, last_to_go, _) = times.select_nth_unstable_by(EVICTED, f64::total_cmp);
        let last_to_go = *last_to_go;
        // Of those that would drain at the same time only as many go as must: they may be the whole table.
        let mut left = EVICTED;
        self.keep(|bucket| {
            let goes = left > 0 && bucket.drained_seconds(rule) <= last_to_go;
            left -= usize::from(goes);
            !goes
        });
    }

    fn sweep(&mut self, rule: Rule, now_seconds: f64) {
        self.swept_seconds = now_seconds;
        self.keep(|bucket| bucket.drained_seconds(rule) > now_seconds);
    }

    /// A new table of those that stay, with room for as many again within the bound.
    fn keep(&mut self, mut stays: impl FnMut(&Bucket) -> bool) {
        let mut kept: Vec<(u64, Bucket)> = Vec::new();
        kept.extend(self.buckets.iter().filter(|(_, bucket)| stays(bucket)).map(|(hash, bucket)| (*hash, *bucket)));
        let room = (kept.len() + kept.len() / 2 + 8).min(SHARD_BUCKETS_MAX);
        self.buckets = HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default());
        self.buckets.extend(kept);
    }
}

// === impl AlreadyHashed ===

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
