//! Which near-static answer a request asks for. Pure, from the head alone.
//!
//! Paths are compared as they were sent, as Synapse compares them (`synapse/http/server.py`); other spellings of the same
//! path go on. So does whatever has a body, which Synapse would read first.

use http::Method;

use super::Item;
use crate::answer::Asked;
use crate::endpoint::Class;

/// The item that answers a request, if any does.
pub(super) fn wanted(asked: &Asked<'_>) -> Option<Item> {
    // What is not Synapse's to answer is not to be answered by what Synapse once said.
    if asked.body_bytes() != Some(0) || asked.endpoint.class == Class::Authentication {
        return None;
    }
    match *asked.method {
        Method::OPTIONS => preflight(asked.path),
        Method::GET | Method::HEAD => document(asked),
        _ => None,
    }
}

/// Synapse answers preflights before it looks at anything, so that every path has one (`synapse/http/server.py`,
/// `OptionsResource`). Rendezvous have headers of their own (`set_cors_headers` there), by the path as it was sent. A
/// rendezvous that is not known here might get some, too, in another version.
fn preflight(path: &str) -> Option<Item> {
    if !path.starts_with('/') {
        return None;
    }
    if !path.contains("rendezvous") {
        return Some(Item::Preflight);
    }
    match path {
        "/_matrix/client/unstable/org.matrix.msc4108/rendezvous" => Some(Item::PreflightRendezvousEndpoint),
        _ if path.starts_with("/_synapse/client/rendezvous") => Some(Item::PreflightRendezvous),
        _ => None,
    }
}

