//! homeserver.yaml → [`Homeserver`]: the keys that dendron needs, with Synapse's own defaults.
//!
//! Sources, all in Synapse's `config/`: `server.py`, `workers.py`, `repository.py`, `database.py`, `redis.py`,
//! `auth.py`, `registration.py`, `ratelimiting.py`, `mas.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::Value;

use super::homeserver::{
    Database, DelegatedAuth, Engine, Homeserver, Instance, LoginLimits, MAIN, Media, Password, Presence, Process,
    RateLimit, Redis, RedisTls, Stream,
};
use super::homeserver_keys::{
    Raw, RawDatabase, RawExperimental, RawInstance, RawLimit, RawLimits, RawMas, RawPassword, RawPresence, RawRedis,
    Switch,
};
use super::key_path::KeyPath;
use super::listener::listeners;
use super::nearest::hint;
use super::problem::{Place, Places, Problems};
use super::read::read;
use super::secret::SecretSource;
use super::synapse_file::Merged;
use super::units::{OneOrMore, python_truth};
use crate::secret::Secret;
use crate::synapse::JwtSettings;
use crate::upstream::Address;

/// The facts in the files that every process is started with. Workers are added by the caller.
///
/// `working_directory` is where Synapse is started, if that is known: relative paths are relative to it, and else are
/// taken to be relative to the file that names them.
pub(super) fn homeserver(
    merged: &Merged,
    working_directory: Option<&Path>,
    problems: &mut Problems,
) -> Option<Homeserver> {
    let raw: Raw = read(&merged.value, merged, problems)?;
    let key = |name: &str| KeyPath::root().key(name);
    let resolve = |name: &str, path: PathBuf| match working_directory {
        Some(folder) => folder.join(path),
        None => merged.folder(name).join(path),
    };
    let server_name = raw.server_name.clone().unwrap_or_default();
    if server_name.is_empty() && merged.value.get("server_name").is_none_or(Value::is_null) {
        let place = Place { line: None, ..merged.place(&key("server_name")) };
        problems.error(place, "missing: Synapse does not start without it");
    }
    let main = Process {
        name: MAIN.to_owned(),
        app: "synapse.app.homeserver".to_owned(),
        file: None,
        place: merged.place(&key("listeners")),
        listeners: listeners(&merged.value, "listeners", merged, problems),
        media_repository: raw.enable_media_repo != Some(false),
        daemonize: true_at(&merged.value, "daemonize", merged),
    };
    Some(Homeserver {
        files: merged.documents.iter().map(|document| document.path.clone()).collect(),
        public_baseurl: public_baseurl(raw.public_baseurl.as_deref(), &server_name),
        public_baseurl_given: raw.public_baseurl.is_some(),
        server_name,
        main,
        workers: Vec::new(),
        stream_writers: stream_writers(raw.stream_writers, merged, problems),
        media: Media {
            upload_size_max: raw.max_upload_size.map_or(50 << 20, |size| size.0),
            background_jobs_worker: raw.media_instance_running_background_jobs,
        },
        presence: presence(&raw.presence, raw.use_presence),
        database: database(raw.database, raw.databases, merged, problems),
        password: password(raw.password_config, raw.bcrypt_rounds, raw.matrix_authentication_service.enabled),
        login_limits: login_limits(&raw.rc_login),
        jwt: jwt(&raw.jwt_config),
        delegated_auth: delegated_auth(&raw.matrix_authentication_service, &raw.experimental_features),
        registration_enabled: raw.enable_registration.is_some_and(|enabled| enabled.0),
        user_directory_worker: raw.update_user_directory_from_worker,
        federation_senders: raw.federation_sender_instances,
        replication_secret: secret(
            raw.worker_replication_secret,
            raw.worker_replication_secret_path.map(|path| resolve("worker_replication_secret_path", path)),
        ),
        redis: raw.redis.enabled.then(|| redis(raw.redis, |path| resolve("redis", path))),
        instance_map: instance_map(raw.instance_map, merged, problems),
        workers_daemonize: true_at(&merged.value, "worker_daemonize", merged),
        has_modules: !raw.modules.is_empty()
            || !raw.password_providers.is_empty()
            || raw.ldap_config.get("enabled").is_some_and(python_truth)
            || python_truth(&raw.spam_checker),
        approval_required: approval_required(&raw.experimental_features),
        // Only a null that is written out turns them off (`config/registration.py`).
        refresh_tokens: merged.value.get("refreshable_access_token_lifetime").is_none_or(|value| !value.is_null()),
    })
}

