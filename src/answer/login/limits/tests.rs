//! The limits, against what Synapse's own limiter answered, and within their bounds.

use super::buckets::Buckets;
use super::*;

const SLOW: Rule = Rule { per_second: 0.003, burst_count: 5 };

#[test]
fn every_answer_is_the_one_that_synapses_limiter_gave() {
    let mut rule = SLOW;
    let mut buckets = Buckets::new(1);
    let (mut through, mut refused) = (0, 0);
    for line in include_str!("vectors.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "rule" {
            rule = Rule { per_second: words[1].parse().unwrap(), burst_count: words[2].parse().unwrap() };
            buckets = Buckets::new(1);
            continue;
        }
        let count = if words[2] == "y" { Count::Yes } else { Count::No };
        let answer = buckets.ask(&words[0], rule, count, words[1].parse().unwrap());
        let expected = words[3].parse().map_or(Ok(()), |wait| Err(Limited(Duration::from_millis(wait))));
        assert_eq!(answer, expected, "{rule:?} {line}");
        if expected.is_ok() { through += 1 } else { refused += 1 }
    }
    assert!(through > 100 && refused > 50, "{through} {refused}");
}

#[test]
fn keys_are_synapses() {
    fn ask(limits: &Limits, key: Key<'_>) -> Result<(), Limited> {
        limits.ask(key, Count::Yes, 1000.0)
    }
    let limits = Limits::new(Rules::default());
    let fill = |key: Key<'_>, burst: u32| {
        for _ in 0..burst {
            assert_eq!(ask(&limits, key), Ok(()), "{key:?}");
        }
        assert!(ask(&limits, key).is_err(), "{key:?}");
    };
    fill(Key::FailedUser("@Alice:edge.test"), 3);
    assert!(ask(&limits, Key::FailedUser("@aLICE:edge.test")).is_err());
    fill(Key::FailedEmail("@alice:edge.test"), 3);
    fill(Key::Account("@alice:edge.test"), 5);
    fill(Key::Address(None), 5);
    fill(Key::Address(Some("::1".parse().unwrap())), 5);
    fill(Key::Address(Some("127.0.0.1".parse().unwrap())), 5);
    assert_eq!(ask(&limits, Key::Address(Some("127.0.0.2".parse().unwrap()))), Ok(()));
}

#[test]
fn a_million_addresses_stay_within_the_bound_and_are_forgotten() {
    let limits = Limits::new(Rules::default());
    let address = |number: u32| Key::Address(Some(std::net::Ipv4Addr::from(number).into()));
    for number in 0..1_000_000 {
        assert_eq!(limits.ask(address(number), Count::Yes, 100.0), Ok(()));
    }
    assert_eq!(limits.bucket_count(), 1_000_000);
    assert!(limits.allocated_bytes() < 64 << 20, "{}", limits.allocated_bytes());
    // Each of them drains within 334 s; whoever comes then is rid of them.
    for number in 0..1000 {
        assert_eq!(limits.ask(address(number), Count::Yes, 434.0), Ok(()));
    }
    assert_eq!(limits.bucket_count(), 1000);
    assert!(limits.allocated_bytes() < 1 << 20, "{}", limits.allocated_bytes());
}

/// Alone in its process, since it looks at the whole process's memory:
/// `cargo test --lib a_million_attackers -- --ignored`.
#[test]
#[ignore = "looks at the memory of the whole process"]
fn a_million_attackers_are_small() {
    let resident_bytes = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    let before = resident_bytes();
    let limits = Limits::new(Rules::default());
    let mut most = 0;
    for number in 0..1_000_000_u32 {
        // Each from a network of its own, and at an account of its own.
        let address = std::net::Ipv6Addr::from(u128::from(number) << 64 | 0x2001_0db8 << 96 | 1);
        assert_eq!(limits.ask(Key::Address(Some(address.into())), Count::Yes, 100.0), Ok(()));
        let user = format!("@victim-{number}:matrix.example.org");
        assert_eq!(limits.ask(Key::FailedUser(&user), Count::Yes, 100.0), Ok(()));
        if number % 10_000 == 0 {
            most = most.max(resident_bytes().saturating_sub(before));
        }
    }
    most = most.max(resident_bytes().saturating_sub(before));
    assert!(limits.bucket_count() > 1_000_000, "{}", limits.bucket_count());
    println!("{} KiB for {} buckets", most >> 10, limits.bucket_count());
    assert!(most <= 64 << 20, "{} KiB", most >> 10);
}

#[test]
fn all_tables_together_are_bounded_even_when_full() {
    let one = Buckets::new(1);
    for number in 0..60_000_u32 {
        assert_eq!(one.ask(&number, SLOW, Count::Yes, 100.0), Ok(()));
    }
    assert!(one.len() > 26_000, "{}", one.len());
    let shards = SHARDS_OF_ADDRESSES + 2 * SHARDS_OF_ACCOUNTS;
    assert!(shards * one.allocated_bytes() <= 64 << 20, "{}", one.allocated_bytes());
}

#[test]
fn a_flood_of_strangers_does_not_empty_a_full_bucket() {
    let buckets = Buckets::new(1);
    let mut refused = 0;
    for _ in 0..6 {
        refused += u32::from(buckets.ask(&"attacker", SLOW, Count::Yes, 100.0).is_err());
    }
    assert_eq!(refused, 1);
    for stranger in 0..60_000_u32 {
        assert_eq!(buckets.ask(&stranger, SLOW, Count::Yes, 100.0), Ok(()));
        assert_eq!(buckets.ask(&stranger, SLOW, Count::Yes, 100.0), Ok(()), "not forgotten at once, nor limited");
    }
    assert!(buckets.ask(&"attacker", SLOW, Count::No, 100.0).is_err());
    assert!(buckets.len() <= 28_672, "{}", buckets.len());
}

#[test]
fn what_synapse_divides_by_must_be_a_positive_number() {
    for (per_second, usable) in [(0.003, true), (0.0, false), (-1.0, false), (f64::NAN, false), (f64::INFINITY, false)]
    {
        assert_eq!(Rule { per_second, burst_count: 1 }.is_usable(), usable, "{per_second}");
    }
}
