//! The facts of a homeserver that dendron needs: out of homeserver.yaml and the workers' files.
//!
//! Only types are here; `homeserver_file` reads them. Everything else in Synapse's files is Synapse's business.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::listener::{Listener, Resource};
use super::problem::Place;
use super::secret::SecretSource;
use crate::database::Arguments;
use crate::secret::Secret;
use crate::synapse::JwtSettings;
use crate::upstream::Address;

/// A Synapse homeserver, as its files describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct Homeserver {
    /// The files that every process is started with, in order.
    pub files: Vec<PathBuf>,
    /// The part behind the colon of user ids.
    pub server_name: String,
    /// Where clients reach it, with a slash at its end.
    pub public_baseurl: String,
    /// Whether `public_baseurl` is written out, which makes Synapse serve a client well-known.
    pub public_baseurl_given: bool,
    /// The main process.
    pub main: Process,
    /// The workers, in the order of their files.
    pub workers: Vec<Process>,
    /// Where the processes listen for each other, by name. Never a place to send requests to.
    pub instance_map: BTreeMap<String, Instance>,
    /// Which process writes which stream; a stream that is not here is written by the main process.
    pub stream_writers: BTreeMap<Stream, Vec<String>>,
    /// The media repository.
    pub media: Media,
    /// Presence.
    pub presence: Presence,
    /// The database that holds users and tokens.
    pub database: Option<Database>,
    /// Redis, if it is enabled.
    pub redis: Option<Redis>,
    /// Passwords.
    pub password: Password,
    /// The limits of logins.
    pub login_limits: LoginLimits,
    /// Logins by signed token, if dendron can make such tokens.
    pub jwt: Option<JwtSettings>,
    /// Who does logins in Synapse's place, if somebody does.
    pub delegated_auth: Option<DelegatedAuth>,
    /// Whether people can register.
    pub registration_enabled: bool,
    /// The worker that keeps the user directory; `None` is the main process.
    pub user_directory_worker: Option<String>,
    /// The processes that send to other servers.
    pub federation_senders: Vec<String>,
    /// What the processes show each other over HTTP.
    pub replication_secret: Option<SecretSource>,
    /// Where homeserver.yaml tells the workers to go into the background, if it does; their own files may say otherwise.
    pub workers_daemonize: Option<Place>,
    /// Whether modules, password providers, LDAP or a spam checker are loaded, which may change what logins mean.
    pub has_modules: bool,
    /// Whether new accounts wait for approval (MSC3866).
    pub approval_required: bool,
    /// Whether refresh tokens are given to those who ask for them.
    pub refresh_tokens: bool,
}

/// One process of Synapse's.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// `main`, or the worker's name.
    pub name: String,
    /// The Python module that it runs.
    pub app: String,
    /// Its own file; `None` for the main process.
    pub file: Option<PathBuf>,
    /// Where it is configured.
    pub place: Place,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Whether it has the media repository.
    pub media_repository: bool,
    /// Where it is told to go into the background, if it is.
    pub daemonize: Option<Place>,
}

/// Where a process listens for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its address; `None` if it could not be understood.
    pub address: Option<Address>,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// A stream that workers can write (`WriterLocations` in Synapse's `config/workers.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Events: their writers have no endpoints of their own.
    Events,
    /// Typing notices.
    Typing,
    /// Messages to devices.
    ToDevice,
    /// Account data and tags.
    AccountData,
    /// Read receipts and markers.
    Receipts,
    /// Presence.
    Presence,
    /// Push rules.
    PushRules,
    /// Devices and their keys.
    DeviceLists,
    /// Thread subscriptions.
    ThreadSubscriptions,
    /// Quarantined media.
    QuarantinedMediaChanges,
}

/// The media repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The largest upload, in bytes.
    pub upload_size_max: u64,
    /// The process that tidies up; `None` is the main process.
    pub background_jobs_worker: Option<String>,
}

/// Presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whether there is any.
    pub enabled: bool,
    /// Whether Synapse finds out by itself who is online.
    pub tracked: bool,
    /// Whether a module decides who sees whose presence.
    pub has_router: bool,
    /// After how long without a sync a client counts as gone.
    pub sync_online_timeout: Duration,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Which one it is.
    pub engine: Engine,
    /// The arguments of its driver (`host`, `dbname`, …), without secrets and without the pool's own (`cp_…`).
    pub arguments: BTreeMap<String, String>,
    /// The password.
    pub password: Option<Secret>,
    /// A connection string, which may hold a password.
    pub dsn: Option<Secret>,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// How Redis is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Its address: `host` and `port`, or `path`.
    pub address: Address,
    /// The database's number.
    pub database: Option<u32>,
    /// The user's name.
    pub username: Option<String>,
    /// The password.
    pub password: Option<SecretSource>,
    /// How TLS is spoken, if it is.
    pub tls: Option<RedisTls>,
}

/// The files for TLS with Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub private_key: Option<PathBuf>,
    /// The authorities to believe.
    pub ca_file: Option<PathBuf>,
    /// A folder of authorities to believe.
    pub ca_path: Option<PathBuf>,
}

/// Passwords.
#[derive(Clone, Debug, PartialEq)]
pub struct Password {
    /// Whether they log people in.
    pub login_enabled: bool,
    /// Whether those in Synapse's own database do.
    pub localdb_enabled: bool,
    /// What is put behind every password before it is hashed.
    pub pepper: Secret,
    /// The cost of new hashes.
    pub bcrypt_rounds: u32,
}

