//! Every row format, and whom it concerns.

use proptest::prelude::*;

use super::*;
use crate::replication::change::{Device, Doubt, Member};
use crate::replication::field;

const ROOM: &str = "!r:a";
const USER: &str = "@u:a";

fn hasher() -> TokenHasher {
    TokenHasher::with_key([0; 32])
}

fn of(stream: Stream, row: &str) -> Option<Concerns> {
    stream.rule().unwrap().concerns(&field::row(row)?, &hasher())
}

fn room() -> Concerns {
    Concerns::Room(ROOM.into())
}

fn user() -> Concerns {
    Concerns::User(USER.into())
}

fn member(membership: Option<&str>, is_rejected: bool) -> Concerns {
    let membership = membership.map(Into::into);
    Concerns::Member(Box::new(Member { room: ROOM.into(), user: USER.into(), membership, is_rejected }))
}

fn device(device: Option<&str>) -> Device {
    Device { user: USER.into(), device: device.map(Into::into) }
}

fn stale(users: &[&str]) -> Concerns {
    Concerns::StaleMembers { room: ROOM.into(), users: users.iter().map(|user| (*user).into()).collect() }
}

/// Rows as Synapse 1.163 writes them, with shorter names.
fn rows() -> Vec<(Stream, &'static str, Concerns)> {
    use Stream::*;
    vec![
        (Events, r#"["ev",["$e","!r:a","m.room.message",null,null,null,null,false,false]]"#, room()),
        (Events, r#"["ev",["$e","!r:a","m.room.message",null,"$r","$p",null,false,false]]"#, room()),
        (Events, r#"["ev",["$e","!r:a","m.room.topic","",null,null,null,false,false]]"#, room()),
        (
            Events,
            r#"["ev",["$e","!r:a","m.room.member","@u:a",null,null,"join",false,false]]"#,
            member(Some("join"), false),
        ),
        (
            Events,
            r#"["ev",["$e","!r:a","m.room.member","@u:a",null,null,"invite",false,true]]"#,
            member(Some("invite"), false),
        ),
        (
            Events,
            r#"["ev",["$e","!r:a","m.room.member","@u:a",null,null,"leave",true,true]]"#,
            member(Some("leave"), true),
        ),
        (Events, r#"["ev",["$e","!r:a","m.room.member","@u:a",null,null,null,false,false]]"#, member(None, false)),
        // Nobody stops a client from sending an event of this type without a state key.
        (Events, r#"["ev",["$e","!r:a","m.room.member",null,null,null,null,false,false]]"#, room()),
        (Events, r#"["ev",["$e","!r:a","m.room.topic","",null,null,null,false,false,"more"],"more"]"#, room()),
        (Events, r#"["state",["!r:a","m.room.topic","","$e"]]"#, room()),
        (Events, r#"["state",["!r:a","m.room.member","@u:a","$e"]]"#, member(None, false)),
        (Events, r#"["state",["!r:a","m.room.member","@u:a",null]]"#, member(None, false)),
        (Events, r#"["state-all",["!r:a"]]"#, Concerns::RoomRewritten(ROOM.into())),
        (Backfill, r#"["$e","!r:a","m.room.message",null,null,null]"#, Concerns::Nobody),
        (Presence, r#"["@u:a","online",1,2,3,null,true]"#, Concerns::Sharing(USER.into())),
        (Presence, r#"["@u:a","offline",1,2,0,"brb",false]"#, Concerns::Sharing(USER.into())),
        (PresenceFederation, r#"["b","@u:a"]"#, Concerns::Nobody),
        (Typing, r#"["!r:a",["@u:a"]]"#, room()),
        (Typing, r#"["!r:a",[]]"#, room()),
        (Receipts, r#"["!r:a","m.read","@u:a","$e",null,{"ts":1}]"#, room()),
        (Receipts, r#"["!r:a","m.read","@u:a","$e","$thread",{"ts":1}]"#, room()),
        (Receipts, r#"["!r:a","m.read.private","@u:a","$e","main",{"ts":1}]"#, user()),
        (PushRules, r#"["@u:a"]"#, user()),
        (Pushers, r#"["@u:a","app","key",false]"#, Concerns::Nobody),
        (DeviceLists, r#"["@u:a",false,false]"#, Concerns::Devices(USER.into())),
        (DeviceLists, r#"["@u:a",true,false]"#, user()),
        (DeviceLists, r#"["@u:a",false,true]"#, Concerns::Nobody),
        (ToDevice, r#"["@u:a"]"#, user()),
        (ToDevice, r#"["b.example"]"#, Concerns::Nobody),
        (Federation, r#"["k",{"key":[]}]"#, Concerns::Nobody),
        (AccountData, r#"["@u:a",null,"m.direct"]"#, user()),
        (AccountData, r#"["@u:a","!r:a","m.tag"]"#, user()),
        (ProfileUpdates, r#"["@u:a","update",["displayname"]]"#, Concerns::Sharing(USER.into())),
        (ProfileUpdates, r#"["@u:a","joined_room",null]"#, Concerns::SharingUntilNow(USER.into())),
        (ProfileUpdates, r#"["@u:a","left_room",null]"#, Concerns::SharingUntilNow(USER.into())),
        (StickyEvents, r#"["!r:a","$e"]"#, room()),
        (ThreadSubscriptions, r#"["@u:a","!r:a","$e"]"#, user()),
        (UnPartialStatedRoom, r#"["!r:a"]"#, room()),
        (UnPartialStatedEvent, r#"["$e",true]"#, Concerns::Nobody),
        (QuarantinedMedia, r#"["a","media",true]"#, Concerns::Nobody),
    ]
}

/// Rows of the caches' stream.
fn cache_rows() -> Vec<(&'static str, Concerns)> {
    vec![
        (r#"["cs_cache_fake",["!r:a"],1]"#, stale(&[])),
        (r#"["cs_cache_fake",["!r:a","@u:a","@v:b"],1]"#, stale(&["@u:a", "@v:b"])),
        (r#"["ph_cache_fake",["!r:a"],1]"#, Concerns::RoomPurged(ROOM.into())),
        (r#"["dr_cache_fake",["!r:a"],1]"#, Concerns::RoomPurged(ROOM.into())),
        (r#"["get_rooms_for_user",["@u:a"],1]"#, Concerns::StaleRooms(Some(USER.into()))),
        (r#"["get_rooms_for_user",null,1]"#, Concerns::StaleRooms(None)),
        (r#"["get_user_by_access_token",["syt_x"],1]"#, Concerns::TokenEnded(hasher().hash("syt_x"))),
        (r#"["get_device",["@u:a","D"],1]"#, Concerns::DeviceChanged(device(Some("D")))),
        (r#"["get_device",["@u:a"],1]"#, Concerns::DeviceChanged(device(None))),
        (r#"["count_e2e_one_time_keys",["@u:a","D"],1]"#, Concerns::Keys(device(Some("D")))),
        (r#"["count_e2e_one_time_keys",["@u:a"],1]"#, Concerns::Keys(device(None))),
        (r#"["get_e2e_unused_fallback_key_types",["@u:a","D"],1]"#, Concerns::Keys(device(Some("D")))),
        (r#"["get_user_by_id",["@u:a"],1]"#, Concerns::AccountChanged(USER.into())),
        (r#"["get_user_locked_status",["@u:a"],1]"#, Concerns::AccountChanged(USER.into())),
        (r#"["get_user_deactivated_status",["@u:a"],1]"#, Concerns::AccountChanged(USER.into())),
        (r#"["get_expiration_ts_for_user",["@u:a"],1]"#, Concerns::AccountChanged(USER.into())),
        (r#"["is_feature_enabled",["@u:a","msc1"],1]"#, Concerns::AccountChanged(USER.into())),
        (r#"["list_enabled_features",["@u:a"],1]"#, Concerns::AccountChanged(USER.into())),
        (r#"["get_push_rules_for_user",["@u:a"],1]"#, user()),
        (r#"["get_forgotten_rooms_for_user",["@u:a"],1]"#, user()),
        (r#"["get_aliases_for_room",["!r:a"],1]"#, Concerns::Nobody),
        (r#"["get_monthly_active_count",[],1]"#, Concerns::Nobody),
        (r#"["get_partial_rooms",null,1]"#, Concerns::Nobody),
    ]
}

#[test]
fn every_row_concerns_whom_its_rule_says() {
    for (stream, row, expected) in rows() {
        assert_eq!(of(stream, row), Some(expected), "{} {row}", stream.name());
    }
    for (row, expected) in cache_rows() {
        assert_eq!(of(Stream::Caches, row), Some(expected), "{row}");
    }
}

#[test]
fn every_stream_has_a_row_in_these_tests() {
    let rows = rows();
    for stream in Stream::ALL {
        let is_tried = rows.iter().any(|(tried, _, _)| *tried == stream);
        assert!(is_tried || matches!(stream, Stream::Caches | Stream::Unknown), "{}", stream.name());
    }
}

#[test]
fn rows_of_another_shape_are_not_understood() {
    use Stream::*;
    let table = [
        (Events, r#"["ev",["$e","!r:a","m.room.message",null,null,null,null,false]]"#),
        (Events, r#"["ev",["$e",5,"m.room.message",null,null,null,null,false,false]]"#),
        (Events, r#"["ev",["$e","!r:a","m.room.member",["@u:a"],null,null,"join",false,false]]"#),
        (Events, r#"["ev",["$e","!r:a","m.room.member","@u:a",null,null,7,false,false]]"#),
        (Events, r#"["state",["!r:a","m.room.topic",null,"$e"]]"#),
        (Events, r#"["state-all",[]]"#),
        (Events, r#"["news",["!r:a"]]"#),
        (Events, r#"["ev"]"#),
        (Backfill, r#"["$e","!r:a"]"#),
        (Presence, r#"["@u:a","online",1,2,3,null]"#),
        (Presence, r#"["@u:a","online","1",2,3,null,true]"#),
        (Typing, r#"["!r:a"]"#),
        (Receipts, r#"["!r:a","m.read","@u:a","$e",{"ts":1}]"#),
        (PushRules, "[]"),
        (Pushers, r#"["@u:a"]"#),
        (DeviceLists, r#"["@u:a",false]"#),
        (DeviceLists, r#"["@u:a",0,0]"#),
        (ToDevice, "[null]"),
        (AccountData, r#"["@u:a",null]"#),
        (ProfileUpdates, r#"["@u:a","renamed",null]"#),
        (StickyEvents, r#"["!r:a"]"#),
        (ThreadSubscriptions, r#"["@u:a"]"#),
        (UnPartialStatedRoom, "[7]"),
        (QuarantinedMedia, r#"["a"]"#),
        (Caches, r#"["get_device",null,1]"#),
        (Caches, r#"["get_user_by_access_token",null,1]"#),
        (Caches, r#"["get_user_by_access_token",[],1]"#),
        (Caches, r#"["get_user_by_id",[5],1]"#),
        (Caches, r#"["cs_cache_fake",["!r:a",5],1]"#),
        (Caches, r#"["cs_cache_fake",[],1]"#),
        (Caches, r#"["get_device",["@u:a"]]"#),
        (Caches, r#"["get_device","@u:a",1]"#),
        (Events, "{}"),
        (Events, "["),
    ];
    for (stream, row) in table {
        assert_eq!(of(stream, row), None, "{} {row}", stream.name());
    }
}

#[test]
fn the_table_is_in_the_order_of_the_streams() {
    for (place, rule) in TABLE.iter().enumerate() {
        assert_eq!(rule.stream.index(), place, "{}", rule.name);
        assert_eq!(Stream::of_name(rule.name), rule.stream);
        assert_eq!(rule.stream.name(), rule.name);
    }
    for (place, stream) in Stream::ALL.iter().enumerate() {
        assert_eq!(stream.index(), place);
    }
    assert_eq!(Stream::of_name("unknown"), Stream::Unknown);
    assert!(Stream::Unknown.rule().is_none() && Stream::Unknown.is_counted());
    let uncounted: Vec<Stream> = Stream::ALL.into_iter().filter(|stream| !stream.is_counted()).collect();
    assert_eq!(uncounted, [Stream::Backfill, Stream::Caches]);
}

#[test]
fn who_only_needs_to_know_is_not_woken() {
    let quiet = rows().into_iter().map(|(_, row, concerns)| (row, concerns)).chain(cache_rows());
    for (row, concerns) in quiet {
        let is_quiet = matches!(
            concerns,
            Concerns::Nobody
                | Concerns::Keys(_)
                | Concerns::StaleMembers { .. }
                | Concerns::StaleRooms(_)
                | Concerns::RoomPurged(_)
        );
        assert_eq!(concerns.may_wake(), !is_quiet, "{row}");
    }
    assert!(Concerns::Everybody(Doubt::UnknownRow).may_wake());
}

proptest! {
    /// Taking a field away from a row that is understood never makes it concern somebody else: it is understood as
    /// before or not at all.
    #[test]
    fn a_shorter_row_concerns_the_same_or_is_not_understood(place in 0..40_usize, keep in 0..10_usize) {
        let rows = rows();
        let (stream, row, expected) = &rows[place % rows.len()];
        let fields = field::row(row).unwrap();
        let shorter = &fields[..keep.min(fields.len())];
        let concerns = stream.rule().unwrap().concerns(shorter, &hasher());
        prop_assert!(concerns.is_none() || concerns.as_ref() == Some(expected), "{row} {concerns:?}");
    }

    #[test]
    fn any_row_is_something(row in "\\[(\"ev\",|\"state\",)?[\\[\\]\"@!$a-z0-9,:{}]{0,60}\\]", place in 0..19_usize) {
        let _ = of(TABLE[place].stream, &row);
    }
}
