//! Tests of the table and the tree together.

mod authentication;
mod classes;
mod mistakes;
mod properties;

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;

use super::table::{Methods, Row, rows};
use super::{Class, Endpoint, Endpoints, Subject};

/// Built once for all tests: nothing can change it.
static ENDPOINTS: LazyLock<Endpoints> = LazyLock::new(Endpoints::new);

/// What a target (`path?query`) is.
fn classify(method: &str, target: &str) -> (Endpoint, String) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let endpoint = ENDPOINTS.classify(&method, path, query);
    (endpoint, subject_text(endpoint.subject, path))
}

fn class(method: &str, target: &str) -> Class {
    classify(method, target).0.class
}

/// The kind of the subject and what it names, as `kind text`.
fn subject_text(subject: Subject, path: &str) -> String {
    let kind = match subject {
        Subject::None => return String::new(),
        Subject::Room(_) => "room",
        Subject::RoomOrAlias(_) => "room or alias",
        Subject::Alias(_) => "alias",
        Subject::User(_) => "user",
        Subject::Media(_) => "media",
    };
    format!("{kind} {}", subject.span().unwrap().of(path))
}

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];

fn takes(row: &Row, method: &str) -> bool {
    row.methods.contains(Methods::of(&Method::from_bytes(method.as_bytes()).unwrap()))
}

/// The paths of a row, one for each of its versions.
fn paths(row: &Row) -> Vec<String> {
    let path = row
        .template
        .split('/')
        .map(|segment| match segment {
            "{roomId}" => "%21room%3Aexample.org",
            "{roomIdOrAlias}" | "{roomAlias}" => "%23room:example.org",
            "{userId}" => "@user:example.org",
            "{mediaId}" => "media-id",
            segment if segment.starts_with("{*") => "sample/of/more",
            segment if segment.starts_with('{') => "sample",
            segment => segment,
        })
        .collect::<Vec<_>>()
        .join("/");
    match row.versions {
        [] => vec![path],
        [written, ..] => {
            let written = format!("/{written}/");
            assert!(path.contains(&written), "{}", row.template);
            row.versions.iter().map(|version| path.replacen(&written, &format!("/{version}/"), 1)).collect()
        }
    }
}

fn expected_subject(row: &Row) -> &'static str {
    row.template
        .split('/')
        .find_map(|segment| match segment {
            "{roomId}" => Some("room %21room%3Aexample.org"),
            "{roomIdOrAlias}" => Some("room or alias %23room:example.org"),
            "{roomAlias}" => Some("alias %23room:example.org"),
            "{userId}" => Some("user @user:example.org"),
            "{mediaId}" => Some("media media-id"),
            _ => None,
        })
        .unwrap_or_default()
}

#[test]
fn every_row_is_found_by_each_of_its_paths_and_methods() {
    for row in rows() {
        for path in paths(row) {
            for method in METHODS.into_iter().filter(|method| takes(row, method)) {
                let (endpoint, subject) = classify(method, &format!("{path}?since=s1&from=s1"));
                let got = (endpoint.class, endpoint.label, subject.as_str());
                assert_eq!(got, (row.class, row.template, expected_subject(row)), "{method} {path}");
            }
        }
    }
}

#[test]
fn a_method_that_is_not_served_is_unknown_where_main_is_to_say_so() {
    let mut served: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in rows() {
        served.entry(row.template).or_default().push(row);
    }
    for (template, rows) in served {
        for method in METHODS.into_iter().filter(|method| !rows.iter().any(|row| takes(row, method))) {
            for path in paths(rows[0]) {
                let expected = match () {
                    () if path.starts_with("/_synapse/admin") => Class::Admin,
                    () if path.starts_with("/_synapse/mas") => Class::Mas,
                    () if method == "OPTIONS" => Class::Preflight,
                    () if path.contains("/media/") && path.starts_with("/_matrix/") => Class::Media,
                    () => Class::Unknown,
                };
                let endpoint = classify(method, &path).0;
                assert_eq!(endpoint.class, expected, "{method} {path}");
                if matches!(expected, Class::Preflight | Class::Unknown) {
                    assert_eq!(endpoint.label, template, "{method} {path}");
                }
            }
        }
    }
}

#[test]
fn no_two_rows_of_one_path_share_a_method_or_differ_in_their_label() {
    let mut seen: HashMap<(String, &str), &str> = HashMap::new();
    let mut labels: HashMap<String, &str> = HashMap::new();
    for row in rows() {
        for path in paths(row) {
            // Parameters are the same to the tree, whatever their names.
            let shape = path.replace("%21room%3Aexample.org", "sample").replace("%23room:example.org", "sample");
            let shape = shape.replace("@user:example.org", "sample").replace("media-id", "sample");
            for method in METHODS.into_iter().filter(|method| takes(row, method)) {
                let earlier = seen.insert((shape.clone(), method), row.template);
                assert_eq!(earlier, None, "{method} {shape}");
            }
            let label = labels.entry(shape.clone()).or_insert(row.template);
            assert_eq!(*label, row.template, "{shape}");
        }
    }
}

