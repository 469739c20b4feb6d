//! Whether as many files may be open as the configuration needs.
//!
//! The limit is that of whoever runs the check. A service may have another one, so what is told here is never an error.

use rustix::process::{Resource, getrlimit};

use super::Config;
use super::key_path::KeyPath;
use super::problem::{Places, Problems};
use crate::listener::Budget;
use crate::listener::budget::COMFORTABLE_LIMIT;
use crate::upstream::Limits;

/// Looks at the hard limit, to which dendron raises its own.
pub(super) fn check(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let Some(limit) = getrlimit(Resource::Nofile).maximum else { return };
    for (key, message) in complaint(config, limit).into_iter().chain(complaint_of_backends(config, limit)) {
        problems.warning(places.place(&key), message);
    }
}

fn complaint(config: &Config, limit: u64) -> Option<(KeyPath, String)> {
    let derived = Budget::new(limit, config.needs(), None).connections;
    let root = KeyPath::root().key("connections");
    match config.connections_max {
        Some(max) if max > derived => {
            let message = format!("the limit of {limit} open files (ulimit -Hn, LimitNOFILE=) allows {derived} only");
            Some((root.key("max"), message))
        }
        None if limit < COMFORTABLE_LIMIT => {
            let message = format!(
                "the limit of {limit} open files (ulimit -Hn, LimitNOFILE=) allows {derived} connections of clients: \
                 raise it to {COMFORTABLE_LIMIT} or more"
            );
            Some((root, message))
        }
        _ => None,
    }
}

/// Each request at a process has a connection of its own, so more than clients are never given to one.
fn complaint_of_backends(config: &Config, limit: u64) -> Option<(KeyPath, String)> {
    let connections = Budget::new(limit, config.needs(), config.connections_max).connections;
    let in_flight = config.limits.in_flight;
    if in_flight <= connections.max(Limits::default().in_flight) {
        return None;
    }
    let message = format!("there can be {connections} connections of clients, so that no process is given more");
    Some((KeyPath::root().key("backends").key("in_flight"), message))
}
