//! Tests of [`super`]. The empty answers are recorded ones, of Synapse 1.163.

use super::*;

const SYNC: &str = r#"{"next_batch":"s9_1_0_1_1_1_1_5_0_1_2_1_1_1","device_one_time_keys_count":{"signed_curve25519":0},"device_unused_fallback_key_types":[]}"#;
const SLIDING: &str = r#"{"pos":"1/s9_1_0_1","lists":{"all":{"count":1,"ops":[{"op":"SYNC","range":[0,19],"room_ids":["!s"]}]}},"rooms":{},"extensions":{"to_device":{"next_batch":"1","events":[]},"e2ee":{"device_one_time_keys_count":{"signed_curve25519":0},"device_unused_fallback_key_types":[],"device_lists":{"changed":[],"left":[]}},"account_data":{"global":[],"rooms":{}},"receipts":{"rooms":{}},"typing":{"rooms":{}}}}"#;

fn sections(protocol: Protocol, body: &str) -> Option<Vec<&'static str>> {
    match look(protocol, body.as_bytes()) {
        Content::Full(sections) => Some(sections.names().collect()),
        Content::Empty(_) | Content::Unreadable => None,
    }
}

#[test]
fn what_synapse_says_of_nothing_is_empty() {
    let empty = |next: &str, to_device: Option<&str>| {
        Content::Empty(Empty { next: next.into(), to_device_next: to_device.map(Into::into) })
    };
    assert_eq!(look(Protocol::Sync, SYNC.as_bytes()), empty("s9_1_0_1_1_1_1_5_0_1_2_1_1_1", None));
    let older =
        SYNC.replace("\"device_unused", "\"org.matrix.msc2732.device_unused_fallback_key_types\":[],\"device_unused");
    assert_eq!(look(Protocol::Sync, older.as_bytes()), empty("s9_1_0_1_1_1_1_5_0_1_2_1_1_1", None));
    assert_eq!(look(Protocol::Sliding, SLIDING.as_bytes()), empty("1/s9_1_0_1", Some("1")));
    assert_eq!(look(Protocol::Sliding, br#"{"pos":"1/s9","rooms":{},"extensions":{}}"#), empty("1/s9", None));
}

#[test]
fn what_has_anything_else_is_full() {
    let with = |more: &str| SYNC.replacen('{', &format!("{{{more},"), 1);
    for (more, section) in [
        (r#""rooms":{"join":{"!a":{}}}"#, "rooms"),
        (r#""presence":{"events":[{}]}"#, "presence"),
        (r#""account_data":{"events":[{}]}"#, "account_data"),
        (r#""to_device":{"events":[{}]}"#, "to_device"),
        (r#""device_lists":{"changed":["@a:b"],"left":[]}"#, "device_lists"),
        (r#""groups":{}"#, "other"),
        (r#""something.new":null"#, "other"),
    ] {
        assert_eq!(sections(Protocol::Sync, &with(more)), Some(vec![section]), "{more}");
    }
    let both = with(r#""to_device":{"events":[{}]},"rooms":{"leave":{"!a":{}}}"#);
    assert_eq!(sections(Protocol::Sync, &both), Some(vec!["rooms", "to_device"]));
    for (empty, full, section) in [
        (r#""rooms":{}"#, r#""rooms":{"!a":{}}"#, "rooms"),
        (r#""events":[]"#, r#""events":[{}]"#, "to_device"),
        (r#""changed":[]"#, r#""changed":["@a:b"]"#, "device_lists"),
        (r#""left":[]"#, r#""left":["@a:b"]"#, "device_lists"),
        (r#""global":[]"#, r#""global":[{}]"#, "account_data"),
        (r#""typing":{"rooms":{}}"#, r#""typing":{"rooms":{"!a":{}}}"#, "ephemeral"),
        (r#""receipts":{"rooms":{}}"#, r#""receipts":{"rooms":{"!a":{}}}"#, "ephemeral"),
        (r#""typing":"#, r#""something.new":{"a":[1]},"typing":"#, "other"),
    ] {
        let body = SLIDING.replacen(empty, full, 1);
        assert_ne!(body, SLIDING, "{full}");
        assert_eq!(sections(Protocol::Sliding, &body), Some(vec![section]), "{full}");
    }
}

#[test]
fn what_is_new_or_not_as_it_was_is_never_empty() {
    for body in [
        SLIDING.replace("\"typing\":", "\"something.new\":{},\"typing\":"),
        SLIDING.replace("\"pos\":", "\"txn_id\":\"1\",\"pos\":"),
        SLIDING.replace("\"rooms\":{},\"ext", "\"ext"),
        SLIDING.replace("\"count\":1", "\"count\":1,\"new\":1"),
    ] {
        assert_ne!(body, SLIDING);
        assert!(!matches!(look(Protocol::Sliding, body.as_bytes()), Content::Empty(_)), "{body}");
    }
    for body in [
        SYNC.replace("\"next_batch\":", "\"next_batch\":\"s1\",\"next_batch\":"),
        SYNC.replace("{\"signed_curve25519\":0}", "{\"signed_curve25519\":-1}"),
        SYNC.replace(",\"device_unused_fallback_key_types\":[]", ""),
        SYNC.replace("s9_1_0_1_1_1_1_5_0_1_2_1_1_1", ""),
    ] {
        assert_ne!(body, SYNC);
        assert!(!matches!(look(Protocol::Sync, body.as_bytes()), Content::Empty(_)), "{body}");
    }
}

#[test]
fn what_is_no_answer_is_unreadable_and_what_is_long_is_full() {
    for body in ["", "{}", "[]", "{", r#"{"errcode":"M_UNKNOWN_TOKEN"}"#, r#"["s1",{},[],[]]"#, r#"{"next_batch":1}"#] {
        assert_eq!(look(Protocol::Sync, body.as_bytes()), Content::Unreadable, "{body}");
    }
    assert_eq!(look(Protocol::Sliding, SYNC.as_bytes()), Content::Unreadable);
    assert_eq!(look(Protocol::Sync, SLIDING.as_bytes()), Content::Unreadable);
    let long = format!("{SYNC}{}", " ".repeat(SYNC_BYTES_MAX));
    assert_eq!(sections(Protocol::Sync, &long), Some(vec!["unread"]));
}
