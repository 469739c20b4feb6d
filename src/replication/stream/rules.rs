//! Whom a row concerns, stream by stream.
//!
//! Each rule's fields are those of the row's class in Synapse's `replication/tcp/streams/`, in their order; whom Synapse
//! wakes is in `on_rdata` of `replication/tcp/client.py`, and for presence in `handlers/presence.py`. Where the next sync
//! could return more than Synapse wakes for, the rule concerns more, and says so.

use crate::replication::change::{Concerns, Member};
use crate::replication::field::Field::{self, Bool, List, Null, Number, Text};

/// `["ev", [event, room, type, state_key, redacts, relates_to, membership, rejected, outlier]]`: an event;
/// `["state", [room, type, state_key, event]]`: the room's current state;
/// `["state-all", [room]]`: more changes of it than Synapse tells one by one.
pub(super) fn events(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(kind), List(fields), ..] = row else { return None };
    match (kind.as_ref(), fields.as_slice()) {
        ("ev", [Text(_), Text(room), Text(kind), key, _, _, membership, Bool(rejected), Bool(_), ..]) => {
            let membership = match membership {
                Null => None,
                Text(membership) => Some(boxed(membership)),
                _ => return None,
            };
            match key {
                Text(user) if kind == "m.room.member" => Some(member(room, user, membership, *rejected)),
                Null | Text(_) => Some(Concerns::Room(boxed(room))),
                _ => None,
            }
        }
        // Synapse wakes nobody for these: the event itself, in the same batch, does. But state may also change without
        // an event, when it is resolved anew, and the next sync returns that.
        ("state", [Text(room), Text(kind), Text(key), Null | Text(_), ..]) => Some(match kind.as_ref() {
            "m.room.member" => member(room, key, None, false),
            _ => Concerns::Room(boxed(room)),
        }),
        ("state-all", [Text(room), ..]) => Some(Concerns::RoomRewritten(boxed(room))),
        _ => None,
    }
}

/// `[event, room, type, state_key, redacts, relates_to]`: an event from before what was known of the room.
pub(super) fn backfill(row: &[Field<'_>]) -> Option<Concerns> {
    // What comes out of being an outlier is told on the events stream as well.
    nobody(row, 6)
}

/// `[user, state, last_active, last_federation_update, last_sync, status, currently_active]`.
pub(super) fn presence(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(user), Text(_), Number(_), Number(_), Number(_), Null | Text(_), Bool(_), ..] = row else { return None };
    Some(Concerns::Sharing(boxed(user)))
}

/// `[room, [user, …]]`: all who type in the room.
pub(super) fn typing(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(room), List(_), ..] = row else { return None };
    Some(Concerns::Room(boxed(room)))
}

/// `[room, type, user, event, thread, data]`.
pub(super) fn receipts(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(room), Text(kind), Text(user), Text(_), Null | Text(_), Field::Other, ..] = row else { return None };
    Some(match kind.as_ref() {
        // Synapse wakes the whole room, and then shows the receipt to its own user alone
        // (`filter_out_private_receipts` in `handlers/receipts.py`).
        "m.read.private" => Concerns::User(boxed(user)),
        _ => Concerns::Room(boxed(room)),
    })
}

/// `[user, is_signature, hosts_calculated]`.
pub(super) fn device_lists(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(user), Bool(is_signature), Bool(hosts_calculated), ..] = row else { return None };
    Some(match (is_signature, hosts_calculated) {
        // Only whoever sends to other servers cares for what is calculated for them.
        (_, true) => Concerns::Nobody,
        // The user has signed somebody's keys, which only that user sees. The process that wrote it wakes the user; the
        // others do not.
        (true, false) => Concerns::User(boxed(user)),
        (false, false) => Concerns::Devices(boxed(user)),
    })
}

/// `[entity]`: a user with messages, or another server.
pub(super) fn to_device(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(entity), ..] = row else { return None };
    Some(if entity.starts_with('@') { Concerns::User(boxed(entity)) } else { Concerns::Nobody })
}

/// `[user, action, fields]`.
pub(super) fn profile_updates(row: &[Field<'_>]) -> Option<Concerns> {
    let [Text(user), Text(action), Null | List(_), ..] = row else { return None };
    match action.as_ref() {
        "update" => Some(Concerns::Sharing(boxed(user))),
        "joined_room" | "left_room" => Some(Concerns::SharingUntilNow(boxed(user))),
        _ => None,
    }
}

/// A row of at least `fields` fields, of which the first is a room.
pub(super) fn room(row: &[Field<'_>], fields: usize) -> Option<Concerns> {
    match row {
        [Text(room), ..] if row.len() >= fields => Some(Concerns::Room(boxed(room))),
        _ => None,
    }
}

/// A row of at least `fields` fields, of which the first is a user.
pub(super) fn user(row: &[Field<'_>], fields: usize) -> Option<Concerns> {
    match row {
        [Text(user), ..] if row.len() >= fields => Some(Concerns::User(boxed(user))),
        _ => None,
    }
}

/// A row of at least `fields` fields, of which the first is a text, and which no sync returns anything of.
pub(super) fn nobody(row: &[Field<'_>], fields: usize) -> Option<Concerns> {
    match row {
        [Text(_), ..] if row.len() >= fields => Some(Concerns::Nobody),
        _ => None,
    }
}

fn member(room: &str, user: &str, membership: Option<Box<str>>, is_rejected: bool) -> Concerns {
    Concerns::Member(Box::new(Member { room: boxed(room), user: boxed(user), membership, is_rejected }))
}

pub(super) fn boxed(text: &str) -> Box<str> {
    text.into()
}