/// Where a switch is on that Synapse reads by Python's `bool`.
pub(super) fn true_at(root: &Value, key: &str, places: &dyn Places) -> Option<Place> {
    root.get(key).is_some_and(python_truth).then(|| places.place(&KeyPath::root().key(key)))
}

fn public_baseurl(given: Option<&str>, server_name: &str) -> String {
    match given {
        Some(url) if url.ends_with('/') => url.to_owned(),
        Some(url) => format!("{url}/"),
        None => format!("https://{server_name}/"),
    }
}

fn secret(inline: Option<Secret>, file: Option<PathBuf>) -> Option<SecretSource> {
    file.map(SecretSource::File).or(inline.map(SecretSource::Inline))
}

fn instance_map(
    raw: BTreeMap<String, RawInstance>,
    places: &Merged,
    problems: &mut Problems,
) -> BTreeMap<String, Instance> {
    let mut map = BTreeMap::new();
    for (name, raw) in raw {
        let address = match (raw.host, raw.port, raw.path) {
            (Some(host), Some(port), None) => Some(Address::Tcp { host, port }),
            (None, None, Some(path)) => Some(Address::Unix(path)),
            _ => {
                let place = places.place(&KeyPath::root().key("instance_map").key(&name));
                // A host or port of a wrong type is told already, and was taken out.
                if !problems.are_at(&place.file, &place.key) {
                    problems.error(place, "expected host and port, or path");
                }
                None
            }
        };
        map.insert(name, Instance { address, tls: raw.tls });
    }
    map
}

fn stream_writers(
    raw: BTreeMap<String, OneOrMore>,
    places: &Merged,
    problems: &mut Problems,
) -> BTreeMap<Stream, Vec<String>> {
    let mut writers = BTreeMap::new();
    for (name, OneOrMore(instances)) in raw {
        let place = places.place(&KeyPath::root().key("stream_writers").key(&name));
        let Some(stream) = Stream::ALL.into_iter().find(|stream| stream.name() == name) else {
            let hint = hint(&name, Stream::ALL.map(Stream::name));
            problems.error(place, format!("no stream of Synapse's; {hint}"));
            continue;
        };
        if instances.is_empty() {
            problems.error(place, "expected at least one process");
            continue;
        }
        if instances.len() > 1 && !stream.allows_several() {
            problems.error(place, "expected one process: Synapse allows a single writer for this stream");
        }
        writers.insert(stream, instances);
    }
    writers
}

fn presence(raw: &RawPresence, use_presence: Option<bool>) -> Presence {
    let switch = raw.enabled.unwrap_or(if use_presence == Some(false) { Switch::Off } else { Switch::On });
    Presence {
        enabled: switch != Switch::Off,
        tracked: switch == Switch::On,
        has_router: raw.presence_router.is_some(),
        sync_online_timeout: raw.sync_online_timeout.map_or(Duration::from_secs(30), |timeout| timeout.0),
    }
}

