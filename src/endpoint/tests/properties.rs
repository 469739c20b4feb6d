//! What is true of every request.

use std::collections::HashSet;

use http::Method;
use proptest::prelude::*;

use super::ENDPOINTS;
use crate::endpoint::segment::decoded;
use crate::endpoint::table::rows;
use crate::endpoint::{Class, Subject};

/// Paths that look like those of the API, and paths that look like nothing.
fn any_path() -> impl Strategy<Value = String> {
    let templates: Vec<_> = rows().map(|row| row.template).collect();
    let mut words: Vec<_> = templates.iter().flat_map(|template| template.split('/')).collect();
    words.extend(["", ".", "..", "%5f", "%", "é", "!a:b", "%21a%3Ab"]);
    let words = words.into_iter().collect::<HashSet<_>>().into_iter().collect::<Vec<_>>();
    prop_oneof![
        any::<String>(),
        any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        prop::collection::vec(prop::sample::select(words), 0..12)
            .prop_map(|segments| format!("/{}", segments.join("/"))),
        prop::sample::select(templates).prop_map(str::to_owned),
    ]
}

/// Every byte of `text`, escaped or not.
fn escaped(text: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(0..3, text.len()).prop_map(move |ways| {
        text.bytes()
            .zip(ways)
            .map(|(byte, way)| match way {
                0 if byte.is_ascii() => char::from(byte).to_string(),
                1 => format!("%{byte:02x}"),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_request_has_an_endpoint(
        method in "[!#-'*+.0-9A-Z^-z|~-]{1,9}|GET|PUT|POST|DELETE|OPTIONS|HEAD",
        path in any_path(),
        query in proptest::option::of(any::<String>()),
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
        let endpoint = ENDPOINTS.classify(&method, &path, query.as_deref());
        if let Some(span) = endpoint.subject.span() {
            let text = path.get(span.start as usize..span.end as usize).unwrap();
            prop_assert!(!text.is_empty() && !text.contains('/'), "{text}");
        }
        let of_the_table = endpoint.label == "other" || rows().any(|row| std::ptr::eq(row.template, endpoint.label));
        prop_assert!(of_the_table, "{}", endpoint.label);
    }

    #[test]
    fn one_room_has_one_subject(room in escaped("!aZ0_-:exämple.org:8448")) {
        let path = format!("/_matrix/client/v3/rooms/{room}/messages");
        let endpoint = ENDPOINTS.classify(&Method::GET, &path, None);
        prop_assert_eq!(endpoint.class, Class::RoomMessages);
        let Subject::Room(span) = endpoint.subject else { panic!("{path}") };
        prop_assert_eq!(&*decoded(span.of(&path)), "!aZ0_-:exämple.org:8448".as_bytes());
    }

    #[test]
    fn no_encoding_of_a_private_path_is_public(
        slashes in 1..4_usize,
        first in escaped("_synapse"),
        second in escaped("metrics"),
    ) {
        let path = format!("{}{first}/{second}", "/".repeat(slashes));
        let endpoint = ENDPOINTS.classify(&Method::GET, &path, None);
        prop_assert_eq!(endpoint.class, Class::Private);
    }
}