fn document(asked: &Asked<'_>) -> Option<Item> {
    match asked.path {
        // With a token the answer may differ from user to user, or be an error (Synapse, `rest/client/versions.py`).
        "/_matrix/client/versions" => (!asked.has_credentials()).then_some(Item::Versions),
        "/_matrix/client/v3/login"
        | "/_matrix/client/r0/login"
        | "/_matrix/client/api/v1/login"
        | "/_matrix/client/unstable/login" => Some(Item::LoginFlows),
        "/.well-known/matrix/client" => Some(Item::WellKnownClient),
        "/.well-known/matrix/server" => Some(Item::WellKnownServer),
        // A signature is checked where there is one (Synapse, `federation/transport/server/_base.py`).
        "/_matrix/federation/v1/version" => {
            let is_signed = asked.headers.first(&http::header::AUTHORIZATION).is_some();
            (!is_signed).then_some(Item::FederationVersion)
        }
        path => {
            // The id of a key was once a choice, and has no meaning any more (Synapse,
            // `rest/key/v2/local_key_resource.py`).
            let rest = path.strip_prefix("/_matrix/key/v2/server")?;
            let is_key_id = |rest: &str| !rest.contains('/') && rest.bytes().all(|byte| byte.is_ascii_graphic());
            (rest.is_empty() || rest.strip_prefix('/').is_some_and(is_key_id)).then_some(Item::ServerKeys)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::answer::Headers;
    use crate::answer::asked::tests::ask;
    use crate::endpoint::Endpoints;

    #[test]
    fn requests_are_matched_as_synapse_matches_them() {
        let table = [
            ("OPTIONS /", Some(Item::Preflight)),
            ("OPTIONS /_matrix/client/v3/sync?since=s1", Some(Item::Preflight)),
            ("OPTIONS /nothing/at/all", Some(Item::Preflight)),
            ("OPTIONS *", None),
            ("OPTIONS /_synapse/client/rendezvous", Some(Item::PreflightRendezvous)),
            ("OPTIONS /_synapse/client/rendezvous/a", Some(Item::PreflightRendezvous)),
            ("OPTIONS /_matrix/client/unstable/org.matrix.msc4108/rendezvous", Some(Item::PreflightRendezvousEndpoint)),
            ("OPTIONS /_matrix/client/unstable/org.matrix.msc4108/rendezvous/", None),
            ("OPTIONS /_matrix/client/unstable/io.element.msc4388/rendezvous", None),
            ("GET /_matrix/client/versions", Some(Item::Versions)),
            ("HEAD /_matrix/client/versions?a=b", Some(Item::Versions)),
            ("POST /_matrix/client/versions", None),
            ("GET /_matrix/client/versions/", None),
            ("GET /_matrix/client//versions", None),
            ("GET /_matrix/client/version%73", None),
            ("GET /_matrix/client/versions?access_token=", None),
            ("GET /_matrix/client/versions?access_token", Some(Item::Versions)),
            ("GET /_matrix/client/v3/login", Some(Item::LoginFlows)),
            ("HEAD /_matrix/client/api/v1/login", Some(Item::LoginFlows)),
            ("GET /_matrix/client/r0/login?access_token=a", Some(Item::LoginFlows)),
            ("GET /_matrix/client/unstable/login", Some(Item::LoginFlows)),
            ("GET /_matrix/client/v1/login", None),
            ("POST /_matrix/client/v3/login", None),
            ("GET /.well-known/matrix/client", Some(Item::WellKnownClient)),
            ("GET /.well-known/matrix/client/", None),
            ("GET /.well-known/matrix/server", Some(Item::WellKnownServer)),
            ("GET /.well-known/matrix/%73erver", None),
            ("GET /_matrix/key/v2/server", Some(Item::ServerKeys)),
            ("GET /_matrix/key/v2/server/", Some(Item::ServerKeys)),
            ("GET /_matrix/key/v2/server/ed25519:a_b", Some(Item::ServerKeys)),
            ("GET /_matrix/key/v2/server/a/b", None),
            ("GET /_matrix/key/v2/servers", None),
            ("GET /_matrix/federation/v1/version", Some(Item::FederationVersion)),
            ("GET /_matrix/client/v3/capabilities", None),
            ("GET /_matrix/media/v3/config", None),
        ];
        for (line, expected) in table {
            assert_eq!(ask(line, &[], wanted), expected, "{line}");
        }
    }

    #[test]
    fn logins_of_the_authentication_service_are_its_own() {
        let endpoints = Endpoints::with_authentication();
        for (method, path, expected) in [
            (Method::GET, "/_matrix/client/v3/login", None),
            (Method::HEAD, "/_matrix/client/unstable/login", None),
            (Method::OPTIONS, "/_matrix/client/v3/login", None),
            (Method::OPTIONS, "/_matrix/client/v3/logout/all", None),
            (Method::OPTIONS, "/_matrix/client/v3/sync", Some(Item::Preflight)),
            (Method::GET, "/_matrix/client/versions", Some(Item::Versions)),
        ] {
            let endpoint = endpoints.classify(&method, path, None);
            let asked =
                Asked { method: &method, path, query: None, headers: Headers::Map(&HeaderMap::new()), endpoint };
            assert_eq!(wanted(&asked), expected, "{method} {path}");
        }
    }

    #[test]
    fn who_shows_credentials_or_sends_a_body_is_sent_on() {
        let table: [(&str, (&str, &str), bool); 7] = [
            ("GET /_matrix/client/versions", ("authorization", "Bearer a"), false),
            ("GET /_matrix/client/versions", ("authorization", ""), false),
            ("GET /_matrix/federation/v1/version", ("authorization", "X-Matrix a"), false),
            ("GET /_matrix/client/v3/login", ("authorization", "Bearer a"), true),
            ("GET /_matrix/client/v3/login", ("content-length", "1"), false),
            ("OPTIONS /", ("authorization", "Bearer a"), true),
            ("OPTIONS /", ("transfer-encoding", "chunked"), false),
        ];
        for (line, header, expected) in table {
            assert_eq!(ask(line, &[header], wanted).is_some(), expected, "{line} {header:?}");
        }
    }
}
