//! The classes of endpoints: what shares a pool, a balancing key and timeouts.
//!
//! A class says what a request *is*. Where it goes is said by `route`'s table of rules, which has one row for each of
//! these.

/// A class of endpoints. The doc of each names the documented worker endpoints that it stands for (Synapse's
/// `docs/workers.md`), or why it is apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// An incremental `/sync` or `/events`: a long-poll.
    Sync,
    /// Simplified sliding sync (MSC4186), a long-poll by `POST`.
    SlidingSync,
    /// A `/sync` without `since` or with `full_state=true`, an `/events` without `from`, `/initialSync`: heavy.
    InitialSync,
    /// `/messages`, which Synapse wants at one process for one room.
    RoomMessages,
    /// Reads of one room: members, state, context, relations, hierarchy, aliases, the room directory.
    RoomRead,
    /// Reads about nobody's room: capabilities, whoami, versions, public rooms, filters, search, …
    ClientRead,
    /// `/keys/query`, `/keys/changes`, `/keys/claim` and key backups.
    Encryption,
    /// Password login and registration.
    Login,
    /// Single sign-on, which must all go to one process.
    Sso,
    /// Sending into a room: messages, state, redactions, membership.
    EventSend,
    /// Joining and knocking by room id or alias, which can take minutes over federation.
    RoomJoin,
    /// `/createRoom`.
    RoomCreate,
    /// Reading and writing profiles.
    Profile,
    /// The typing stream's writer.
    Typing,
    /// The push rules stream's writer.
    PushRules,
    /// The thread subscriptions stream's writers.
    ThreadSubscriptions,
    /// The account data stream's writer (tags, too).
    AccountData,
    /// The to-device stream's writer.
    ToDevice,
    /// The presence stream's writer.
    Presence,
    /// The receipts stream's writers.
    Receipts,
    /// The device lists stream's writers.
    DeviceLists,
    /// The quarantined media stream's writers; part of the admin API.
    Quarantine,
    /// `/user_directory/search`.
    UserDirectory,
    /// Downloads, thumbnails, previews and settings of media.
    Media,
    /// Uploads of media, measured by progress.
    MediaUpload,
    /// The media repository's part of the admin API.
    MediaAdmin,
    /// `PUT /_matrix/federation/v1/send/{txnId}`.
    FederationTransaction,
    /// Reads by other servers: events, state, backfill, …
    FederationRead,
    /// Joins, leaves, knocks and invites by other servers, which can take long.
    FederationJoin,
    /// `/_matrix/key/v2/query`: keys of other servers.
    FederationKeys,
    /// `/.well-known/matrix/*` and `/_matrix/key/v2/server`: near-static, served by any process.
    WellKnown,
    /// A CORS preflight, which any process answers.
    Preflight,
    /// The parts of the admin API that workers serve.
    AdminRead,
    /// The rest of the admin API.
    Admin,
    /// What the Matrix Authentication Service calls on Synapse.
    Mas,
    /// What that service answers in Synapse's place, where it has taken logins over: login, logout, refresh.
    Authentication,
    /// What only the main process serves.
    Main,
    /// What only the main process serves and may take long: room upgrades, deactivations.
    MainSlow,
    /// Nothing that is known here: the main process says what it is.
    Unknown,
    /// Never public: replication, metrics and whatever else stands under `/_synapse/` for Synapse alone.
    Private,
}

impl Class {
    /// Every class, in the order of the enum, so that `class as usize` is its place.
    pub const ALL: [Class; 40] = [
        Class::Sync,
        Class::SlidingSync,
        Class::InitialSync,
        Class::RoomMessages,
        Class::RoomRead,
        Class::ClientRead,
        Class::Encryption,
        Class::Login,
        Class::Sso,
        Class::EventSend,
        Class::RoomJoin,
        Class::RoomCreate,
        Class::Profile,
        Class::Typing,
        Class::PushRules,
        Class::ThreadSubscriptions,
        Class::AccountData,
        Class::ToDevice,
        Class::Presence,
        Class::Receipts,
        Class::DeviceLists,
        Class::Quarantine,
        Class::UserDirectory,
        Class::Media,
        Class::MediaUpload,
        Class::MediaAdmin,
        Class::FederationTransaction,
        Class::FederationRead,
        Class::FederationJoin,
        Class::FederationKeys,
        Class::WellKnown,
        Class::Preflight,
        Class::AdminRead,
        Class::Admin,
        Class::Mas,
        Class::Authentication,
        Class::Main,
        Class::MainSlow,
        Class::Unknown,
        Class::Private,
    ];

    /// The class's name in metrics, logs and `dendron routes`.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Sync => "sync",
            Class::SlidingSync => "sliding_sync",
            Class::InitialSync => "initial_sync",
            Class::RoomMessages => "room_messages",
            Class::RoomRead => "room_read",
            Class::ClientRead => "client_read",
            Class::Encryption => "encryption",
            Class::Login => "login",
            Class::Sso => "sso",
            Class::EventSend => "event_send",
            Class::RoomJoin => "room_join",
            Class::RoomCreate => "room_create",
            Class::Profile => "profile",
            Class::Typing => "typing",
            Class::PushRules => "push_rules",
            Class::ThreadSubscriptions => "thread_subscriptions",
            Class::AccountData => "account_data",
            Class::ToDevice => "to_device",
            Class::Presence => "presence",
            Class::Receipts => "receipts",
            Class::DeviceLists => "device_lists",
            Class::Quarantine => "quarantine",
            Class::UserDirectory => "user_directory",
            Class::Media => "media",
            Class::MediaUpload => "media_upload",
            Class::MediaAdmin => "media_admin",
            Class::FederationTransaction => "federation_transaction",
            Class::FederationRead => "federation_read",
            Class::FederationJoin => "federation_join",
            Class::FederationKeys => "federation_keys",
            Class::WellKnown => "well_known",
            Class::Preflight => "preflight",
            Class::AdminRead => "admin_read",
            Class::Admin => "admin",
            Class::Mas => "mas",
            Class::Authentication => "authentication",
            Class::Main => "main",
            Class::MainSlow => "main_slow",
            Class::Unknown => "unknown",
            Class::Private => "private",
        }
    }

    /// Whether the class waits by design: its requests say nothing about speed, and hold their places for long.
    pub const fn is_poll(self) -> bool {
        matches!(self, Class::Sync | Class::SlidingSync)
    }

    /// The class's place in [`Class::ALL`], for tables indexed by class.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_stands_at_its_index() {
        for (place, class) in Class::ALL.iter().enumerate() {
            assert_eq!(class.index(), place, "{class:?}");
        }
    }
}
