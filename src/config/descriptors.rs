//! Whether as many files may be open as the configuration needs.
//!
//! The limit is that of whoever runs the check. A service may have another one, so what is told here is never an error.

use rustix::process::{Resource, getrlimit};

use super::Config;
use super::key_path::KeyPath;
use super::problem::{Places, Problems};
use crate::listener::Budget;
use crate::listener::budget::COMFORTABLE_LIMIT;

/// Looks at the hard limit, to which dendron raises its own.
pub(super) fn check(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let Some(limit) = getrlimit(Resource::Nofile).maximum else { return };
    if let Some((key, message)) = complaint(config, limit) {
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
