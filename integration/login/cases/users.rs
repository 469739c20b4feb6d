//! Every kind of user, of password and of hash.

use super::super::users::{LONG, LONG_TOO, LONG_UNICODE, LONG_UNICODE_TOO, UNICODE, UNICODE_TOO};
use super::Expect::{self, Edge, Forwarded};
use super::Reply::{Refused, User};
use super::{Case, FAULT, INVALID, LOCKED, Reply, password_body};

const DEACTIVATED: Reply = Refused(403, "M_USER_DEACTIVATED", "This account has been deactivated");

pub fn cases() -> Vec<Case> {
    let rows: [(&str, &str, Reply, Option<Expect>); 42] = [
        ("l-admin", "hush-admin", User("@l-admin:localhost"), Some(Edge)),
        // Deactivation takes the hash away.
        ("l-deactivated", "hush-deactivated", INVALID, Some(Edge)),
        ("l-dead", "hush-dead", DEACTIVATED, Some(Edge)),
        ("L-DEAD", "hush-dead", DEACTIVATED, Some(Edge)),
        ("l-locked", "hush-locked", LOCKED, Some(Edge)),
        ("@l-locked:localhost", "hush-locked", LOCKED, Some(Edge)),
        ("l-both", "hush-both", DEACTIVATED, Some(Edge)),
        ("l-suspended", "hush-suspended", User("@l-suspended:localhost"), Some(Edge)),
        ("l-shadow", "hush-shadow", User("@l-shadow:localhost"), Some(Edge)),
        ("l-guest", "hush-guest", INVALID, Some(Edge)),
        ("l-guest-hash", "hush-guest", User("@l-guest-hash:localhost"), None),
        ("l-nohash", "", INVALID, Some(Edge)),
        ("l-nohash", "hush-nohash", INVALID, Some(Edge)),
        ("l-emptyhash", "", INVALID, None),
        ("l-emptyhash", "hush-emptyhash", INVALID, None),
        ("l-empty", "", User("@l-empty:localhost"), Some(Edge)),
        ("l-empty", " ", INVALID, Some(Edge)),
        ("l-appservice", "hush-appservice", User("@l-appservice:localhost"), None),
        ("l-bot", "hush-bot", User("@l-bot:localhost"), Some(Edge)),
        ("l-unapproved", "hush-unapproved", User("@l-unapproved:localhost"), None),
        ("l-ünï", "hush-uni", User("@l-ünï:localhost"), None),
        // The database lowers letters of ASCII alone.
        ("L-ÜNÏ", "hush-uni", INVALID, None),
        ("L-ünï", "hush-uni", User("@l-ünï:localhost"), None),
        ("l slash/plus+=", "hush-slash", User("@l slash/plus+=:localhost"), None),
        ("L SLASH/plus+=", "hush-slash", User("@l slash/plus+=:localhost"), None),
        ("@l-remote:elsewhere:localhost", "hush-remote", User("@l-remote:elsewhere:localhost"), None),
        ("l-2a", "hush-2a", User("@l-2a:localhost"), Some(Edge)),
        ("l-2b", "hush-2b", User("@l-2b:localhost"), Some(Edge)),
        ("l-2x", "hush-2x", User("@l-2x:localhost"), None),
        ("l-2y", "hush-2y", User("@l-2y:localhost"), Some(Edge)),
        ("l-2a", "hush-2b", INVALID, Some(Edge)),
        ("l-2x", "hush-2b", INVALID, None),
        ("l-slow", "hush-slow", User("@l-slow:localhost"), Some(Edge)),
        ("l-slow", "hush-fast", INVALID, Some(Edge)),
        ("l-malformed-plain", "hush-malformed", FAULT, Some(Forwarded)),
        ("l-malformed-2c", "hush-malformed", FAULT, Some(Forwarded)),
        // What is too short compares as unequal: no fault.
        ("l-malformed-short", "hush-malformed", INVALID, None),
        ("l-malformed-rounds", "hush-malformed", FAULT, Some(Forwarded)),
        ("l-unicode", UNICODE, User("@l-unicode:localhost"), Some(Edge)),
        ("l-unicode", UNICODE_TOO, User("@l-unicode:localhost"), Some(Edge)),
        ("l-unicode", "hush-fInd 1A\u{30a}", INVALID, Some(Edge)),
        ("l-unicode", "hush-find 1A", INVALID, Some(Edge)),
    ];
    let mut cases: Vec<Case> =
        rows.iter().map(|(user, password, reply, answerer)| case(user, password, *reply, *answerer)).collect();
    for (user, password, is_right) in [
        ("l-long", LONG, true),
        ("l-long", LONG_TOO, true),
        ("l-long", &LONG[..72], true),
        ("l-long", &LONG[..71], false),
        ("l-long-unicode", LONG_UNICODE, true),
        ("l-long-unicode", LONG_UNICODE_TOO, true),
        ("l-long-unicode", &LONG_UNICODE_TOO.replace('ë', "e"), false),
    ] {
        let known = if user == "l-long" { "@l-long:localhost" } else { "@l-long-unicode:localhost" };
        cases.push(case(user, password, if is_right { User(known) } else { INVALID }, Some(Edge)));
    }
    cases
}

fn case(user: &str, password: &str, reply: Reply, answerer: Option<Expect>) -> Case {
    Case::new(&password_body(user, password), Some(reply), answerer)
}
