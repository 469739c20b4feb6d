//! The near-static answers that are learned: which there are, and how each is asked for.

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};

use crate::endpoint::Class;
use crate::synapse::{Answer, Question};

/// Who dendron says it is in Synapse's log.
const NAME: HeaderValue = HeaderValue::from_static("dendron");
/// An endpoint that every Synapse has, and that does nothing before it looks for a token (Synapse,
/// `rest/client/account.py`, `WhoamiRestServlet`).
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// One answer of Synapse's that is the same for everybody who asks alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Item {
    /// A CORS preflight of any path but those of a rendezvous.
    Preflight,
    /// The preflight of a rendezvous below `/_synapse/client/rendezvous`, whose headers differ.
    PreflightRendezvous,
    /// The preflight of the rendezvous endpoint of MSC4108.
    PreflightRendezvousEndpoint,
    /// `/_matrix/client/versions` as those see it who are not logged in.
    Versions,
    /// `GET /login`: the ways to log in.
    LoginFlows,
    /// `/.well-known/matrix/client`.
    WellKnownClient,
    /// `/.well-known/matrix/server`.
    WellKnownServer,
    /// `/_matrix/key/v2/server`.
    ServerKeys,
    /// `/_matrix/federation/v1/version`.
    FederationVersion,
    /// The error of a request without any token.
    MissingToken,
    /// The error of a request with a token in a header and one in the query.
    MixedTokens,
    /// The error of a request with two headers of tokens.
    SeveralTokens,
    /// The error of a request whose header is not `Bearer` and one word.
    InvalidAuthorization,
}

impl Item {
    /// Every item, in the order of the enum, so that `item as usize` is its place.
    pub const ALL: [Item; 13] = [
        Item::Preflight,
        Item::PreflightRendezvous,
        Item::PreflightRendezvousEndpoint,
        Item::Versions,
        Item::LoginFlows,
        Item::WellKnownClient,
        Item::WellKnownServer,
        Item::ServerKeys,
        Item::FederationVersion,
        Item::MissingToken,
        Item::MixedTokens,
        Item::SeveralTokens,
        Item::InvalidAuthorization,
    ];

