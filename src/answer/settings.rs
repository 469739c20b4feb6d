//! `answers:` in dendron.yaml: which near-static answers dendron gives by itself.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::learned::Item;

/// Which near-static answers dendron gives by itself. What is off is sent to Synapse, as everything else.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSettings {
    /// CORS preflights.
    pub preflight: bool,
    /// `/_matrix/client/versions`, asked for without a token.
    pub versions: bool,
    /// `GET /login`.
    pub login_flows: bool,
    /// `/.well-known/matrix/client`.
    pub well_known_client: WellKnown,
    /// `/.well-known/matrix/server`.
    pub well_known_server: WellKnown,
    /// `/.well-known/matrix/support`, which Synapse does not have.
    pub well_known_support: WellKnown,
    /// `/_matrix/key/v2/server`.
    pub server_keys: bool,
    /// `/_matrix/federation/v1/version`.
    pub federation_version: bool,
    /// The error of requests that need a token and carry none.
    pub missing_token: bool,
    /// How long a learned answer is given while Synapse cannot be asked.
    #[serde(with = "crate::duration")]
    pub age_max: Duration,
}

/// What becomes of a document below `/.well-known/matrix`.
#[derive(Clone, Debug, PartialEq)]
pub enum WellKnown {
    /// It is sent to Synapse.
    Forwarded,
    /// Synapse's own is learned and given.
    Learned,
    /// This one is given, whatever Synapse has.
    Written(Map<String, Value>),
}

impl AnswerSettings {
    /// Whether an item is to be learned.
    pub fn learns(&self, item: Item) -> bool {
        match item {
            Item::Preflight | Item::PreflightRendezvous | Item::PreflightRendezvousEndpoint => self.preflight,
            Item::Versions => self.versions,
            Item::LoginFlows => self.login_flows,
            Item::WellKnownClient => self.well_known_client == WellKnown::Learned,
            Item::WellKnownServer => self.well_known_server == WellKnown::Learned,
            Item::ServerKeys => self.server_keys,
            Item::FederationVersion => self.federation_version,
            Item::MissingToken | Item::MixedTokens | Item::SeveralTokens | Item::InvalidAuthorization => {
                self.missing_token
            }
        }
    }
}

impl Default for AnswerSettings {
    fn default() -> Self {
        AnswerSettings {
            preflight: true,
            versions: true,
            login_flows: true,
            well_known_client: WellKnown::Learned,
            well_known_server: WellKnown::Learned,
            well_known_support: WellKnown::Forwarded,
            server_keys: true,
            federation_version: true,
            missing_token: true,
            age_max: Duration::from_secs(86_400),
        }
    }
}

impl<'de> Deserialize<'de> for WellKnown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = WellKnown;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("on, off, or the document itself")
            }

            fn visit_bool<E>(self, is_on: bool) -> Result<WellKnown, E> {
                Ok(if is_on { WellKnown::Learned } else { WellKnown::Forwarded })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WellKnown, A::Error> {
                Map::deserialize(MapAccessDeserializer::new(map)).map(WellKnown::Written)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_switched_or_written() {
        let table = [
            ("true", Some(WellKnown::Learned)),
            ("false", Some(WellKnown::Forwarded)),
            (r#"{"a":1}"#, Some(WellKnown::Written(Map::from_iter([("a".to_owned(), Value::from(1))])))),
            ("\"yes please\"", None),
            ("[1]", None),
        ];
        for (text, expected) in table {
            assert_eq!(serde_json::from_str(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn every_item_has_a_switch_of_its_name() {
        for item in Item::ALL {
            assert!(AnswerSettings::default().learns(item), "{item:?}");
            let settings = serde_json::json!({ item.name(): false });
            let settings: AnswerSettings = serde_json::from_value(settings).unwrap();
            for other in Item::ALL {
                assert_eq!(settings.learns(other), other.name() != item.name(), "{item:?} {other:?}");
            }
        }
    }
}
