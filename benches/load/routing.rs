//! Matrix's routing as an administrator writes it down for a load balancer: regular expressions over paths, in the order
//! in which they are tried. The facts are those of Synapse's `docs/workers.md`; HAProxy's and nginx's configurations are
//! made of these tables, so that both do the same, and the same as dendron.

/// What the requests of a pool are balanced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The user in the access token.
    User,
    /// The sixth segment of the path: a room, an event, a user.
    Sixth,
    /// The sending server.
    Origin,
    /// The process with the fewest connections.
    LeastBusy,
}

/// A pool, and the group of processes that serve it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) key: Key,
}

/// Groups of processes, and how many each has.
pub(crate) const GROUPS: [(&str, usize); 8] = [
    ("main", 1),
    ("sync", 2),
    ("initial", 1),
    ("room", 2),
    ("client", 2),
    ("event", 2),
    ("federation", 2),
    ("media", 1),
];

const fn pool(name: &'static str, group: &'static str, key: Key) -> Pool {
    Pool { name, group, key }
}

/// The pools, by dendron's names.
pub(crate) const POOLS: [Pool; 11] = [
    pool("main", "main", Key::LeastBusy),
    pool("sync", "sync", Key::User),
    pool("initial_sync", "initial", Key::User),
    pool("room_read", "room", Key::Sixth),
    pool("client_read", "client", Key::LeastBusy),
    pool("encryption", "client", Key::User),
    pool("event_send", "event", Key::Sixth),
    pool("federation_transaction", "federation", Key::Origin),
    pool("federation", "federation", Key::LeastBusy),
    pool("federation_read", "federation", Key::Sixth),
    pool("media", "media", Key::Sixth),
];

/// Paths and their pools; the first that fits decides, and what fits none is main's.
pub(crate) const RULES: [(&str, &str); 62] = [
    ("^/_matrix/client/(r0|v3)/sync$", "sync"),
    ("^/_matrix/client/(api/v1|r0|v3)/events$", "sync"),
    ("^/_matrix/client/unstable/org.matrix.simplified_msc3575/sync$", "sync"),
    ("^/_matrix/client/(api/v1|r0|v3)/initialSync$", "initial_sync"),
    ("^/_matrix/client/(api/v1|r0|v3)/rooms/[^/]+/initialSync$", "initial_sync"),
    ("^/_matrix/media/", "media"),
    ("^/_matrix/client/v1/media/", "media"),
    ("^/_matrix/federation/v1/media/", "media"),
    ("^/_synapse/admin/v1/purge_media_cache$", "media"),
    ("^/_synapse/admin/v1/room/.*/media.*$", "media"),
    ("^/_synapse/admin/v1/media/.*$", "media"),
    ("^/_matrix/federation/v1/send/", "federation_transaction"),
    ("^/_matrix/federation/v1/event/", "federation_read"),
    ("^/_matrix/federation/v1/state/", "federation_read"),
    ("^/_matrix/federation/v1/state_ids/", "federation_read"),
    ("^/_matrix/federation/v1/backfill/", "federation_read"),
    ("^/_matrix/federation/v1/get_missing_events/", "federation_read"),
    ("^/_matrix/federation/v1/event_auth/", "federation_read"),
    ("^/_matrix/federation/v1/timestamp_to_event/", "federation_read"),
    ("^/_matrix/federation/v1/hierarchy/", "federation_read"),
    ("^/_matrix/federation/v1/publicRooms", "federation_read"),
    ("^/_matrix/federation/v1/query/", "federation_read"),
    ("^/_matrix/federation/v1/user/devices/", "federation_read"),
    ("^/_matrix/federation/v1/(make_join|make_leave|make_knock)/", "federation_read"),
    ("^/_matrix/federation/(v1|v2)/(send_join|send_leave|invite)/", "federation_read"),
    ("^/_matrix/federation/v1/(send_knock|exchange_third_party_invite)/", "federation_read"),
    ("^/_matrix/key/v2/query", "federation"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/messages$", "room_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/(joined_members|members|state)$", "room_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/context/.*$", "room_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/event/", "room_read"),
    ("^/_matrix/client/v1/rooms/.*/(hierarchy|threads|timestamp_to_event)$", "room_read"),
    ("^/_matrix/client/(v1|unstable)/rooms/.*/relations/", "room_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/aliases$", "room_read"),
    ("^/_matrix/client/v1/room_summary/.*$", "room_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/directory/room/.*$", "room_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/publicRooms$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/account/3pid$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/account/whoami$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/account/deactivate$", "client_read"),
    ("^/_matrix/client/versions$", "client_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/voip/turnServer$", "client_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/joined_rooms$", "client_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/search$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/user/.*/filter(/|$)", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/capabilities$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/notifications$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/password_policy$", "client_read"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/login$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/register$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/register/available$", "client_read"),
    ("^/_matrix/client/(r0|v3|unstable)/keys/(query|changes|claim)$", "encryption"),
    ("^/_matrix/client/(r0|v3|unstable)/room_keys/", "encryption"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/createRoom$", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/redact", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/send/", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/state/", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/rooms/.*/(join|invite|leave|ban|unban|kick)$", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/join/", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/knock/", "event_send"),
    ("^/_matrix/client/(api/v1|r0|v3|unstable)/profile/", "event_send"),
    ("^/_matrix/client/(r0|v3|unstable)/user_directory/search$", "client_read"),
];

/// The names of all processes: a group's name and a number.
pub(crate) fn processes() -> Vec<String> {
    let numbered = |(group, count): &(&str, usize)| (1..=*count).map(|number| format!("{group}{number}")).collect();
    GROUPS.iter().flat_map(|group| -> Vec<String> { numbered(group) }).collect()
}

/// The group that a process belongs to.
pub(crate) fn group_of(process: &str) -> &str {
    process.trim_end_matches(|character: char| character.is_ascii_digit())
}

/// The group behind a pool.
pub(crate) fn group_behind(pool: &str) -> &'static str {
    POOLS.iter().find(|known| known.name == pool).map_or("main", |known| known.group)
}
