//! The mistakes of the maps that other proxies are given, each of which sends requests to the wrong process.

use super::{class, classify};
use crate::endpoint::segment::decoded;
use crate::endpoint::{Class, Subject};

#[test]
fn endpoints_that_are_forgotten_and_load_main() {
    for (method, path, class_expected) in [
        ("POST", "/_matrix/client/v3/createRoom", Class::RoomCreate),
        ("GET", "/_matrix/client/v3/rooms/!a:b/state/m.room.name", Class::EventSend),
        ("PUT", "/_matrix/client/v3/rooms/!a:b/state/m.room.name/", Class::EventSend),
        ("POST", "/_matrix/client/v3/keys/query", Class::Encryption),
        ("GET", "/_matrix/client/v3/keys/changes", Class::Encryption),
        ("POST", "/_matrix/client/v3/keys/claim", Class::Encryption),
        ("GET", "/_matrix/client/v3/room_keys/version", Class::Encryption),
        ("GET", "/_matrix/client/v1/rooms/!a:b/hierarchy", Class::RoomRead),
        ("GET", "/_matrix/client/v1/room_summary/!a:b", Class::RoomRead),
        ("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", Class::SlidingSync),
        ("GET", "/_matrix/client/v3/login/sso/redirect", Class::Sso),
        ("GET", "/_synapse/client/pick_idp", Class::Sso),
        ("GET", "/_matrix/client/v1/register/m.login.registration_token/validity", Class::Login),
        ("GET", "/_synapse/admin/v1/rooms/!a:b", Class::AdminRead),
        ("GET", "/_synapse/admin/v2/users/@me:b", Class::AdminRead),
        ("GET", "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", Class::ThreadSubscriptions),
    ] {
        assert_eq!(class(method, path), class_expected, "{method} {path}");
    }
}

#[test]
fn the_fallback_of_user_interactive_authentication_goes_to_a_worker_that_has_none() {
    for method in ["GET", "POST"] {
        assert_eq!(class(method, "/_matrix/client/v3/auth/m.login.recaptcha/fallback/web"), Class::Main);
    }
}

#[test]
fn the_encodings_of_one_room_give_different_keys() {
    for room in ["!a:b", "!a%3Ab", "!a%3ab", "%21a%3Ab", "%21%61:%62"] {
        let path = format!("/_matrix/client/v3/rooms/{room}/messages");
        let endpoint = classify("GET", &path).0;
        let Subject::Room(span) = endpoint.subject else { panic!("{path}") };
        assert_eq!(&*decoded(span.of(&path)), b"!a:b", "{path}");
    }
}

#[test]
fn the_query_or_the_rest_of_the_path_is_taken_for_a_part_of_the_room() {
    for (method, target) in [
        ("GET", "messages?filter=%7B%22x%22%3Atrue%7D&from=/rooms/!c:d/messages"),
        ("GET", "state/m.room.member/@u:hs"),
        ("PUT", "send/m.room.message/!c:d"),
    ] {
        let (_, subject) = classify(method, &format!("/_matrix/client/v3/rooms/!a:b/{target}"));
        assert_eq!(subject, "room !a:b", "{target}");
    }
}

#[test]
fn rooms_of_version_12_have_no_domain_and_no_worker() {
    let room = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
    for (method, path, class_expected) in [
        ("GET", "messages", Class::RoomMessages),
        ("GET", "members", Class::RoomRead),
        ("PUT", "send/m.room.message/1", Class::EventSend),
        ("PUT", "typing/@me:b", Class::Typing),
    ] {
        let (endpoint, subject) = classify(method, &format!("/_matrix/client/v3/rooms/{room}/{path}"));
        assert_eq!((endpoint.class, subject), (class_expected, format!("room {room}")), "{path}");
    }
}

#[test]
fn single_sign_on_is_taken_for_a_login() {
    for path in ["login/cas/ticket", "login/cas/redirect", "login/sso/redirect", "login/sso/redirect/x"] {
        assert_eq!(class("GET", &format!("/_matrix/client/v3/{path}")), Class::Sso, "{path}");
    }
    assert_eq!(class("POST", "/_matrix/client/v3/login"), Class::Login);
}

#[test]
fn whatever_has_login_in_its_path_is_taken_for_a_login() {
    for (method, path, class_expected) in [
        ("PUT", "v3/rooms/!a:b/send/loginevent/1", Class::EventSend),
        ("PUT", "v3/rooms/!a:b/send/m.login/login", Class::EventSend),
        ("PUT", "v3/user/@me:b/account_data/login_prefs", Class::AccountData),
        ("PUT", "v3/user/@me:b/account_data/logout", Class::AccountData),
        ("POST", "v1/login/get_token", Class::Main),
        ("POST", "v3/login/", Class::Unknown),
        ("POST", "v3/loginx", Class::Unknown),
    ] {
        assert_eq!(class(method, &format!("/_matrix/client/{path}")), class_expected, "{path}");
    }
}

#[test]
fn whatever_has_a_writers_word_in_its_path_is_taken_for_the_writers() {
    for (method, path, class_expected) in [
        ("PUT", "rooms/!a:b/send/m.room.message/tags1", Class::EventSend),
        ("PUT", "rooms/!a:b/send/m.room.message/account_data", Class::EventSend),
        ("PUT", "rooms/!a:b/send/m.room.message/typing", Class::EventSend),
        ("GET", "rooms/!a:b/state/typing", Class::EventSend),
        ("PUT", "rooms/!a:b/state/typing/@me:b", Class::EventSend),
        ("GET", "rooms/tags/members", Class::RoomRead),
        ("PUT", "sendToDevice/m.account_data/tags", Class::ToDevice),
        ("PUT", "profile/@me:b/tags", Class::Profile),
        ("PUT", "user/@tags:b/account_data/tags", Class::AccountData),
        ("POST", "user/@account_data:b/filter", Class::ClientRead),
    ] {
        assert_eq!(class(method, &format!("/_matrix/client/v3/{path}")), class_expected, "{path}");
    }
}

#[test]
fn media_of_federation_are_taken_for_federation() {
    for path in ["download/x", "thumbnail/x", "anything"] {
        assert_eq!(class("GET", &format!("/_matrix/federation/v1/media/{path}")), Class::Media, "{path}");
    }
}
