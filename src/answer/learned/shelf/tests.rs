//! What is kept, asked and told, moment by moment.

use std::time::SystemTime;

use http::header::AGE;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::synapse::Answer;

const HOUR: Duration = Duration::from_secs(3_600);
const ONE: Option<&str> = Some("Synapse/1");
const TWO: Option<&str> = Some("Synapse/2");

fn document(body: &'static str, now: Instant) -> Learned {
    let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() };
    Learned::Document(Document::learn(Item::Versions, answer, now, SystemTime::now()).unwrap())
}

/// A shelf that wants everything, and has everything of version 1.
fn full(now: Instant) -> Shelf {
    let mut shelf = Shelf::new(|_| true, HOUR, now);
    while let Some(item) = shelf.due(now) {
        shelf.learn(item, ONE, document("one", now), now);
    }
    shelf
}

fn body(shelf: &Shelf, item: Item, now: Instant) -> Option<Vec<u8>> {
    shelf.reply(item, now).map(|reply| reply.body.to_vec())
}

fn age(shelf: &Shelf, now: Instant) -> Option<String> {
    let reply = shelf.reply(Item::Versions, now).expect("a reply");
    let age = reply.headers.iter().find(|(name, _)| name == AGE).cloned();
    age.map(|(_, value)| value.to_str().unwrap().to_owned())
}

#[test]
fn all_that_is_wanted_is_asked_for_at_once_and_then_spread() {
    let now = Instant::now();
    let mut shelf = full(now);
    let mut moments = Vec::new();
    for milliseconds in 0..REFRESH.as_millis() as u64 + 1 {
        let then = now + Duration::from_millis(milliseconds);
        if let Some(item) = shelf.due(then) {
            shelf.learn(item, ONE, document("two", then), then);
            moments.push(milliseconds);
        }
    }
    assert_eq!(moments.len(), Item::ALL.len());
    let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min() >= Some(REFRESH.as_millis() as u64 / Item::ALL.len() as u64 - 1), "{moments:?}");
    assert_eq!(body(&shelf, Item::Versions, now + REFRESH).as_deref(), Some(&b"two"[..]));
}

#[test]
fn what_is_not_wanted_is_neither_asked_nor_told() {
    let now = Instant::now();
    let mut shelf = Shelf::new(|item| item == Item::Versions, HOUR, now);
    assert_eq!(shelf.due(now), Some(Item::Versions));
    shelf.learn(Item::Versions, ONE, document("one", now), now);
    shelf.learn(Item::LoginFlows, ONE, document("one", now), now);
    assert_eq!(shelf.due(now), None);
    assert_eq!(body(&shelf, Item::LoginFlows, now), None);
    assert_eq!(body(&shelf, Item::Versions, now).as_deref(), Some(&b"one"[..]));
}

#[test]
fn while_synapse_is_down_documents_stay_and_say_their_age() {
    let now = Instant::now();
    let mut shelf = full(now);
    assert_eq!(age(&shelf, now), None);
    let down = now + Duration::from_secs(20);
    shelf.learn(Item::Versions, None, Learned::Failure, down);
    assert_eq!(age(&shelf, down).as_deref(), Some("20"));
    assert_eq!(shelf.due(down + RETRY / 2), None);
    assert!(shelf.due(down + RETRY).is_some());
    assert_eq!(age(&shelf, now + HOUR).as_deref(), Some("3600"));
    assert_eq!(body(&shelf, Item::Versions, now + HOUR + RETRY), None);
}

#[test]
fn after_a_failure_everything_is_asked_again() {
    let now = Instant::now();
    let mut shelf = full(now);
    shelf.learn(Item::Versions, None, Learned::Failure, now);
    let back = now + RETRY;
    let item = shelf.due(back + REFRESH).expect("an item");
    shelf.learn(item, ONE, document("two", back), back);
    assert_eq!(age(&shelf, back), None);
    let due = std::iter::from_fn(|| {
        let item = shelf.due(back)?;
        shelf.learn(item, ONE, document("two", back), back);
        Some(item)
    });
    assert_eq!(due.count(), Item::ALL.len() - 1);
}

#[test]
fn a_document_that_nobody_could_renew_says_its_age_too() {
    let now = Instant::now();
    let shelf = full(now);
    assert_eq!(age(&shelf, now + FRESH_MAX), None);
    assert_eq!(age(&shelf, now + FRESH_MAX + RETRY).as_deref(), Some("92"));
}

#[test]
fn another_version_drops_everything() {
    let now = Instant::now();
    let mut shelf = full(now);
    shelf.learn(Item::LoginFlows, TWO, document("two", now), now);
    assert_eq!(body(&shelf, Item::Versions, now), None);
    assert_eq!(body(&shelf, Item::LoginFlows, now).as_deref(), Some(&b"two"[..]));
    assert!(shelf.due(now).is_some());

    let mut shelf = full(now);
    assert!(shelf.see_versions(TWO.into_iter(), now));
    assert_eq!(body(&shelf, Item::Versions, now), None);
    assert_eq!(shelf.version(), TWO);
    assert!(!shelf.see_versions(TWO.into_iter(), now), "it is no news");
}

#[test]
fn while_versions_are_mixed_nothing_is_told() {
    let now = Instant::now();
    let mut shelf = full(now);
    for (versions, told) in [
        (&["Synapse/1", "Synapse/1"][..], true),
        (&["Synapse/1", "Synapse/2"], false),
        (&["Synapse/1"], true),
        // Nobody is in service.
        (&[], true),
        (&["Synapse/2", "Synapse/2"], false),
    ] {
        shelf.see_versions(versions.iter().copied(), now);
        assert_eq!(shelf.reply(Item::Versions, now).is_some(), told, "{versions:?}");
        assert_eq!(shelf.version().is_none(), versions.contains(&"Synapse/1") && !told, "{versions:?}");
    }
}

#[test]
fn an_answer_that_does_not_last_takes_the_document_away() {
    let now = Instant::now();
    let mut shelf = full(now);
    shelf.learn(Item::Versions, ONE, Learned::Nothing, now);
    assert_eq!(body(&shelf, Item::Versions, now), None);
    assert_eq!(shelf.due(now), None);
    assert!(shelf.due(now + REFRESH).is_some());
    // Whoever does not say that it is Synapse teaches nothing.
    shelf.learn(Item::LoginFlows, None, document("two", now), now);
    assert_eq!(body(&shelf, Item::LoginFlows, now).as_deref(), Some(&b"one"[..]));
}
