//! Passwords that wait to be checked by one thread: by the crate one after the other, or in lanes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bcrypt_lanes::{Hash, LaneCount, Lanes};

use crate::Point;

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: [u8; 16] = *b"sixteen of salt!";
/// As the threads of logins do it.
const ITERATIONS_PER_TURN: u32 = 4;
/// How many passwords of mixed costs wait.
const MIXED: u32 = 96;

/// Checks a second by the crate, one after the other, for so long.
pub(crate) fn one_by_one(cost: u32, least: Duration) -> f64 {
    let text = text(cost);
    let start = Instant::now();
    let mut checked = 0_u32;
    while start.elapsed() < least {
        checked += u32::from(bcrypt::verify(PASSWORD, &text).unwrap_or(false));
    }
    f64::from(checked) / start.elapsed().as_secs_f64()
}

/// What lanes do, for so long, while the same number waits all the time: for each that ends, one comes.
///
/// Those who are there at the start have not come one after the other; how long it takes is told of as many who come next.
pub(crate) fn side_by_side(cost: u32, waiting: usize, least: Duration) -> Point {
    let hash = hash(cost);
    let mut lanes = Lanes::new(LaneCount::MAX);
    let start = Instant::now();
    let mut queue: VecDeque<(usize, Instant)> = (0..waiting).map(|number| (number, start)).collect();
    let (mut come, mut checked, mut seconds) = (waiting, 0_u32, Vec::new());
    let mut now = start;
    // It ends at a moment when all lanes have just ended, so that none is half done.
    while now - start < least || seconds.len() < waiting || !lanes.is_empty() {
        while lanes.has_room()
            && let Some(somebody) = queue.pop_front()
        {
            lanes.push(PASSWORD, &hash, somebody);
        }
        let mut ended = Vec::new();
        lanes.turn(ITERATIONS_PER_TURN, |somebody, right| {
            checked += u32::from(right);
            ended.push(somebody);
        });
        now = Instant::now();
        for (number, came) in ended {
            if (waiting..2 * waiting).contains(&number) {
                seconds.push((now - came).as_secs_f64());
            }
            queue.push_back((come, now));
            come += 1;
        }
    }
    let rate = f64::from(checked) / (now - start).as_secs_f64();
    Point { waiting, rate, seconds: seconds.iter().sum::<f64>() / seconds.len() as f64 }
}

/// Seconds in which the crate checks all of mixed costs.
pub(crate) fn mixed_with_crate() -> f64 {
    let texts: Vec<String> = costs().map(text).collect();
    let start = Instant::now();
    let right = texts.iter().filter(|text| bcrypt::verify(PASSWORD, text).unwrap_or(false)).count();
    if right == MIXED as usize { start.elapsed().as_secs_f64() } else { f64::NAN }
}

/// Seconds in which lanes check all of mixed costs, until the last lane has ended.
pub(crate) fn mixed_with_lanes() -> f64 {
    let mut hashes: VecDeque<Hash> = costs().map(hash).collect();
    let mut lanes = Lanes::new(LaneCount::MAX);
    let start = Instant::now();
    let mut right = 0;
    while !hashes.is_empty() || !lanes.is_empty() {
        while lanes.has_room()
            && let Some(hash) = hashes.pop_front()
        {
            lanes.push(PASSWORD, &hash, ());
        }
        lanes.turn(ITERATIONS_PER_TURN, |(), matches| right += u32::from(matches));
    }
    if right == MIXED { start.elapsed().as_secs_f64() } else { f64::NAN }
}

/// Costs from 5 to 10, in no order.
fn costs() -> impl Iterator<Item = u32> {
    (0..MIXED).map(|number| 5 + (number * 7 + number / 6) % 6)
}

fn text(cost: u32) -> String {
    bcrypt::hash_with_salt(PASSWORD, cost, SALT).map(|parts| parts.to_string()).unwrap_or_default()
}

fn hash(cost: u32) -> Hash {
    Hash::parse(&text(cost)).unwrap_or_else(|_| Hash::decoy(cost))
}
