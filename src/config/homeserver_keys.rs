//! The keys of homeserver.yaml that dendron reads, as Synapse writes and types them.
//!
//! Every key may be missing. Keys that are not here are not looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Unexpected};
use serde_yaml::Value;

use super::units::{OneOrMore, SynapseDuration, SynapseSize, SynapseTruth};
use crate::secret::Secret;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) server_name: Option<String>,
    pub(super) public_baseurl: Option<String>,
    pub(super) enable_media_repo: Option<bool>,
    pub(super) media_instance_running_background_jobs: Option<String>,
    pub(super) max_upload_size: Option<SynapseSize>,
    pub(super) instance_map: BTreeMap<String, RawInstance>,
    pub(super) stream_writers: BTreeMap<String, OneOrMore>,
    pub(super) presence: RawPresence,
    pub(super) use_presence: Option<bool>,
    pub(super) database: Option<RawDatabase>,
    pub(super) databases: BTreeMap<String, RawDatabase>,
    pub(super) redis: RawRedis,
    pub(super) password_config: RawPassword,
    pub(super) bcrypt_rounds: Option<u32>,
    pub(super) rc_login: RawLimits,
    pub(super) jwt_config: Value,
    pub(super) matrix_authentication_service: RawMas,
    pub(super) experimental_features: RawExperimental,
    pub(super) enable_registration: Option<SynapseTruth>,
    pub(super) update_user_directory_from_worker: Option<String>,
    pub(super) federation_sender_instances: Vec<String>,
    pub(super) worker_replication_secret: Option<Secret>,
    pub(super) worker_replication_secret_path: Option<PathBuf>,
    pub(super) modules: Vec<IgnoredAny>,
    pub(super) password_providers: Vec<IgnoredAny>,
    pub(super) ldap_config: Value,
    pub(super) spam_checker: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawInstance {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) path: Option<PathBuf>,
    pub(super) tls: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPresence {
    #[serde(deserialize_with = "presence_switch")]
    pub(super) enabled: Option<Switch>,
    pub(super) presence_router: Option<IgnoredAny>,
    pub(super) sync_online_timeout: Option<SynapseDuration>,
}

/// True, false, or a third thing that Synapse names.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Switch {
    On,
    Off,
    /// `untracked` presence, passwords `only_for_reauth`.
    Special,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawDatabase {
    pub(super) name: Option<String>,
    pub(super) args: BTreeMap<String, Value>,
    pub(super) data_stores: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawRedis {
    pub(super) enabled: bool,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) path: Option<PathBuf>,
    pub(super) dbid: Option<u32>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) password_path: Option<PathBuf>,
    pub(super) use_tls: bool,
    pub(super) certificate_file: Option<PathBuf>,
    pub(super) private_key_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_path: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawPassword {
    #[serde(deserialize_with = "password_switch")]
    pub(super) enabled: Option<Switch>,
    pub(super) localdb_enabled: Option<bool>,
    pub(super) pepper: Secret,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawLimits {
    pub(super) address: RawLimit,
    pub(super) account: RawLimit,
    pub(super) failed_attempts: RawLimit,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawLimit {
    pub(super) per_second: Option<f64>,
    pub(super) burst_count: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawMas {
    pub(super) enabled: bool,
    pub(super) endpoint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawExperimental {
    pub(super) msc3861: RawMsc3861,
    pub(super) msc3866: RawMsc3866,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawMsc3861 {
    pub(super) enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawMsc3866 {
    pub(super) enabled: bool,
    pub(super) require_approval_for_new_accounts: bool,
}

/// Reads a [`Switch`] whose special word is this one.
struct SwitchVisitor(&'static str);

impl serde::de::Visitor<'_> for SwitchVisitor {
    type Value = Switch;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "true, false or {}", self.0)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Switch, E> {
        Ok(if on { Switch::On } else { Switch::Off })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Switch, E> {
        match text == self.0 {
            true => Ok(Switch::Special),
            false => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

fn presence_switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Switch>, D::Error> {
    deserializer.deserialize_any(SwitchVisitor("untracked")).map(Some)
}

fn password_switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Switch>, D::Error> {
    deserializer.deserialize_any(SwitchVisitor("only_for_reauth")).map(Some)
}
