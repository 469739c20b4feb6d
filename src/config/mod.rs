//! dendron.yaml and Synapse's own files → one checked [`Config`].
//!
//! Synapse's files are the source: what stands there is configured nowhere else. dendron.yaml says the rest, and can
//! put its own pools in the place of derived ones. Everything that is wrong is told at once, by file, line and key.
//!
//! In the order of work:
//! - `load`: reads the files, calls everything below.
//! - `document`, `scalar`, `key_path`: one YAML file, its values as Synapse reads them, the line of each key.
//! - `read`, `units`, `nearest`: values → typed settings, with every wrong key told.
//! - [`settings`]: the format of dendron.yaml, and the defaults.
//! - `synapse_file`, `homeserver_keys`, `homeserver_file`, `listener`, `worker`: Synapse's files → the facts of
//!   [`homeserver`].
//! - `role`, `derive`, `pools`: facts → pools; then dendron.yaml's own.
//! - [`login`]: whether logins are answered, and with what.
//! - [`sync`]: whether quiet syncs are parked, and with what.
//! - `authentication`: the Matrix Authentication Service, where that has taken logins over.
//! - `supervise`: names of processes → the commands that the supervisor runs.
//! - `check`, `times`, `unit`, `files`, `descriptors`: what does not fit together, times that would cut what is promised
//!   (systemd's among them), which files cannot be read, and whether enough can be open.
//! - `problem`, `secret`: how problems look, and what is never shown.
//!
//! Not here: how the settings are used, nor the settings of a part alone, which stand beside it (`listener::settings`,
//! `observe::settings`, `supervise::settings`). Nothing below `server` imports this module.

mod authentication;
mod check;
mod derive;
mod descriptors;
mod document;
mod files;
pub mod homeserver;
mod homeserver_file;
mod homeserver_keys;
mod key_path;
mod listener;
mod load;
pub mod login;
mod nearest;
mod pools;
mod problem;
mod read;
mod role;
mod scalar;
mod secret;
pub mod settings;
mod supervise;
mod synapse_file;
pub mod sync;
mod times;
mod unit;
mod units;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use derive::derive;
pub use homeserver::Homeserver;
pub use listener::{Bind, Listener, ListenerKind, Resource};
pub use load::load;
pub use problem::{Place, Problem, Problems, Severity};
pub use secret::SecretSource;

use crate::answer::AnswerSettings;
use crate::answer::login::settings::LoginSettings;
use crate::endpoint::Class;
use crate::listener::{ClientTimes, Needs};
use crate::observe::LogSettings;
use crate::quiet::settings::SyncSettings;
use crate::supervise::Plan;
use crate::upstream::{ConnectionTimes, Limits, PoolSettings};

/// Where the configuration starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A dendron.yaml.
    File(PathBuf),
    /// A homeserver.yaml (or a folder of such), and no dendron.yaml: `conf.d/` and `workers/` beside it are read, too,
    /// as Debian's package has them.
    Synapse(PathBuf),
}

/// Everything that dendron needs to know to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients and other servers reach dendron.
    pub listeners: Vec<crate::listener::Listener>,
    /// The administrator's own bound on connections of clients.
    pub connections_max: Option<usize>,
    /// The most requests of an HTTP/1 connection.
    pub connection_requests: NonZeroU32,
    /// Whether the front stands before the proxy.
    pub front: bool,
    /// Where metrics and status are shown.
    pub admin: crate::listener::Listener,
    /// The pools, in the order of [`crate::route::rules::pool_names`]; `main` is always there.
    pub pools: Vec<PoolSettings>,
    /// The classes for which the main pool's processes have no listener, as far as Synapse's files tell.
    pub main_lacks: BTreeSet<Class>,
    /// How many requests one process is given at once.
    pub limits: Limits,
    /// The times that concern every connection to Synapse.
    pub connection_times: ConnectionTimes,
    /// How long clients may take.
    pub client_times: ClientTimes,
    /// By class, in place of the class's default: how long Synapse may be silent.
    pub patience: BTreeMap<Class, Duration>,
    /// Proxies in front of dendron whose `X-Forwarded-For` is believed. A peer on a unix socket is always believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Which near-static answers dendron gives by itself.
    pub answers: AnswerSettings,
    /// What is logged.
    pub log: LogSettings,
    /// How logins are answered.
    pub login: LoginSettings,
    /// How quiet syncs are parked.
    pub sync: SyncSettings,
    /// How many threads serve requests; `None` is one for each CPU core.
    pub threads: Option<usize>,
    /// How long requests that are under way may take to end when dendron stops.
    pub shutdown_grace: Duration,
    /// Synapse's processes under dendron's care.
    pub supervise: Option<Plan>,
    /// Synapse's facts, if its files are known.
    pub homeserver: Option<Homeserver>,
}

impl Config {
    /// What has descriptors besides the clients.
    pub fn needs(&self) -> Needs {
        let processes = self.pools.iter().map(|pool| pool.backends.len()).sum();
        let supervised = self.supervise.as_ref().map_or(0, |plan| plan.processes.len());
        Needs { listeners: self.listeners.len() + 1, processes, supervised }
    }

    /// The pool of this name.
    pub fn pool(&self, name: &str) -> Option<&PoolSettings> {
        self.pools.iter().find(|pool| pool.name == name)
    }
}