/// `rc_login`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoginLimits {
    /// By client address.
    pub address: RateLimit,
    /// By account.
    pub account: RateLimit,
    /// By account, failures only.
    pub failed_attempts: RateLimit,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// How fast it fills.
    pub per_second: f64,
    /// How much it holds.
    pub burst_count: u32,
}

/// Logins done by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedAuth {
    /// Where the Matrix Authentication Service is; `None` with the experimental setting of older Synapses.
    pub endpoint: Option<String>,
}

/// The main process's name in dendron, and in `instance_map`.
pub const MAIN: &str = "main";

/// The main process's name everywhere else in Synapse's files.
pub const MASTER: &str = "master";

// === impl Homeserver ===

impl Homeserver {
    /// Every process, the main process first.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.main).chain(&self.workers)
    }

    /// The process of this name; `master` is the main process, too.
    pub fn process(&self, name: &str) -> Option<&Process> {
        let name = if name == MASTER { MAIN } else { name };
        self.processes().find(|process| process.name == name)
    }

    /// The process at `address`.
    pub fn at(&self, address: &Address) -> Option<&Process> {
        self.processes().find(|process| process.listener_at(address).is_some())
    }

    /// The listener at `address`.
    pub fn listener_at(&self, address: &Address) -> Option<&Listener> {
        self.processes().find_map(|process| process.listener_at(address))
    }

    /// Who writes `stream`; empty if only the main process does.
    pub fn writers(&self, stream: Stream) -> &[String] {
        match self.stream_writers.get(&stream) {
            Some(writers) if writers.iter().any(|writer| !is_main(writer)) => writers,
            _ => &[],
        }
    }
}

// === impl Database ===

impl Database {
    /// What the driver is given.
    pub fn arguments(&self) -> Arguments {
        Arguments { named: self.arguments.clone(), password: self.password.clone(), dsn: self.dsn.clone() }
    }
}

/// Whether this name means the main process.
pub(super) fn is_main(name: &str) -> bool {
    name == MASTER || name == MAIN
}

// === impl Process ===

impl Process {
    /// The listener that dendron uses for what needs `resource`: one that also serves federation at the main process,
    /// where everything ends that no worker has; then a unix socket, which costs less and which strangers cannot reach.
    pub fn listener(&self, resource: Resource) -> Option<&Listener> {
        if resource == Resource::Media && !self.media_repository {
            return None;
        }
        let main = self.name == MAIN;
        // The main process serves media beside its other resources; a worker only with the resource itself
        // (`_listener_http` in Synapse's `app/homeserver.py` and `app/generic_worker.py`).
        let serves = |listener: &&Listener| {
            let beside = resource == Resource::Media && main;
            let beside = beside && (listener.serves(Resource::Client) || listener.serves(Resource::Federation));
            listener.serves(resource) || beside
        };
        let preference =
            |listener: &&Listener| (main && !listener.resources.contains(&Resource::Federation), !listener.is_unix());
        self.listeners.iter().filter(serves).min_by_key(preference)
    }

    /// Its listener at `address`.
    pub fn listener_at(&self, address: &Address) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.address() == *address)
    }

    /// Whether it serves media.
    pub fn serves_media(&self) -> bool {
        self.listener(Resource::Media).is_some()
    }

    /// The address that answers `/health`: any HTTP listener does.
    pub fn health(&self) -> Option<Address> {
        let listeners = self.listeners.iter().filter(|listener| listener.speaks_http());
        listeners.min_by_key(|listener| !listener.is_unix()).map(Listener::address)
    }
}

// === impl Stream ===

impl Stream {
    /// Every stream.
    pub const ALL: [Stream; 10] = [
        Stream::Events,
        Stream::Typing,
        Stream::ToDevice,
        Stream::AccountData,
        Stream::Receipts,
        Stream::Presence,
        Stream::PushRules,
        Stream::DeviceLists,
        Stream::ThreadSubscriptions,
        Stream::QuarantinedMediaChanges,
    ];

    /// Its key in `stream_writers`.
    pub const fn name(self) -> &'static str {
        match self {
            Stream::Events => "events",
            Stream::Typing => "typing",
            Stream::ToDevice => "to_device",
            Stream::AccountData => "account_data",
            Stream::Receipts => "receipts",
            Stream::Presence => "presence",
            Stream::PushRules => "push_rules",
            Stream::DeviceLists => "device_lists",
            Stream::ThreadSubscriptions => "thread_subscriptions",
            Stream::QuarantinedMediaChanges => "quarantined_media_changes",
        }
    }

    /// The pool of its writers; `None` for events, which no endpoint goes to.
    pub const fn pool(self) -> Option<&'static str> {
        match self {
            Stream::Events => None,
            Stream::QuarantinedMediaChanges => Some("quarantine"),
            other => Some(other.name()),
        }
    }

    /// Whether Synapse allows several writers.
    pub const fn allows_several(self) -> bool {
        match self {
            Stream::Events
            | Stream::Receipts
            | Stream::DeviceLists
            | Stream::ThreadSubscriptions
            | Stream::QuarantinedMediaChanges => true,
            Stream::Typing | Stream::ToDevice | Stream::AccountData | Stream::Presence | Stream::PushRules => false,
        }
    }
}