#[test]
fn a_sync_is_initial_by_its_query() {
    for (target, class_expected) in [
        ("sync", Class::InitialSync),
        ("sync?", Class::InitialSync),
        ("sync?since", Class::InitialSync),
        ("sync?since=", Class::InitialSync),
        ("sync?since=&since=s1", Class::InitialSync),
        ("sync?filter=since=s1", Class::InitialSync),
        ("sync?notsince=s1", Class::InitialSync),
        ("sync?since=s1", Class::Sync),
        ("sync?%73ince=s1", Class::Sync),
        ("sync?timeout=0;since=s1", Class::Sync),
        ("sync?since=s1&full_state=true", Class::InitialSync),
        ("sync?since=s1&full_state=tru%65", Class::InitialSync),
        ("sync?full%5Fstate=true&since=s1", Class::InitialSync),
        ("sync?since=s1&full_state=false", Class::Sync),
        ("sync?since=s1&full_state=false&full_state=true", Class::Sync),
        ("sync?since=s1&full_state=True", Class::Sync),
        ("sync?since=s1&full_state", Class::Sync),
        ("events", Class::InitialSync),
        ("events?from=s1", Class::Sync),
        ("events?since=s1", Class::InitialSync),
        ("events?from=s1&full_state=true", Class::Sync),
        ("initialSync?since=s1", Class::InitialSync),
        ("rooms/!a:b/initialSync?since=s1", Class::InitialSync),
    ] {
        assert_eq!(class("GET", &format!("/_matrix/client/v3/{target}")), class_expected, "{target}");
    }
}

#[test]
fn preflights_go_anywhere_but_for_a_rendezvous_and_what_is_not_public() {
    for (path, class_expected) in [
        ("/_matrix/client/v3/rooms/!a:b/messages", Class::Preflight),
        ("/_matrix/client/v3/nothing/of/this", Class::Preflight),
        ("/_matrix/media/v3/upload", Class::Preflight),
        ("/_matrix/media/v9/nothing", Class::Preflight),
        ("/_synapse/client/pick_idp", Class::Preflight),
        ("/", Class::Preflight),
        ("/anything", Class::Preflight),
        ("*", Class::Unknown),
        ("", Class::Unknown),
        ("/_matrix/client/unstable/org.matrix.msc4108/rendezvous", Class::Main),
        ("/_matrix/client/unstable/io.element.msc4388/rendezvous", Class::Main),
        ("/_matrix/client/unstable/io.element.msc4388/rendezvous/x", Class::Main),
        ("/_synapse/client/rendezvous/x", Class::Main),
        ("/_synapse/admin/v1/rooms/!a:b", Class::Admin),
        ("/_synapse/mas/query_user", Class::Mas),
        ("/_synapse/metrics", Class::Private),
    ] {
        assert_eq!(class("OPTIONS", path), class_expected, "{path}");
    }
}

#[test]
fn what_is_not_public_is_told_by_its_decoded_prefix() {
    for (path, class_expected) in [
        ("/_synapse/%61dmin/v1/rooms", Class::Admin),
        ("//_synapse/admin/v1/rooms/!a:b", Class::Admin),
        ("/_synapse/admin", Class::Admin),
        ("/_synapse/admin/", Class::Admin),
        ("/%5fsynapse/m%61s/query_user", Class::Mas),
        ("/_synapse/mas/../metrics", Class::Mas),
        ("/_synapse/m%65trics", Class::Private),
        ("///_synapse/metrics", Class::Private),
        ("x_synapse/metrics", Class::Private),
        ("/_synapse/replication", Class::Private),
        ("/_synapse", Class::Private),
        ("/_synapse/adminx", Class::Private),
        ("/_synapse/client", Class::Unknown),
        ("/_synapse/client/../metrics", Class::Unknown),
        ("//_matrix/client/versions", Class::Unknown),
        ("/_matrix/client/v3/%73ync", Class::Unknown),
    ] {
        for method in ["GET", "POST", "PATCH"] {
            assert_eq!(class(method, path), class_expected, "{method} {path}");
        }
    }
}

#[test]
fn media_are_media_however_little_is_known_of_them() {
    for path in
        ["/_matrix/media/", "/_matrix/media/v9/x", "/_matrix/client/v1/media/x", "/_matrix/federation/v1/media/"]
    {
        assert_eq!(class("GET", path), Class::Media, "{path}");
        assert_eq!(class("PATCH", path), Class::Media, "{path}");
    }
    assert_eq!(class("GET", "/_matrix/media"), Class::Unknown);
    assert_eq!(class("GET", "/_matrix/client/v3/media/config"), Class::Unknown);
}

#[test]
fn an_empty_segment_is_no_subject() {
    let (endpoint, subject) = classify("GET", "/_matrix/client/v3/rooms//messages");
    assert_eq!((endpoint.class, subject.as_str()), (Class::RoomMessages, ""));
}

#[test]
fn delayed_events_are_for_workers_only_where_documented() {
    let list = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
    assert_eq!(class("GET", list), Class::ClientRead);
    assert_eq!(class("POST", &format!("{list}/x/restart")), Class::EventSend);
    for action in ["", "/cancel", "/send"] {
        assert_eq!(class("POST", &format!("{list}/x{action}")), Class::Main, "{action}");
    }
}
