//! What is forgotten for each event.

use std::time::Duration;

use super::*;
use crate::replication::{Change, Gap, Reason};
use crate::token::{Caller, CallerKind, TokenHash};

const SECOND: Duration = Duration::from_secs(1);

fn changed(stream: Stream, concerns: Concerns) -> Event {
    let received = Instant::now();
    Event::Change(Change { stream, writer: "w".into(), after: 1, position: 2, concerns, received })
}

fn device(user: &str, device: Option<&str>) -> Device {
    Device { user: user.into(), device: device.map(Into::into) }
}

/// Callers of which four tokens are believed: two devices of one user, a third without a device, and another user's.
fn believed(hasher: &Arc<TokenHasher>, now: Instant) -> (Callers, [TokenHash; 4]) {
    let callers = Callers::new(Arc::clone(hasher), &Metrics::new(0).unwrap(), now);
    tell(&callers, &Event::Live(Vec::new()), now);
    let tokens = [("@a:b", Some("D")), ("@a:b", Some("E")), ("@a:b", None), ("@c:b", Some("D"))];
    let hashes = tokens.map(|(user, device)| {
        let hash = hasher.hash(&format!("{user}{device:?}"));
        let caller = Caller::new(user, device, CallerKind::User);
        callers.learn(hash, caller, now + SECOND, None);
        hash
    });
    (callers, hashes)
}

#[test]
fn each_event_ends_what_it_may_have_ended() {
    let hasher = Arc::new(TokenHasher::with_key([0; 32]));
    let caches = |concerns| changed(Stream::Caches, concerns);
    let doubt = |stream, doubt| changed(stream, Concerns::Everybody(doubt));
    let (all, none) = ([true; 4], [false; 4]);
    let ended = hasher.hash("@a:bSome(\"D\")");
    let table = [
        (caches(Concerns::TokenEnded(ended)), [false, true, true, true]),
        (caches(Concerns::DeviceChanged(device("@a:b", Some("D")))), [false, true, true, true]),
        (caches(Concerns::DeviceChanged(device("@a:b", None))), [false, false, false, true]),
        (caches(Concerns::AccountChanged("@a:b".into())), [false, false, false, true]),
        (caches(Concerns::Keys(device("@a:b", Some("D")))), all),
        (changed(Stream::ToDevice, Concerns::User("@a:b".into())), all),
        (doubt(Stream::Caches, Doubt::UnknownRow), none),
        (doubt(Stream::Caches, Doubt::UnknownWriter), none),
        (doubt(Stream::Events, Doubt::UnknownRow), all),
        (doubt(Stream::Events, Doubt::Gap(Gap::Ahead)), none),
        (doubt(Stream::Unknown, Doubt::MalformedCommand), none),
        (doubt(Stream::Unknown, Doubt::TooManyWriters), none),
        (doubt(Stream::Unknown, Doubt::UnknownStream), all),
        (doubt(Stream::Unknown, Doubt::UnknownCommand), all),
        (Event::Lost(Reason::Overflow), none),
        (Event::Live(Vec::new()), none),
    ];
    for (event, expected) in table {
        let now = Instant::now();
        let (callers, hashes) = believed(&hasher, now);
        assert_eq!(hashes.map(|hash| callers.get(hash, now + SECOND).is_some()), all);
        tell(&callers, &event, now + SECOND);
        assert_eq!(hashes.map(|hash| callers.get(hash, now + SECOND).is_some()), expected, "{event:?}");
    }
}
