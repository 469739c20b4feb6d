//! What is believed of tokens, for how long, and what is forgotten.

use super::*;
use crate::token::{CallerKind, TokenHasher};

const HOUR: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);

fn caller(user: &str, device: Option<&str>) -> Caller {
    Caller::new(user, device, CallerKind::User)
}

#[test]
fn a_token_is_known_for_its_time() {
    let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
    let tokens = Tokens::new(10, HOUR, now);
    let (long, short) = (hasher.hash("long"), hasher.hash("short"));
    tokens.learn(long, caller("@a:b", Some("D")), now, None);
    tokens.learn(short, caller("@a:b", Some("D")), now, Some(SECOND * 60));
    let table = [(long, 0, true), (short, 59, true), (short, 60, false), (long, 3_599, true), (long, 3_600, false)];
    for (hash, seconds, known) in table {
        assert_eq!(tokens.get(hash, now + SECOND * seconds).is_some(), known, "{seconds}");
    }
}

#[test]
fn what_is_forgotten_is_forgotten_and_nothing_else() {
    type Forget = fn(&Tokens, TokenHash, Instant);
    let table: [(Forget, [bool; 4]); 4] = [
        (|tokens, hash, now| tokens.forget_token_hash(hash, now), [false, true, true, true]),
        (|tokens, _, now| tokens.forget_device("@a:b", "D", now), [false, true, true, true]),
        (|tokens, _, now| tokens.forget_user("@a:b", now), [false, false, false, true]),
        (|tokens, _, now| tokens.forget_all(now), [false, false, false, false]),
    ];
    for (place, (forget, known)) in table.into_iter().enumerate() {
        let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
        let tokens = Tokens::new(10, HOUR, now);
        let callers =
            [("@a:b", Some("D")), ("@a:b", Some("E")), ("@a:b", None), ("@c:b", Some("D"))].map(|(user, device)| {
                let hash = hasher.hash(&format!("{user}{device:?}"));
                tokens.learn(hash, caller(user, device), now, None);
                hash
            });
        forget(&tokens, callers[0], now + SECOND);
        assert_eq!(callers.map(|hash| tokens.get(hash, now + SECOND).is_some()), known, "{place}");
        // What was asked before the moment teaches nothing, what is asked afterwards does.
        tokens.learn(callers[0], caller("@a:b", Some("D")), now + SECOND, None);
        assert_eq!(tokens.get(callers[0], now + SECOND * 2), None, "{place}");
        tokens.learn(callers[0], caller("@a:b", Some("D")), now + SECOND * 2, None);
        assert!(tokens.get(callers[0], now + SECOND * 2).is_some(), "{place}");
    }
}

#[test]
fn a_token_that_synapse_takes_again_is_believed_again() {
    let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
    let tokens = Tokens::new(10, HOUR, now);
    let (one, short) = (hasher.hash("one"), hasher.hash("short"));
    tokens.learn(one, caller("@a:b", Some("D")), now, None);
    tokens.learn(short, caller("@a:b", Some("D")), now, Some(SECOND * 5));
    tokens.forget_all(now + SECOND);
    tokens.confirm(one, now + SECOND);
    assert_eq!(tokens.get(one, now + SECOND), None);
    tokens.confirm(one, now + SECOND * 2);
    tokens.confirm(short, now + SECOND * 2);
    assert!(tokens.get(one, now + SECOND * 2 + HOUR - SECOND).is_some());
    assert_eq!(tokens.get(one, now + SECOND * 2 + HOUR), None);
    // A request that began earlier and ended later changes nothing.
    tokens.confirm(one, now);
    assert!(tokens.get(one, now + SECOND * 3).is_some());
    // What was said of the token's end holds.
    assert!(tokens.get(short, now + SECOND * 4).is_some());
    assert_eq!(tokens.get(short, now + SECOND * 5), None);
    // An ended token does not come back, and nothing is learned by it.
    tokens.forget_token_hash(one, now + SECOND * 3);
    tokens.confirm(one, now + SECOND * 4);
    tokens.confirm(hasher.hash("stranger"), now);
    assert_eq!((tokens.get(one, now + SECOND * 4), tokens.len()), (None, 1));
}

#[test]
fn whose_a_token_is_stays_known_until_it_has_ended() {
    let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
    let tokens = Tokens::new(10, HOUR, now);
    let hash = hasher.hash("a");
    tokens.learn(hash, caller("@a:b", Some("D")), now, None);
    tokens.forget_user("@a:b", now);
    tokens.forget_all(now);
    assert_eq!((tokens.get(hash, now), tokens.owner(hash)), (None, Some(caller("@a:b", Some("D")))));
    tokens.forget_token_hash(hash, now);
    assert_eq!(tokens.owner(hash), None);
}

#[test]
fn tokens_and_notes_are_bounded() {
    let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
    let tokens = Tokens::new(100, HOUR, now);
    for number in 0..10_000 {
        tokens.learn(hasher.hash(&number.to_string()), caller("@a:b", None), now, None);
    }
    let known = (0..10_000).filter(|number| tokens.get(hasher.hash(&number.to_string()), now).is_some()).count();
    assert!((1..=110).contains(&known), "{known}");
    let last = hasher.hash("last");
    tokens.learn(last, caller("@c:b", None), now, None);
    for number in 0..=NOTES_MAX {
        tokens.forget_user(&number.to_string(), now + SECOND);
    }
    assert!(tokens.notes.read().unwrap().until.len() <= NOTES_MAX);
    // Too many notes are one about everybody.
    assert_eq!(tokens.get(last, now + SECOND), None);
}

/// Alone in its process, since it looks at the whole process's memory:
/// `cargo test --lib a_million_tokens -- --ignored`.
#[test]
#[ignore = "looks at the memory of the whole process"]
fn a_million_tokens_are_small() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (now, hasher) = (Instant::now(), TokenHasher::new().unwrap());
    let before = resident();
    let tokens = Tokens::new(1_000_000, HOUR, now);
    for number in 0..1_000_000 {
        let user = format!("@somebody-{number:07}:matrix.example.org");
        tokens.learn(hasher.hash(&number.to_string()), caller(&user, Some("ABCDEFGHIJ")), now, None);
    }
    let grown = (resident() - before) / 1024;
    assert!(grown <= 200, "{grown} MiB");
    assert!(tokens.cache.len() > 900_000, "{}", tokens.cache.len());
    println!("{grown} MiB for {} tokens", tokens.cache.len());
}
