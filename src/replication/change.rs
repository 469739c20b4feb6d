//! What a row means: whom it can concern.
//!
//! "Concerns" is the larger of two sets: whom Synapse wakes for the row, and for whom the next sync could return
//! something else because of it. To be told of too much costs a computation; of too little, a late message.

use std::sync::Arc;
use std::time::Instant;

use super::stream::Stream;
use crate::token::TokenHash;

/// A change of one stream. A batch of rows is several changes of one position, told one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The stream; `Unknown` as well for what came in no stream.
    pub stream: Stream,
    /// The process that wrote it; empty if nobody did.
    pub writer: Arc<str>,
    /// The writer's position that had been seen before: what is new lies behind it.
    pub after: i64,
    /// The writer's position that covers the change.
    pub position: i64,
    /// Whom it can concern.
    pub concerns: Concerns,
    /// When the line was read.
    pub received: Instant,
}

/// Whom a change can concern.
#[derive(Clone, Debug, PartialEq)]
pub enum Concerns {
    /// Whoever is in the room.
    Room(Box<str>),
    /// This user, with all devices.
    User(Box<str>),
    /// An event about a user's membership: whoever is in the room, and the user, who may be in it from now on or no
    /// longer. Who is in which room must be asked anew for the user.
    Member(Box<Member>),
    /// The room's state was rewritten: whoever is in the room, and *any* user may have come or gone. Who is in which room
    /// must be asked anew for everybody.
    RoomRewritten(Box<str>),
    /// This user, and whoever shares a room with the user: presence, and profiles.
    Sharing(Box<str>),
    /// As [`Concerns::Sharing`], and the user has just joined or left a room: whoever shared one until now is concerned as
    /// well, and nobody can tell any more who that was. Synapse wakes only those who share a room now.
    SharingUntilNow(Box<str>),
    /// The devices of this user: the user, and whoever is in a room that `device_lists_changes_in_room` names for the
    /// positions behind [`Change::after`] up to [`Change::position`]. Rooms that the user shares now would be too few
    /// after a leave.
    Devices(Box<str>),
    /// Nobody is to be woken, but who is in the room must be asked anew for these users, of which some may live elsewhere.
    /// It often comes before the event of the same transaction.
    StaleMembers {
        /// The room.
        room: Box<str>,
        /// The users.
        users: Vec<Box<str>>,
    },
    /// Nobody is to be woken, but the rooms of this user must be asked anew; `None` for every user.
    StaleRooms(Option<Box<str>>),
    /// Nobody is to be woken, but this room's history or the room itself was removed: whoever was in it must be asked
    /// anew.
    RoomPurged(Box<str>),
    /// The one-time or fallback keys of this user's device, or of every device: an answer kept before is stale, though
    /// nobody waits for this.
    Keys(Device),
    /// The access token of this hash no longer means what it did.
    TokenEnded(TokenHash),
    /// A device was made, renamed or removed, or has new keys: whether it still is must be asked. Without a device, some
    /// or all devices of the user were removed.
    DeviceChanged(Device),
    /// What is known of this account (locked, deactivated, expired, its features) no longer holds.
    AccountChanged(Box<str>),
    /// Nobody, as the stream's rule says.
    Nobody,
    /// Everybody, as it is not known whom.
    Everybody(Doubt),
}

/// A change of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The room.
    pub room: Box<str>,
    /// Whose membership it is.
    pub user: Box<str>,
    /// What the event says, such as `join` or `leave`; `None` where the row does not say it.
    pub membership: Option<Box<str>>,
    /// Whether the event was rejected: then it is no membership, but the row may still tell of a withdrawn invite.
    pub is_rejected: bool,
}

/// A device, or all of a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The user.
    pub user: Box<str>,
    /// The device; `None` for all.
    pub device: Option<Box<str>>,
}

/// Why a change is taken to concern everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// A command of an unknown name.
    UnknownCommand,
    /// A command whose arguments were not understood.
    MalformedCommand,
    /// A stream without a rule.
    UnknownStream,
    /// A row of another shape than its stream's rule knows.
    UnknownRow,
    /// A row of a writer that never told its position in this stream.
    UnknownWriter,
    /// More streams and writers than are kept track of.
    TooManyWriters,
    /// Something may have been missed.
    Gap(Gap),
}

/// How it was noticed that something may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gap {
    /// A position says that its writer was, before it, further than was seen.
    Ahead,
    /// The answer to `REPLICATE` is further than was seen.
    Heartbeat,
    /// A writer went back, as one does that counts in memory and starts again.
    Backwards,
    /// A position came in the middle of a batch, or a batch was longer than is kept.
    BatchCut,
    /// A writer appeared whose earlier rows nobody has seen.
    NewWriter,
    /// A writer did not answer `REPLICATE`: it may be cut off from Redis and drop what it writes.
    WriterSilent,
}

// === impl Concerns ===

impl Concerns {
    /// Whether this may have to wake somebody. What is `false` only changes what is known.
    pub fn may_wake(&self) -> bool {
        match self {
            Concerns::Room(_)
            | Concerns::User(_)
            | Concerns::Member(_)
            | Concerns::RoomRewritten(_)
            | Concerns::Sharing(_)
            | Concerns::SharingUntilNow(_)
            | Concerns::Devices(_)
            | Concerns::TokenEnded(_)
            | Concerns::DeviceChanged(_)
            | Concerns::AccountChanged(_)
            | Concerns::Everybody(_) => true,
            Concerns::StaleMembers { .. }
            | Concerns::StaleRooms(_)
            | Concerns::RoomPurged(_)
            | Concerns::Keys(_)
            | Concerns::Nobody => false,
        }
    }
}

// === impl Doubt ===

impl Doubt {
    /// Every doubt.
    pub const ALL: [Doubt; 12] = [
        Doubt::UnknownCommand,
        Doubt::MalformedCommand,
        Doubt::UnknownStream,
        Doubt::UnknownRow,
        Doubt::UnknownWriter,
        Doubt::TooManyWriters,
        Doubt::Gap(Gap::Ahead),
        Doubt::Gap(Gap::Heartbeat),
        Doubt::Gap(Gap::Backwards),
        Doubt::Gap(Gap::BatchCut),
        Doubt::Gap(Gap::NewWriter),
        Doubt::Gap(Gap::WriterSilent),
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Doubt::UnknownCommand => "unknown_command",
            Doubt::MalformedCommand => "malformed_command",
            Doubt::UnknownStream => "unknown_stream",
            Doubt::UnknownRow => "unknown_row",
            Doubt::UnknownWriter => "unknown_writer",
            Doubt::TooManyWriters => "too_many_writers",
            Doubt::Gap(Gap::Ahead) => "gap_ahead",
            Doubt::Gap(Gap::Heartbeat) => "gap_heartbeat",
            Doubt::Gap(Gap::Backwards) => "gap_backwards",
            Doubt::Gap(Gap::BatchCut) => "gap_batch_cut",
            Doubt::Gap(Gap::NewWriter) => "gap_new_writer",
            Doubt::Gap(Gap::WriterSilent) => "gap_writer_silent",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_doubt_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Doubt::ALL.iter().map(|doubt| doubt.name()).collect();
        assert_eq!(names.len(), Doubt::ALL.len());
    }
}
