//! Requests that need an access token and carry none, two, or something that is none: Synapse's own error, which it
//! gives the same to everybody, is learned and given here.
//!
//! Only where looking for the token is the first thing that Synapse does, whatever the rest of the request is. Where that
//! is so was found by asking: the integration tests ask Synapse about every row of the table of endpoints, with
//! parameters and bodies that it would refuse if it read them before. Everything else goes on: where an experiment or
//! delegated authentication decides whether the endpoint is there at all, where a configuration may let strangers in
//! (public rooms), and where a path, parameter or body is read first.
//!
//! Not here: whether a token is known, which is Synapse's to say.

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use super::Asked;
use super::learned::Item;
use crate::endpoint::Class;
use crate::query::query_value;

/// The longest announced body that is not waited for. Synapse reads a body before it answers, and has an answer of its
/// own to one that is too long.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// The error that a request earns, if it is one that earns one.
pub fn wanted(asked: &Asked<'_>) -> Option<Item> {
    let item = fault(asked)?;
    (needs_token(asked) && is_plain(asked)).then_some(item)
}

/// What is wrong with a request's credentials (Synapse, `api/auth/base.py`, `get_access_token_from_request`).
fn fault(asked: &Asked<'_>) -> Option<Item> {
    let mut values = asked.headers.all(&AUTHORIZATION);
    let (first, is_several) = (values.next(), values.next().is_some());
    match (first, asked.has_token_in_query()) {
        (None, true) => None,
        (None, false) => Some(Item::MissingToken),
        (Some(_), true) => Some(Item::MixedTokens),
        (Some(_), false) if is_several => Some(Item::SeveralTokens),
        (Some(value), false) => {
            // Twisted takes the white space around a value away.
            let mut words = value.trim_ascii().split(|byte| *byte == b' ');
            let is_sound = words.next() == Some(b"Bearer") && words.next().is_some() && words.next().is_none();
            (!is_sound).then_some(Item::InvalidAuthorization)
        }
    }
}

/// Whether Synapse looks for a token before it looks at anything else. A request whose method does not fit its path
/// has another class.
fn needs_token(asked: &Asked<'_>) -> bool {
    let label = asked.endpoint.label;
    let is_of_room =
        || label.starts_with("/_matrix/client/v3/rooms/") || label.starts_with("/_matrix/client/v1/rooms/");
    match asked.endpoint.class {
        // What `/events` once called `from` is refused first (Synapse, `rest/client/sync.py`).
        Class::Sync | Class::InitialSync => asked.query.is_none_or(|query| query_value(query, "from").is_none()),
        Class::RoomMessages
        | Class::Encryption
        | Class::RoomJoin
        | Class::RoomCreate
        | Class::Typing
        | Class::PushRules
        | Class::ToDevice
        | Class::Presence
        | Class::Receipts
        | Class::UserDirectory => true,
        Class::RoomRead | Class::EventSend | Class::MainSlow => is_of_room(),
        Class::ClientRead => matches!(
            label,
            "/_matrix/client/v3/capabilities"
                | "/_matrix/client/v3/account/whoami"
                | "/_matrix/client/v3/notifications"
                | "/_matrix/client/v3/joined_rooms"
                | "/_matrix/client/v3/search"
                | "/_matrix/client/v3/voip/turnServer"
        ),
        Class::AccountData => label.starts_with("/_matrix/client/v3/user/"),
        // Those that end a device are not there with delegated authentication (Synapse, `rest/client/devices.py`).
        Class::DeviceLists => *asked.method != Method::DELETE && label != "/_matrix/client/v3/delete_devices",
        Class::Main => is_of_room() || matches!(label, "/_matrix/client/v3/pushers" | "/_matrix/client/v3/pushers/set"),
        _ => false,
    }
}

