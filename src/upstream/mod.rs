//! Synapse's processes as peers.
//!
//! - [`address`]: how a process is reached.
//! - [`backend`]: one process: its address, its health, what is in flight at it.
//! - [`backlog`]: a process at a unix socket that has many connections to accept.
//! - [`kept`]: connections to a process that are kept for the next request.
//! - [`connections`]: how many connections requests may have, over all processes together.
//! - [`pool`]: the processes of a class, and the choice among them.
//! - [`ejection`]: what requests meet at a process, which can take it out of service.
//! - [`queue`]: the wait for a place at a process.
//! - [`turns`]: who has a place and who is next, class by class.
//! - [`health`]: the active checks, and the resolution of names.
//!
//! Not here: which pool a request belongs to (`route`).

pub mod address;
pub mod backend;
pub mod backlog;
pub mod connections;
pub mod ejection;
pub mod health;
pub mod kept;
pub mod pool;
pub mod queue;
pub mod turns;

pub use address::{Address, AddressError};
pub use backend::{Backend, Lease};
pub use connections::{Connections, Granted};
pub use ejection::Fault;
pub use pool::{Pool, Pools, Tried};
pub use queue::LeaseError;

use std::time::Duration;

use serde::Deserialize;

/// A pool as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// The pool's name, one of [`crate::route::rules::pool_names`].
    pub name: String,
    /// Its processes.
    pub backends: Vec<BackendSettings>,
}

/// A process as configured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendSettings {
    /// The name in metrics and logs: Synapse's name for the process, else its address.
    pub name: String,
    /// Where it listens.
    pub address: Address,
}

/// The times that concern every connection to Synapse, whatever its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTimes {
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long an idle connection is kept. It must be shorter than the 60 s after which Twisted closes one, or a
    /// request meets a connection that is just being closed.
    pub idle: Duration,
    /// How long a write may stand still.
    pub write: Duration,
}

impl Default for ConnectionTimes {
    fn default() -> Self {
        ConnectionTimes {
            connect: Duration::from_secs(2),
            idle: Duration::from_secs(45),
            write: Duration::from_secs(60),
        }
    }
}

/// How many requests one process is given at once: `backends:` in dendron.yaml.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most requests in flight. Long-polls count, so it is generous: it bounds descriptors and memory.
    pub in_flight: usize,
    /// The most requests of one class that wait for a place.
    pub queued: usize,
    /// The longest wait.
    #[serde(with = "crate::duration")]
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { in_flight: 4000, queued: 1000, wait: Duration::from_secs(30) }
    }
}