fn database(
    single: Option<RawDatabase>,
    several: BTreeMap<String, RawDatabase>,
    places: &Merged,
    problems: &mut Problems,
) -> Option<Database> {
    let root = KeyPath::root();
    let holds_main =
        |raw: &RawDatabase| raw.data_stores.as_ref().is_none_or(|stores| stores.iter().any(|store| store == "main"));
    let (raw, key) = match single {
        Some(raw) => (raw, root.key("database")),
        None => {
            let (label, raw) = several.into_iter().find(|(_, raw)| holds_main(raw))?;
            (raw, root.key("databases").key(&label))
        }
    };
    let engine = match raw.name.as_deref() {
        None | Some("sqlite3") => Engine::Sqlite,
        Some("psycopg2") => Engine::Postgres,
        Some(_) => {
            problems.error(places.place(&key.key("name")), "expected psycopg2 or sqlite3");
            return None;
        }
    };
    let mut database = Database { engine, arguments: BTreeMap::new(), password: None, dsn: None };
    for (name, value) in raw.args {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => continue,
        };
        match name.as_str() {
            "password" => database.password = Some(Secret::new(text)),
            "dsn" => database.dsn = Some(Secret::new(text)),
            name if name.starts_with("cp_") => {}
            // Only that there is one.
            name if name.contains("password") => drop(database.arguments.insert(name.to_owned(), String::new())),
            _ => {
                database.arguments.insert(name, text);
            }
        }
    }
    Some(database)
}

/// `jwt_config` (Synapse's `config/jwt.py`), if a token by dendron would be taken.
fn jwt(raw: &Value) -> Option<JwtSettings> {
    let text = |key: &str| raw.get(key).and_then(Value::as_str).map(str::to_owned);
    // With audiences a token has to be for one of them; without, for nobody.
    let audience = match raw.get("audiences").filter(|audiences| !audiences.is_null()) {
        Some(audiences) => Some(audiences.get(0)?.as_str()?.to_owned()),
        None => None,
    };
    let is_usable = raw.get("enabled").is_some_and(python_truth) && text("algorithm")? == "HS256";
    is_usable.then_some(JwtSettings {
        secret: Secret::new(text("secret")?),
        subject_claim: text("subject_claim").unwrap_or_else(|| "sub".to_owned()),
        issuer: text("issuer"),
        audience,
    })
}

fn redis(raw: RawRedis, resolve: impl Fn(PathBuf) -> PathBuf) -> Redis {
    let host = raw.host.unwrap_or_else(|| "localhost".to_owned());
    Redis {
        address: match raw.path {
            Some(path) => Address::Unix(path),
            None => Address::Tcp { host, port: raw.port.unwrap_or(6379) },
        },
        database: raw.dbid,
        username: raw.username,
        password: secret(raw.password, raw.password_path.map(&resolve)),
        tls: raw.use_tls.then(|| RedisTls {
            certificate: raw.certificate_file.map(&resolve),
            private_key: raw.private_key_file.map(&resolve),
            ca_file: raw.ca_file.map(&resolve),
            ca_path: raw.ca_path.map(&resolve),
        }),
    }
}

fn password(raw: RawPassword, bcrypt_rounds: Option<u32>, delegated: bool) -> Password {
    Password {
        login_enabled: raw.enabled.map_or(!delegated, |switch| switch == Switch::On),
        localdb_enabled: raw.localdb_enabled.unwrap_or(true),
        pepper: raw.pepper,
        bcrypt_rounds: bcrypt_rounds.unwrap_or(12),
    }
}

fn login_limits(raw: &RawLimits) -> LoginLimits {
    let limit = |raw: &RawLimit, per_second: f64, burst_count: f64| RateLimit {
        per_second: raw.per_second.unwrap_or(per_second),
        // Synapse cuts the number to a whole one.
        burst_count: raw.burst_count.unwrap_or(burst_count) as u32,
    };
    LoginLimits {
        address: limit(&raw.address, 0.003, 5.0),
        account: limit(&raw.account, 0.003, 5.0),
        failed_attempts: limit(&raw.failed_attempts, 0.17, 3.0),
    }
}

/// Whether new accounts wait for approval (`config/experimental.py`).
fn approval_required(experimental: &RawExperimental) -> bool {
    experimental.msc3866.enabled && experimental.msc3866.require_approval_for_new_accounts
}

fn delegated_auth(mas: &RawMas, experimental: &RawExperimental) -> Option<DelegatedAuth> {
    if mas.enabled {
        let endpoint = mas.endpoint.clone().unwrap_or_else(|| "http://localhost:8080/".to_owned());
        return Some(DelegatedAuth { endpoint: Some(endpoint) });
    }
    experimental.msc3861.enabled.then_some(DelegatedAuth { endpoint: None })
}
