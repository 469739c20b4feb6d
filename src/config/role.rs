//! What a worker's name says about its role.
//!
//! Synapse has only generic workers; what each is for stands in the reverse proxy's configuration. Administrators name
//! workers by what the documentation, Synapse's docker image, ess-helm or the Ansible playbook call them. The name is a
//! hint for spreading load and never decides what is correct: whatever pool it leads to, the process must have the
//! resource that the pool needs.

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Anything.
    Generic,
    /// Some pools: `own` always, `spare` if nobody else is there for them.
    Pools {
        /// The pools it is in.
        own: &'static [&'static str],
        /// The pools it is in if they, and the pool behind them, would be empty.
        spare: &'static [&'static str],
    },
    /// Writing streams. If it writes none, its name says nothing.
    Writer,
    /// Work without requests.
    Background,
}

/// A name's words, and the role that they mean.
struct Row {
    words: &'static [&'static str],
    role: Role,
}

const SYNC: Role = Role::Pools { own: &["sync"], spare: &["initial_sync", "sliding_sync"] };
const CLIENT_READER: Role =
    Role::Pools { own: &["room_read", "client_read"], spare: &["encryption", "login", "user_directory"] };
const EVENT_CREATOR: Role = Role::Pools { own: &["event_send", "room_create"], spare: &[] };
const FEDERATION_READER: Role =
    Role::Pools { own: &["federation_read", "federation_join", "federation_keys"], spare: &["federation_transaction"] };

const fn row(words: &'static [&'static str], role: Role) -> Row {
    Row { words, role }
}

const fn only(words: &'static [&'static str], own: &'static [&'static str]) -> Row {
    Row { words, role: Role::Pools { own, spare: &[] } }
}

/// More words win over fewer: `initial_synchrotron` is no `synchrotron`.
const ROWS: [Row; 58] = [
    row(&["generic"], Role::Generic),
    row(&["sync"], SYNC),
    row(&["syncs"], SYNC),
    row(&["synchrotron"], SYNC),
    only(&["initial", "sync"], &["initial_sync"]),
    only(&["initial", "synchrotron"], &["initial_sync"]),
    only(&["initialsync"], &["initial_sync"]),
    only(&["sliding", "sync"], &["sliding_sync"]),
    only(&["sliding", "synchrotron"], &["sliding_sync"]),
    row(&["client"], CLIENT_READER),
    row(&["client", "reader"], CLIENT_READER),
    only(&["room", "reader"], &["room_read"]),
    only(&["room", "worker"], &["room_read", "event_send"]),
    only(&["encryption"], &["encryption"]),
    only(&["keys"], &["encryption"]),
    only(&["login"], &["login"]),
    only(&["client", "login"], &["login"]),
    only(&["register"], &["login"]),
    only(&["registration"], &["login"]),
    only(&["sso"], &["sso"]),
    only(&["sso", "login"], &["sso"]),
    row(&["event", "creator"], EVENT_CREATOR),
    row(&["event", "sender"], EVENT_CREATOR),
    row(&["message", "sender"], EVENT_CREATOR),
    row(&["room", "sender"], EVENT_CREATOR),
    only(&["federation"], &["federation"]),
    row(&["federation", "reader"], FEDERATION_READER),
    only(&["federation", "inbound"], &["federation_transaction"]),
    only(&["federation", "receiver"], &["federation_transaction"]),
    only(&["media"], &["media"]),
    only(&["media", "repository"], &["media"]),
    only(&["user", "dir"], &["user_directory"]),
    only(&["user", "directory"], &["user_directory"]),
    row(&["writer"], Role::Writer),
    row(&["stream", "writer"], Role::Writer),
    row(&["persister"], Role::Writer),
    row(&["event", "persister"], Role::Writer),
    row(&["events"], Role::Writer),
    row(&["typing"], Role::Writer),
    row(&["receipts"], Role::Writer),
    row(&["presence"], Role::Writer),
    row(&["to", "device"], Role::Writer),
    row(&["account", "data"], Role::Writer),
    row(&["push", "rules"], Role::Writer),
    row(&["device", "lists"], Role::Writer),
    row(&["thread", "subscriptions"], Role::Writer),
    row(&["quarantined", "media"], Role::Writer),
    row(&["quarantined", "media", "changes"], Role::Writer),
    row(&["pusher"], Role::Background),
    row(&["push", "sender"], Role::Background),
    row(&["federation", "sender"], Role::Background),
    row(&["fed", "sender"], Role::Background),
    row(&["appservice"], Role::Background),
    row(&["appservice", "sender"], Role::Background),
    row(&["background"], Role::Background),
    row(&["background", "worker"], Role::Background),
    row(&["background", "tasks"], Role::Background),
    row(&["housekeeping"], Role::Background),
];

/// The role that a worker's name means.
pub(super) fn role(name: &str) -> Role {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> =
        name.split(|letter: char| !letter.is_ascii_alphabetic()).filter(|word| !word.is_empty()).collect();
    let occurs = |row: &&Row| words.windows(row.words.len()).any(|window| window == row.words);
    // `max_by_key` takes the last of equals, which a name's last word should be: client_sync1 is for syncs.
    let place = |row: &Row| words.windows(row.words.len()).rposition(|window| window == row.words);
    let best = ROWS.iter().filter(occurs).max_by_key(|row| (row.words.len(), place(row)));
    best.map_or(Role::Generic, |row| row.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_roles() {
        let own = |name: &str| match role(name) {
            Role::Pools { own, .. } => own.join(" "),
            other => format!("{other:?}"),
        };
        let table = [
            ("generic_worker1", "Generic"),
            ("worker-3", "Generic"),
            ("bert", "Generic"),
            ("sync1", "sync"),
            ("sync_worker_2", "sync"),
            ("synchrotron", "sync"),
            ("client_sync1", "sync"),
            ("ess-synapse-initial-synchrotron-0", "initial_sync"),
            ("sliding-sync-0", "sliding_sync"),
            ("client_reader1", "room_read client_read"),
            ("matrix-synapse-worker-client-reader-0", "room_read client_read"),
            ("event_creator2", "event_send room_create"),
            ("federation_reader1", "federation_read federation_join federation_keys"),
            ("federation_inbound1", "federation_transaction"),
            ("federation_sender1", "Background"),
            ("media_repository", "media"),
            ("user_dir1", "user_directory"),
            ("sso-login-0", "sso"),
            ("typing1", "Writer"),
            ("presence-writer-0", "Writer"),
            ("event_persister1", "Writer"),
            ("push_rules", "Writer"),
            ("pusher2", "Background"),
            ("background_worker1", "Background"),
            ("asynchronous", "Generic"),
        ];
        for (name, expected) in table {
            assert_eq!(own(name), expected, "{name}");
        }
    }

    #[test]
    fn every_pool_named_here_exists() {
        for row in &ROWS {
            if let Role::Pools { own, spare } = row.role {
                for pool in own.iter().chain(spare) {
                    assert!(crate::route::rules::pool_names().contains(pool), "{pool}");
                }
            }
        }
    }
}
