//! `[cache, keys, time]`: what processes must forget that no other stream tells them to.
//!
//! Synapse wakes nobody for these, but they are the only word of some things: that a token or a device ended, that keys
//! were used up, who came and went before the event is told. Each cache is named as its function in Synapse is
//! (`storage/databases/main/`, where `_invalidate_cache_and_stream` is called); the first three have names of their own
//! (`cache.py` there).
//!
//! Access tokens stand here in clear. They become hashes at once.

use super::rules::boxed;
use crate::replication::change::{Concerns, Device};
use crate::replication::field::Field::{self, List, Null, Number, Text};
use crate::token::TokenHasher;

/// Whom a row concerns.
pub(super) fn concerns(row: &[Field<'_>], hasher: &TokenHasher) -> Option<Concerns> {
    let [Text(cache), keys, Number(_), ..] = row else { return None };
    // Without keys the whole cache is dropped.
    let keys = match keys {
        Null => None,
        List(keys) => Some(keys.as_slice()),
        _ => return None,
    };
    match cache.as_ref() {
        "cs_cache_fake" => current_state(keys?),
        "ph_cache_fake" | "dr_cache_fake" => first(keys?).map(Concerns::RoomPurged),
        "get_rooms_for_user" => match keys {
            None => Some(Concerns::StaleRooms(None)),
            Some(keys) => first(keys).map(|user| Concerns::StaleRooms(Some(user))),
        },
        "get_user_by_access_token" => match keys? {
            [Text(token), ..] => Some(Concerns::TokenEnded(hasher.hash(token))),
            _ => None,
        },
        "get_device" => device(keys?).map(Concerns::DeviceChanged),
        "count_e2e_one_time_keys" | "get_e2e_unused_fallback_key_types" => device(keys?).map(Concerns::Keys),
        "get_user_by_id"
        | "get_user_deactivated_status"
        | "get_user_locked_status"
        | "get_user_suspended_status"
        | "get_expiration_ts_for_user"
        | "is_guest"
        | "is_user_approved"
        | "is_user_erased"
        | "list_enabled_features"
        | "is_feature_enabled" => first(keys?).map(Concerns::AccountChanged),
        // A room that is forgotten leaves lists without any event; and an account's data is removed with the account.
        "get_forgotten_rooms_for_user"
        | "get_global_account_data_for_user"
        | "get_room_account_data_for_user"
        | "get_push_rules_for_user" => first(keys?).map(Concerns::User),
        // Whatever else is cached is content that syncs do not return by themselves, or comes with a row elsewhere.
        _ => Some(Concerns::Nobody),
    }
}

/// `[room, member, …]`: these users' memberships of the room have changed; none if only other state has.
fn current_state(keys: &[Field<'_>]) -> Option<Concerns> {
    let [Text(room), members @ ..] = keys else { return None };
    let users = members.iter().map(|member| match member {
        Text(user) => Some(boxed(user)),
        _ => None,
    });
    Some(Concerns::StaleMembers { room: boxed(room), users: users.collect::<Option<_>>()? })
}

/// `[user, device]`, or `[user]` for all devices.
fn device(keys: &[Field<'_>]) -> Option<Device> {
    match keys {
        [Text(user)] => Some(Device { user: boxed(user), device: None }),
        [Text(user), Text(device), ..] => Some(Device { user: boxed(user), device: Some(boxed(device)) }),
        _ => None,
    }
}

fn first(keys: &[Field<'_>]) -> Option<Box<str>> {
    match keys {
        [Text(text), ..] => Some(boxed(text)),
        _ => None,
    }
}
