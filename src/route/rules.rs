//! The table of rules: one row a class, saying which pools may serve it, by which key, for how long.
//!
//! The first pool of a row that exists is the class's own, so a configuration names only the pools that it has; every
//! row ends at `main`, whose process serves everything that nobody else does. The numbers are starting points for a
//! server of any size and can be changed class by class (`timeouts.classes`).

use std::time::Duration;

use crate::endpoint::Class;

/// The pool that must always exist: Synapse's main process.
pub const MAIN: &str = "main";

/// The pool of the Matrix Authentication Service, the only one that is not Synapse's.
pub const AUTHENTICATION: &str = "authentication";

/// What requests of a class are balanced by, so that one process's caches serve what belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The user behind the access token, else the token itself.
    User,
    /// The room (or the alias) in the path.
    Room,
    /// The media id in the path.
    Media,
    /// The server that sends a federation request, as it names itself. A hint only: it is not verified here.
    Origin,
    /// Nothing: the process with the fewest requests in flight.
    LeastBusy,
}

impl KeyKind {
    /// The kind's name in `dendron routes` and in the access log.
    pub const fn name(self) -> &'static str {
        match self {
            KeyKind::User => "user",
            KeyKind::Room => "room",
            KeyKind::Media => "media",
            KeyKind::Origin => "origin",
            KeyKind::LeastBusy => "least busy",
        }
    }
}

/// How long Synapse may be silent before it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// This long between two bytes of an answer, the first one included. Never the whole of it, so that a slow but
    /// living transfer is not cut.
    Silence(Duration),
    /// As long as the client's own `timeout` parameter asks to wait, and this margin on top; at least `least`.
    Poll {
        /// What is added to the client's `timeout`.
        margin: Duration,
        /// The least that a poll is given.
        least: Duration,
    },
}

impl Patience {
    const fn seconds(seconds: u64) -> Self {
        Patience::Silence(Duration::from_secs(seconds))
    }

    /// The time for a request whose client asks to wait for `poll`.
    pub fn for_poll(self, poll: Option<Duration>) -> Duration {
        match self {
            Patience::Silence(silence) => silence,
            Patience::Poll { margin, least } => (poll.unwrap_or_default() + margin).max(least),
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The class that the row is for.
    pub class: Class,
    /// The pools that may serve the class, the best first.
    pub pools: &'static [&'static str],
    /// What the class is balanced by.
    pub key: KeyKind,
    /// How long Synapse may take.
    pub patience: Patience,
    /// Whether main serves the class while nobody of its pool is alive. Not where main cannot: a stream that another
    /// process writes, media that another process keeps, a sign-on that another process began, a login that is no longer
    /// Synapse's.
    pub fallback: bool,
}

impl Rule {
    /// The rule for a class that only the processes of its own pool can serve.
    const fn without_fallback(self) -> Self {
        Rule { fallback: false, ..self }
    }
}

/// The longest poll that is believed: a client that asks for more is waited for this long.
pub const POLL_MAX: Duration = Duration::from_secs(3600);

const POLL: Patience = Patience::Poll { margin: Duration::from_secs(90), least: Duration::from_secs(120) };
const MINUTE: Patience = Patience::seconds(60);
const LONG: Patience = Patience::seconds(180);
const FEDERATION: Patience = Patience::seconds(120);
/// While an upload pauses, Synapse is as silent as its client: with more time than the client (`timeouts.client.silence`),
/// it is not blamed for that. Afterwards it makes thumbnails, and may store them elsewhere.
const UPLOAD: Patience = Patience::seconds(120);
/// Joins, creations and upgrades of rooms wait for other servers, and first syncs for the database.
const SLOW: Patience = Patience::seconds(600);
const INITIAL: Patience = Patience::seconds(900);

const fn rule(class: Class, pools: &'static [&'static str], key: KeyKind, patience: Patience) -> Rule {
    Rule { class, pools, key, patience, fallback: true }
}

