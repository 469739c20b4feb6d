//! What the supervisor is to run. The configuration makes a [`Plan`]; nothing here decides or acts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::upstream::Address;

/// How long a process may take to end before it is killed, when the configuration does not say.
pub const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// All processes of one Synapse, and how they are stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The processes, in the order in which they are shown and, among equals, started.
    pub processes: Vec<ProcessPlan>,
    /// How long after SIGTERM a process is killed. Workers end first, then main, so stopping takes at most twice this.
    pub stop_timeout: Duration,
    /// A folder of dendron's own, made if it is missing. The supervisor keeps a folder of mode 0700 in it, for the sockets
    /// by which its processes say that they are ready.
    pub runtime_directory: PathBuf,
}

/// One process of Synapse's.
#[derive(Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// Its name in logs, metrics and the status: `main`, or the worker's name.
    pub name: String,
    /// The program and its arguments. It must stay in the foreground: a program that makes itself a daemon seems to die,
    /// and is started again and again.
    pub command: Vec<String>,
    /// Where it runs; dendron's own working directory if nothing is said.
    pub working_directory: Option<PathBuf>,
    /// Variables set on top of dendron's own environment.
    pub environment: BTreeMap<String, String>,
    /// A listener of its own that answers `GET /health`; without one, its word alone counts.
    pub health: Option<Address>,
    /// Whether it is Synapse's main process: started before the workers, and stopped after them.
    pub main: bool,
}

/// Shows the names of the environment's variables, not their values: those may be secrets.
pub(super) struct NamesOnly<'a>(pub(super) &'a BTreeMap<String, String>);

impl fmt::Debug for ProcessPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessPlan")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("working_directory", &self.working_directory)
            .field("environment", &NamesOnly(&self.environment))
            .field("health", &self.health)
            .field("main", &self.main)
            .finish()
    }
}

impl fmt::Debug for NamesOnly<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
