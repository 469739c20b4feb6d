//! The format of dendron.yaml: what an administrator can write, and the defaults.
//!
//! Unknown keys are refused everywhere. Secrets have no key here: they stay in Synapse's files, in files of their own
//! (`*_path`), or in the environment. `conf/dendron.yaml` explains every key; a test holds it against these types.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::admin::AdminSettings;
use crate::answer::AnswerSettings;
use crate::answer::login::settings::LoginSettings;
use crate::duration;
use crate::listener::{ClientTimes, ConnectionSettings, ListenerSettings};
use crate::observe::LogSettings;
use crate::quiet::settings::SyncSettings;
use crate::supervise;
use crate::upstream::{Address, ConnectionTimes, Limits};

/// Everything in dendron.yaml.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where clients and other servers reach dendron.
    pub listeners: Listeners,
    /// How many clients may be connected.
    pub connections: ConnectionSettings,
    /// Whether the front stands before the proxy.
    pub front: OnByDefault,
    /// Where metrics and status are shown.
    pub admin: AdminSettings,
    /// Synapse's own files.
    pub synapse: SynapseSettings,
    /// Pools written out, or put in the place of derived ones: addresses, or names of Synapse's processes.
    pub pools: BTreeMap<String, Vec<String>>,
    /// How many requests one process of Synapse's is given at once.
    pub backends: Limits,
    /// Proxies in front of dendron whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// How long things may take.
    pub timeouts: TimeoutSettings,
    /// Which near-static answers dendron gives by itself.
    pub answers: AnswerSettings,
    /// What is logged, how and where.
    pub log: LogSettings,
    /// How logins with a password are answered.
    pub login: LoginSettings,
    /// How quiet syncs are parked.
    pub sync: SyncSettings,
    /// How many threads serve requests; one for each CPU core if not given.
    pub threads: Option<Threads>,
    /// How dendron stops.
    pub shutdown: ShutdownSettings,
    /// Synapse's processes under dendron's care; not given means that somebody else starts them.
    pub supervise: Option<supervise::Settings>,
}

/// The listeners, with their default.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Listeners(pub Vec<ListenerSettings>);

/// Which of Synapse's files are read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SynapseSettings {
    /// What Synapse gets as `--config-path`, in the same order.
    pub config: Vec<PathBuf>,
    /// The workers' files.
    pub workers: Vec<PathBuf>,
}

/// How long things may take.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// How long connecting to a Synapse process may take.
    #[serde(with = "crate::duration")]
    pub connect: Duration,
    /// How long an idle connection to a Synapse process is kept; shorter than Twisted's own 60 s.
    #[serde(with = "crate::duration")]
    pub idle: Duration,
    /// How long a client may take.
    pub client: ClientTimes,
    /// By class: how long Synapse may be silent, in place of the class's default.
    #[serde(deserialize_with = "durations")]
    pub classes: BTreeMap<String, Duration>,
}

/// How dendron stops.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long requests that are under way may take to end.
    #[serde(with = "crate::duration")]
    pub grace: Duration,
}

/// A switch that is on unless it is switched off.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct OnByDefault(pub bool);

/// A number of threads, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(pub usize);

/// An IP network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// The most threads that can be asked for.
const THREADS_MAX: u64 = 1024;

// === defaults ===

impl Default for Listeners {
    fn default() -> Self {
        // A port that only this machine reaches.
        let address = Address::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: 8080 };
        Listeners(vec![ListenerSettings::at(address)])
    }
}

impl Default for OnByDefault {
    fn default() -> Self {
        OnByDefault(true)
    }
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        let ConnectionTimes { connect, idle, .. } = ConnectionTimes::default();
        TimeoutSettings { connect, idle, client: ClientTimes::default(), classes: BTreeMap::new() }
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        ShutdownSettings { grace: Duration::from_secs(10) }
    }
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let texts = BTreeMap::<String, duration::Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(class, text)| (class, text.0)).collect())
}

// === single values ===

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = Threads;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a whole number from 1 to {THREADS_MAX}")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Threads, E> {
                match usize::try_from(count) {
                    Ok(threads) if (1..=THREADS_MAX).contains(&count) => Ok(Threads(threads)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(count), &self)),
                }
            }
        }
        deserializer.deserialize_any(Count)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(Network).ok_or_else(|| D::Error::custom("expected an IP address or a network such as 10.0.0.0/8"))
    }
}