/// The rules, in the order of [`Class::ALL`].
pub const RULES: [Rule; Class::ALL.len()] = {
    use Class as C;
    use KeyKind::{LeastBusy, Media, Origin, Room, User};
    [
        rule(C::Sync, &["sync", "generic", MAIN], User, POLL),
        rule(C::SlidingSync, &["sliding_sync", "sync", "generic", MAIN], User, POLL),
        rule(C::InitialSync, &["initial_sync", "sync", "generic", MAIN], User, INITIAL),
        rule(C::RoomMessages, &["room_read", "client_read", "generic", MAIN], Room, LONG),
        rule(C::RoomRead, &["room_read", "client_read", "generic", MAIN], Room, LONG),
        rule(C::ClientRead, &["client_read", "generic", MAIN], LeastBusy, LONG),
        rule(C::Encryption, &["encryption", "client_read", "generic", MAIN], User, MINUTE),
        rule(C::Login, &["login", "client_read", "generic", MAIN], LeastBusy, MINUTE),
        rule(C::Sso, &["sso", MAIN], LeastBusy, MINUTE).without_fallback(),
        rule(C::EventSend, &["event_send", "generic", MAIN], Room, MINUTE),
        rule(C::RoomJoin, &["event_send", "generic", MAIN], Room, SLOW),
        rule(C::RoomCreate, &["room_create", "event_send", "generic", MAIN], User, SLOW),
        rule(C::Profile, &["event_send", "generic", MAIN], User, MINUTE),
        rule(C::Typing, &["typing", MAIN], LeastBusy, MINUTE).without_fallback(),
        rule(C::PushRules, &["push_rules", MAIN], LeastBusy, MINUTE).without_fallback(),
        rule(C::ThreadSubscriptions, &["thread_subscriptions", MAIN], User, MINUTE).without_fallback(),
        rule(C::AccountData, &["account_data", MAIN], LeastBusy, MINUTE),
        rule(C::ToDevice, &["to_device", MAIN], LeastBusy, MINUTE).without_fallback(),
        rule(C::Presence, &["presence", MAIN], LeastBusy, MINUTE),
        rule(C::Receipts, &["receipts", MAIN], User, MINUTE).without_fallback(),
        rule(C::DeviceLists, &["device_lists", MAIN], User, MINUTE),
        rule(C::Quarantine, &["quarantine", "media", MAIN], LeastBusy, LONG).without_fallback(),
        rule(C::UserDirectory, &["user_directory", "generic", MAIN], LeastBusy, MINUTE),
        rule(C::Media, &["media", MAIN], Media, MINUTE).without_fallback(),
        rule(C::MediaUpload, &["media_upload", "media", MAIN], LeastBusy, UPLOAD).without_fallback(),
        rule(C::MediaAdmin, &["media", MAIN], LeastBusy, LONG).without_fallback(),
        rule(C::FederationTransaction, &["federation_transaction", "federation", MAIN], Origin, FEDERATION),
        rule(C::FederationRead, &["federation_read", "federation", MAIN], Room, FEDERATION),
        rule(C::FederationJoin, &["federation_join", "federation", MAIN], Room, SLOW),
        rule(C::FederationKeys, &["federation_keys", "federation", MAIN], LeastBusy, MINUTE),
        rule(C::WellKnown, &[MAIN], LeastBusy, MINUTE),
        rule(C::Preflight, &["client_read", "generic", MAIN], LeastBusy, MINUTE),
        rule(C::AdminRead, &["admin_read", "admin", MAIN], LeastBusy, LONG),
        rule(C::Admin, &["admin", MAIN], LeastBusy, SLOW),
        rule(C::Mas, &["mas", MAIN], LeastBusy, MINUTE),
        rule(C::Authentication, &[AUTHENTICATION, MAIN], LeastBusy, MINUTE).without_fallback(),
        rule(C::Main, &[MAIN], LeastBusy, LONG),
        rule(C::MainSlow, &[MAIN], LeastBusy, SLOW),
        rule(C::Unknown, &[MAIN], LeastBusy, LONG),
        rule(C::Private, &[MAIN], LeastBusy, MINUTE),
    ]
};

/// What the processes of a pool are asked to find out whether they serve. Synapse answers `/health` on every HTTP listener
/// (`rest/health.py`). The Matrix Authentication Service does so only where it is configured to, and hardly where logins
/// go; the flows of logins it has in memory (`crates/handlers/src/compat/login.rs`).
pub fn health_path(pool: &str) -> &'static str {
    if pool == AUTHENTICATION { "/_matrix/client/v3/login" } else { "/health" }
}

/// The names that a pool may have: `main`, then the others in the order in which the table first names them.
pub fn pool_names() -> Vec<&'static str> {
    let mut names = vec![MAIN];
    for name in RULES.iter().flat_map(|rule| rule.pools) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_row_and_every_row_ends_at_main() {
        for (class, rule) in Class::ALL.iter().zip(&RULES) {
            assert_eq!(*class, rule.class);
            assert_eq!(rule.pools.last(), Some(&MAIN), "{class:?}");
        }
    }

    #[test]
    fn every_pool_has_one_name() {
        let names = pool_names();
        assert_eq!(names[..3], [MAIN, "sync", "generic"]);
        let known: std::collections::BTreeSet<&str> = RULES.iter().flat_map(|rule| rule.pools).copied().collect();
        assert_eq!(known.len(), names.len());
        assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    }

    #[test]
    fn a_poll_outlasts_the_clients_own_timeout() {
        let patience = RULES[Class::Sync.index()].patience;
        assert_eq!(patience.for_poll(None), Duration::from_secs(120));
        assert_eq!(patience.for_poll(Some(Duration::from_secs(30))), Duration::from_secs(120));
        assert_eq!(patience.for_poll(Some(Duration::from_secs(300))), Duration::from_secs(390));
    }

    /// Synapse 1.163 asserts that it is the writer where it stores these (`storage/databases/main/deviceinbox.py`,
    /// `receipts.py`, `thread_subscriptions.py`, `room.py`) or refuses them (`rest/client/push_rule.py`); account data and
    /// presence are handed on to their writer (`handlers/account_data.py`, `handlers/presence.py`).
    #[test]
    fn main_stands_in_only_where_synapse_lets_it() {
        use Class::*;
        let never = [
            Sso,
            Typing,
            PushRules,
            ThreadSubscriptions,
            ToDevice,
            Receipts,
            Quarantine,
            Media,
            MediaUpload,
            MediaAdmin,
            Authentication,
        ];
        for rule in &RULES {
            assert_eq!(rule.fallback, !never.contains(&rule.class), "{:?}", rule.class);
        }
    }

    #[test]
    fn single_writers_never_fall_back_to_workers_that_would_fail() {
        for class in [Class::Typing, Class::PushRules, Class::ToDevice, Class::Presence, Class::Sso, Class::Media] {
            assert_eq!(RULES[class.index()].pools.len(), 2, "{class:?}");
        }
    }
}