/// Whether nothing can be in the body that Twisted would take for a token, or would refuse: it reads the body of a
/// `POST` for parameters, if that says it is a form.
fn is_plain(asked: &Asked<'_>) -> bool {
    let kind = asked.headers.first(&CONTENT_TYPE);
    let is_form = || kind.is_some_and(|kind| !kind.starts_with(b"application/json"));
    asked.body_bytes().is_some_and(|bytes| bytes <= BODY_BYTES_MAX) && !(*asked.method == Method::POST && is_form())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::asked::tests::{Lines, ask};

    #[test]
    fn credentials_are_judged_as_synapse_does() {
        let table: [(&str, &[&str], Option<Item>); 14] = [
            ("", &[], Some(Item::MissingToken)),
            ("?access_token", &[], Some(Item::MissingToken)),
            ("?access_token=", &[], None),
            ("?access_token=a&access_token=b", &[], None),
            ("", &["Bearer a"], None),
            ("", &["Bearer a\tb"], None),
            ("?access_token=", &["Bearer a"], Some(Item::MixedTokens)),
            ("?access_token=a", &["Bearer a", "Bearer a"], Some(Item::MixedTokens)),
            ("", &["Bearer a", "Bearer a"], Some(Item::SeveralTokens)),
            ("", &[""], Some(Item::InvalidAuthorization)),
            ("", &["Bearer"], Some(Item::InvalidAuthorization)),
            ("", &["Bearer "], Some(Item::InvalidAuthorization)),
            ("", &["bearer a"], Some(Item::InvalidAuthorization)),
            ("", &["Bearer  a"], Some(Item::InvalidAuthorization)),
        ];
        for (query, values, expected) in table {
            let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            let line = format!("GET /_matrix/client/v3/joined_rooms{query}");
            assert_eq!(ask(&line, &headers, wanted), expected, "{line} {values:?}");
        }
    }

    #[test]
    fn only_where_the_token_comes_first() {
        let table = [
            ("GET /_matrix/client/v3/sync?since=s1", true),
            ("GET /_matrix/client/v3/sync", true),
            ("GET /_matrix/client/v3/sync?from=s1", false),
            ("HEAD /_matrix/client/v3/joined_rooms", true),
            ("POST /_matrix/client/v3/joined_rooms", false),
            ("GET /_matrix/client/v3/publicRooms", false),
            ("GET /_matrix/client/v3/profile/@a:b", false),
            ("GET /_matrix/client/v3/directory/room/%23a:b", false),
            ("GET /_matrix/client/v1/room_summary/%21a:b", false),
            ("GET /_matrix/client/v3/rooms/%21a:b/state", true),
            ("PUT /_matrix/client/v3/rooms/%21a:b/send/m.room.message/1", true),
            ("POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync", false),
            ("POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/a/restart", false),
            ("DELETE /_matrix/client/v3/devices/a", false),
            ("PUT /_matrix/client/v3/devices/a", true),
            ("POST /_matrix/client/v3/delete_devices", false),
            ("POST /_matrix/client/v3/keys/query", true),
            ("POST /_matrix/client/v3/login", false),
            ("POST /_matrix/client/v3/logout", false),
            ("GET /_matrix/client/v1/media/config", false),
            ("GET /_matrix/federation/v1/event/a", false),
            ("GET /_synapse/admin/v2/users", false),
        ];
        for (line, expected) in table {
            assert_eq!(ask(line, &[], wanted).is_some(), expected, "{line}");
        }
    }

    #[test]
    fn bodies_that_synapse_might_read_first_are_sent_on() {
        let table: [(&str, &Lines, bool); 8] = [
            ("POST", &[("content-length", "2")], true),
            ("POST", &[("content-length", "65536"), ("content-type", "application/json; charset=utf-8")], true),
            ("POST", &[("content-length", "65537")], false),
            ("POST", &[("transfer-encoding", "chunked")], false),
            ("POST", &[("content-type", "application/x-www-form-urlencoded")], false),
            ("POST", &[("content-type", "multipart/form-data; boundary=a")], false),
            ("PUT", &[("content-type", "application/x-www-form-urlencoded")], true),
            ("PUT", &[("content-length", "many")], false),
        ];
        for (method, headers, expected) in table {
            let line = match method {
                "PUT" => "PUT /_matrix/client/v3/user/@a:b/account_data/a",
                _ => "POST /_matrix/client/v3/createRoom",
            };
            assert_eq!(ask(line, headers, wanted).is_some(), expected, "{line} {headers:?}");
        }
    }
}
