//! One target of each class.

use http::Method;

use super::{ENDPOINTS, classify};
use crate::endpoint::Class;

/// One target of each class that Synapse serves, in the order of [`Class::ALL`].
const EACH_CLASS: &[(&str, &str, Class, &str, &str)] = &[
    ("GET", "/_matrix/client/v3/sync?since=s1&timeout=30000", Class::Sync, "/_matrix/client/v3/sync", ""),
    (
        "POST",
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos=1",
        Class::SlidingSync,
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
        "",
    ),
    ("GET", "/_matrix/client/r0/sync", Class::InitialSync, "/_matrix/client/v3/sync", ""),
    (
        "GET",
        "/_matrix/client/r0/rooms/!a:b/messages?dir=b",
        Class::RoomMessages,
        "/_matrix/client/v3/rooms/{roomId}/messages",
        "room !a:b",
    ),
    (
        "GET",
        "/_matrix/client/v3/rooms/!hash/context/%24event",
        Class::RoomRead,
        "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
        "room !hash",
    ),
    (
        "POST",
        "/_matrix/client/v3/user/@me:b/filter",
        Class::ClientRead,
        "/_matrix/client/v3/user/{userId}/filter",
        "user @me:b",
    ),
    ("POST", "/_matrix/client/unstable/keys/query", Class::Encryption, "/_matrix/client/v3/keys/query", ""),
    ("POST", "/_matrix/client/api/v1/login", Class::Login, "/_matrix/client/v3/login", ""),
    (
        "GET",
        "/_matrix/client/v3/login/sso/redirect/oidc-x?redirectUrl=y",
        Class::Sso,
        "/_matrix/client/v3/login/sso/redirect/{idpId}",
        "",
    ),
    (
        "PUT",
        "/_matrix/client/api/v1/rooms/!a%3Ab/send/m.room.message/1",
        Class::EventSend,
        "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
        "room !a%3Ab",
    ),
    (
        "POST",
        "/_matrix/client/v3/join/%23x:b?via=b",
        Class::RoomJoin,
        "/_matrix/client/v3/join/{roomIdOrAlias}",
        "room or alias %23x:b",
    ),
    ("POST", "/_matrix/client/v3/createRoom", Class::RoomCreate, "/_matrix/client/v3/createRoom", ""),
    (
        "PUT",
        "/_matrix/client/v3/profile/@me:b/displayname",
        Class::Profile,
        "/_matrix/client/v3/profile/{userId}/displayname",
        "user @me:b",
    ),
    (
        "PUT",
        "/_matrix/client/v3/rooms/!a:b/typing/@me:b",
        Class::Typing,
        "/_matrix/client/v3/rooms/{roomId}/typing/{userId}",
        "room !a:b",
    ),
    (
        "PUT",
        "/_matrix/client/v3/pushrules/global/room/!a:b/enabled",
        Class::PushRules,
        "/_matrix/client/v3/pushrules/{*path}",
        "",
    ),
    (
        "DELETE",
        "/_matrix/client/unstable/io.element.msc4306/rooms/!a:b/thread/$e/subscription",
        Class::ThreadSubscriptions,
        "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription",
        "room !a:b",
    ),
    (
        "PUT",
        "/_matrix/client/v3/user/@me:b/rooms/!a:b/account_data/m.fully_read",
        Class::AccountData,
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        "user @me:b",
    ),
    (
        "PUT",
        "/_matrix/client/v3/sendToDevice/m.room.encrypted/1",
        Class::ToDevice,
        "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
        "",
    ),
    (
        "GET",
        "/_matrix/client/v3/presence/@me:b/status",
        Class::Presence,
        "/_matrix/client/v3/presence/{userId}/status",
        "user @me:b",
    ),
    (
        "POST",
        "/_matrix/client/v3/rooms/!a:b/receipt/m.read/$e",
        Class::Receipts,
        "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
        "room !a:b",
    ),
    ("GET", "/_matrix/client/v3/devices", Class::DeviceLists, "/_matrix/client/v3/devices", ""),
    (
        "POST",
        "/_synapse/admin/v1/media/quarantine/b/x",
        Class::Quarantine,
        "/_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}",
        "media x",
    ),
    (
        "POST",
        "/_matrix/client/v3/user_directory/search",
        Class::UserDirectory,
        "/_matrix/client/v3/user_directory/search",
        "",
    ),
    (
        "GET",
        "/_matrix/media/r0/download/b/x/cat.png",
        Class::Media,
        "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
        "media x",
    ),
    ("POST", "/_matrix/media/v1/upload?filename=x", Class::MediaUpload, "/_matrix/media/v3/upload", ""),
    (
        "DELETE",
        "/_synapse/admin/v1/users/@me:b/media",
        Class::MediaAdmin,
        "/_synapse/admin/v1/users/{userId}/media",
        "user @me:b",
    ),
    ("PUT", "/_matrix/federation/v1/send/1", Class::FederationTransaction, "/_matrix/federation/v1/send/{txnId}", ""),
    (
        "GET",
        "/_matrix/federation/v1/state_ids/!a:b?event_id=$e",
        Class::FederationRead,
        "/_matrix/federation/v1/state_ids/{roomId}",
        "room !a:b",
    ),
    (
        "PUT",
        "/_matrix/federation/v2/send_join/!a:b/$e",
        Class::FederationJoin,
        "/_matrix/federation/v2/send_join/{roomId}/{eventId}",
        "room !a:b",
    ),
    ("POST", "/_matrix/key/v2/query", Class::FederationKeys, "/_matrix/key/v2/query", ""),
    ("HEAD", "/.well-known/matrix/client", Class::WellKnown, "/.well-known/matrix/client", ""),
    ("OPTIONS", "/_matrix/client/v3/sync", Class::Preflight, "/_matrix/client/v3/sync", ""),
    ("GET", "/_synapse/admin/v2/users/@me:b", Class::AdminRead, "/_synapse/admin/v2/users/{userId}", "user @me:b"),
    ("PUT", "/_synapse/admin/v2/users/@me:b", Class::Admin, "/_synapse/admin/v2/users/{userId}", "user @me:b"),
    ("GET", "/_synapse/mas/query_user?localpart=x", Class::Mas, "/_synapse/mas/query_user", ""),
    ("POST", "/_matrix/client/v3/logout", Class::Main, "/_matrix/client/v3/logout", ""),
    (
        "POST",
        "/_matrix/client/v3/rooms/!a:b/upgrade",
        Class::MainSlow,
        "/_matrix/client/v3/rooms/{roomId}/upgrade",
        "room !a:b",
    ),
    ("GET", "/wp-login.php", Class::Unknown, "other", ""),
    ("POST", "/_synapse/replication/send_events/1", Class::Private, "other", ""),
];

#[test]
fn every_class_has_a_target() {
    for (method, target, class, label, subject) in EACH_CLASS {
        let (endpoint, text) = classify(method, target);
        let got = (endpoint.class, endpoint.label, text.as_str());
        assert_eq!(got, (*class, *label, *subject), "{method} {target}");
    }
    let classes: Vec<_> = EACH_CLASS.iter().map(|(_, _, class, _, _)| *class).collect();
    // Of the one that is missing the tests of `authentication` have more.
    let known: Vec<_> = Class::ALL.into_iter().filter(|class| *class != Class::Authentication).collect();
    assert_eq!(classes, known);
}

/// Prints how long one classification takes. Run it with `--ignored --nocapture`, optimised, on a quiet machine.
#[test]
#[ignore = "a measurement, not a test"]
fn how_long_it_takes() {
    let rounds = 100_000_u32;
    for (method, target, ..) in EACH_CLASS {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (path, query) = target.split_once('?').map_or((*target, None), |(path, query)| (path, Some(query)));
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(ENDPOINTS.classify(&method, std::hint::black_box(path), query));
        }
        println!("{:>6} ns {target}", start.elapsed().as_nanos() / u128::from(rounds));
    }
}
