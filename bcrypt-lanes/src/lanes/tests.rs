//! Lanes against the crate `bcrypt`: every number of lanes, every mixture, every order of coming and going.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// One password to check.
#[derive(Clone, Debug)]
struct Job {
    password: Vec<u8>,
    salt: [u8; 16],
    cost: u32,
    version: &'static str,
    fault: Fault,
}

/// What is wrong with what is checked.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The last byte of the password is another one.
    LastByte,
    /// The last bit of the hash is another one.
    LastBit,
    /// The password has a byte more.
    OneMore,
    /// The hash has bits behind its last byte.
    Padding,
}

/// What happens between two turns.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The most that come.
    pushes: usize,
    iterations: u32,
    /// Whether the client of some job goes.
    given_up: Option<prop::sample::Index>,
}

/// How many pairs of password and hash are compared. The long form is `BCRYPT_LANES_PAIRS=100000`.
const PAIRS: u32 = 2_000;
const JOBS: usize = 20;

fn job() -> impl Strategy<Value = Job> {
    let length = prop_oneof![8 => 0..=90_usize, 1 => Just(0), 1 => 70..=74_usize];
    let password = length.prop_flat_map(|length| vec(any::<u8>(), length));
    let version = prop::sample::select(vec!["2a", "2b", "2y"]);
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::LastByte),
        1 => Just(Fault::LastBit),
        1 => Just(Fault::OneMore),
        1 => Just(Fault::Padding),
    ];
    (password, any::<[u8; 16]>(), 4..=6_u32, version, fault).prop_map(|(password, salt, cost, version, fault)| Job {
        password,
        salt,
        cost,
        version,
        fault,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let iterations = prop_oneof![Just(1), 2..=20_u32, Just(u32::MAX)];
    (0..=4_usize, iterations, prop::option::weighted(0.05, any::<prop::sample::Index>()))
        .prop_map(|(pushes, iterations, given_up)| Step { pushes, iterations, given_up })
}

// === impl Job ===

impl Job {
    /// The password and the hash that it is compared with.
    fn pair(&self) -> (Vec<u8>, String) {
        let mut text = bcrypt::hash_with_salt(&self.password, self.cost, self.salt).unwrap().to_string();
        text.replace_range(1..3, self.version);
        let mut password = self.password.clone();
        match self.fault {
            Fault::None => {}
            Fault::LastByte => match password.last_mut() {
                Some(last) => *last ^= 1,
                None => password.push(0),
            },
            Fault::OneMore => password.push(b'x'),
            // The last of 31 characters has two bits that belong to no byte.
            Fault::LastBit => change_last(&mut text, 4),
            Fault::Padding => change_last(&mut text, 1),
        }
        (password, text)
    }
}

/// Flips bits of the last character of a hash.
fn change_last(text: &mut String, bits: usize) {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let last = text.pop().unwrap();
    let value = ALPHABET.iter().position(|byte| char::from(*byte) == last).unwrap();
    text.push(char::from(ALPHABET[value ^ bits]));
}

/// What lanes say of each pair: `None` of a hash that is not read, and of one that was given up.
fn in_lanes(pairs: &[(Vec<u8>, String)], count: LaneCount, steps: &[Step]) -> (Vec<Option<bool>>, Vec<usize>) {
    let mut results = vec![None; pairs.len()];
    let mut gone = Vec::new();
    let mut lanes = Lanes::new(count);
    let mut waiting = (0..pairs.len()).filter_map(|index| Some((index, Hash::parse(&pairs[index].1).ok()?))).peekable();
    for step in steps.iter().cycle() {
        for _ in 0..step.pushes {
            let Some((index, hash)) = waiting.next_if(|_| lanes.has_room()) else { break };
            assert_eq!(lanes.push(&pairs[index].0, &hash, index), None);
        }
        if let Some(given_up) = step.given_up {
            let given_up = given_up.index(pairs.len());
            gone.extend(lanes.take_if(|index| *index == given_up));
        }
        lanes.turn(step.iterations, |index, right| {
            assert_eq!(results[index].replace(right), None, "twice");
        });
        if lanes.is_empty() && waiting.peek().is_none() {
            break;
        }
    }
    (results, gone)
}

#[test]
fn lanes_decide_as_the_crate_decides() {
    let pairs = std::env::var("BCRYPT_LANES_PAIRS").map_or(PAIRS, |pairs| pairs.parse().unwrap());
    let cases = pairs.div_ceil(JOBS as u32);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let steps = vec(step(), 1..=12).prop_filter("nobody comes", |steps| steps.iter().any(|step| step.pushes > 0));
    let strategy = (vec(job(), JOBS), 1..=LaneCount::MAX.get(), steps);
    runner
        .run(&strategy, |(jobs, count, steps)| {
            let pairs: Vec<_> = jobs.iter().map(Job::pair).collect();
            let (results, gone) = in_lanes(&pairs, LaneCount::new(count).unwrap(), &steps);
            for (index, (password, text)) in pairs.iter().enumerate() {
                let expected = bcrypt::verify(password, text).ok().filter(|_| !gone.contains(&index));
                prop_assert_eq!(results[index], expected, "{:?}", jobs[index]);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_full_pool_takes_nobody() {
    let hash = Hash::decoy(4);
    let mut lanes = Lanes::new(LaneCount::new(2).unwrap());
    assert_eq!((lanes.push(b"a", &hash, 1), lanes.push(b"b", &hash, 2)), (None, None));
    assert_eq!((lanes.push(b"c", &hash, 3), lanes.len(), lanes.has_room()), (Some(3), 2, false));
    assert_eq!(lanes.take_if(|owner| *owner == 1), [1]);
    assert_eq!((lanes.push(b"c", &hash, 3), lanes.len()), (None, 2));
}

#[test]
fn nobody_waits_for_the_slowest() {
    let mut lanes = Lanes::new(LaneCount::MAX);
    for cost in [8, 4, 5] {
        assert_eq!(lanes.push(b"x", &Hash::decoy(cost), cost), None);
    }
    let mut order = Vec::new();
    let mut turns = 0;
    while !lanes.is_empty() {
        lanes.turn(8, |cost, _| order.push((cost, turns)));
        turns += 1;
    }
    assert_eq!(order, [(4, 1), (5, 3), (8, 31)]);
}

#[test]
fn what_has_ended_is_wiped() {
    let mut lanes = Lanes::new(LaneCount::MAX);
    let is_empty = |lane: &Lane| *lane == Lane::EMPTY;
    for cost in [4, 5, 6, 4] {
        lanes.push(b"secret", &Hash::decoy(cost), cost);
    }
    assert_eq!(lanes.lanes.iter().filter(|lane| is_empty(lane)).count(), 0);
    lanes.turn(16, |_, _| {});
    assert_eq!(lanes.lanes.iter().map(is_empty).collect::<Vec<_>>(), [false, false, true, true]);
    lanes.take_if(|cost| *cost == 5);
    assert_eq!(lanes.lanes.iter().map(is_empty).collect::<Vec<_>>(), [false, true, true, true]);
}