    /// The item's place in [`Item::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in dendron.yaml and in metrics. Items that an administrator would not tell apart share one.
    pub const fn name(self) -> &'static str {
        match self {
            Item::Preflight | Item::PreflightRendezvous | Item::PreflightRendezvousEndpoint => "preflight",
            Item::Versions => "versions",
            Item::LoginFlows => "login_flows",
            Item::WellKnownClient => "well_known_client",
            Item::WellKnownServer => "well_known_server",
            Item::ServerKeys => "server_keys",
            Item::FederationVersion => "federation_version",
            Item::MissingToken | Item::MixedTokens | Item::SeveralTokens | Item::InvalidAuthorization => {
                "missing_token"
            }
        }
    }

    /// The class that requests for the item have, so that it is asked where they would go.
    pub const fn class(self) -> Class {
        match self {
            Item::Preflight => Class::Preflight,
            Item::PreflightRendezvous | Item::PreflightRendezvousEndpoint => Class::Main,
            Item::Versions => Class::ClientRead,
            Item::LoginFlows => Class::Login,
            Item::WellKnownClient | Item::WellKnownServer | Item::ServerKeys => Class::WellKnown,
            Item::FederationVersion => Class::FederationRead,
            Item::MissingToken | Item::MixedTokens | Item::SeveralTokens | Item::InvalidAuthorization => {
                Class::ClientRead
            }
        }
    }

    /// What Synapse is asked.
    pub fn question(self) -> Question {
        let mut headers = HeaderMap::from_iter([(USER_AGENT, NAME)]);
        let authorizations: &[&'static str] = match self {
            Item::MixedTokens => &["Bearer none"],
            Item::SeveralTokens => &["Bearer none", "Bearer none"],
            Item::InvalidAuthorization => &["Basic none"],
            _ => &[],
        };
        for value in authorizations {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        let (method, path) = match self {
            Item::Preflight => (Method::OPTIONS, "/_matrix/client/versions"),
            Item::PreflightRendezvous => (Method::OPTIONS, "/_synapse/client/rendezvous/none"),
            Item::PreflightRendezvousEndpoint => {
                (Method::OPTIONS, "/_matrix/client/unstable/org.matrix.msc4108/rendezvous")
            }
            Item::Versions => (Method::GET, "/_matrix/client/versions"),
            Item::LoginFlows => (Method::GET, "/_matrix/client/v3/login"),
            Item::WellKnownClient => (Method::GET, "/.well-known/matrix/client"),
            Item::WellKnownServer => (Method::GET, "/.well-known/matrix/server"),
            Item::ServerKeys => (Method::GET, "/_matrix/key/v2/server"),
            Item::FederationVersion => (Method::GET, "/_matrix/federation/v1/version"),
            Item::MissingToken | Item::SeveralTokens | Item::InvalidAuthorization => (Method::GET, WHOAMI),
            Item::MixedTokens => (Method::GET, "/_matrix/client/v3/account/whoami?access_token=none"),
        };
        Question { method, path: path.to_owned(), headers, body: None }
    }

    /// Whether an answer is one that stays the same. Another one says that this Synapse does not serve the item, or
    /// not now.
    pub fn accepts(self, answer: &Answer) -> bool {
        match self {
            Item::Preflight | Item::PreflightRendezvous | Item::PreflightRendezvousEndpoint => {
                answer.status == StatusCode::NO_CONTENT
            }
            // Switched off is a lasting state too (Synapse, `rest/well_known.py`). Twisted's own page says that this
            // listener does not serve it, which another one may.
            Item::WellKnownClient | Item::WellKnownServer => {
                let is_page =
                    answer.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
                answer.status == StatusCode::OK || answer.status == StatusCode::NOT_FOUND && !is_page
            }
            Item::MissingToken | Item::MixedTokens | Item::SeveralTokens | Item::InvalidAuthorization => {
                answer.status == StatusCode::UNAUTHORIZED && errcode(answer).as_deref() == Some("M_MISSING_TOKEN")
            }
            Item::Versions | Item::LoginFlows | Item::ServerKeys | Item::FederationVersion => {
                answer.status == StatusCode::OK
            }
        }
    }
}

fn errcode(answer: &Answer) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    body["errcode"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoints;

    #[test]
    fn every_item_stands_at_its_index() {
        for (place, item) in Item::ALL.iter().enumerate() {
            assert_eq!(item.index(), place, "{item:?}");
        }
    }

    #[test]
    fn an_item_is_asked_where_its_requests_go() {
        let endpoints = Endpoints::new();
        for item in Item::ALL {
            let question = item.question();
            let path = question.path.split('?').next().unwrap();
            assert_eq!(endpoints.classify(&question.method, path, None).class, item.class(), "{item:?}");
        }
    }

    #[test]
    fn only_lasting_answers_are_accepted() {
        let json = "application/json";
        let missing = r#"{"errcode":"M_MISSING_TOKEN","error":"…"}"#;
        let table = [
            (Item::Preflight, 204, json, "", true),
            (Item::Preflight, 200, json, "", false),
            (Item::Versions, 200, json, "{}", true),
            (Item::Versions, 429, json, "{}", false),
            (Item::LoginFlows, 404, json, "{}", false),
            (Item::WellKnownClient, 404, json, "{}", true),
            (Item::WellKnownServer, 404, "text/plain", "404", true),
            (Item::WellKnownServer, 404, "text/html; charset=utf-8", "<html>", false),
            (Item::WellKnownServer, 500, json, "{}", false),
            (Item::MissingToken, 401, json, missing, true),
            (Item::MissingToken, 401, json, r#"{"errcode":"M_UNKNOWN_TOKEN"}"#, false),
            (Item::MissingToken, 403, json, missing, false),
        ];
        for (item, status, kind, body, expected) in table {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
            assert_eq!(item.accepts(&answer), expected, "{item:?} {status} {kind}");
        }
    }
}
