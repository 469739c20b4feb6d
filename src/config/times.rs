//! Whether the configured times can keep what dendron promises: that nobody is cut off who still has something to say.
//!
//! Each check is one function with its reason, as in `check`.

use std::time::Duration;

use super::Config;
use super::key_path::KeyPath;
use super::problem::{Places, Problems};
use crate::listener::ClientTimes;

/// Checks every time.
pub(super) fn check(config: &Config, places: &dyn Places, problems: &mut Problems) {
    check_least(config, places, problems);
}

/// Times that nobody can mean: every request would fail.
fn check_least(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let timeouts = KeyPath::root().key("timeouts");
    let ClientTimes { head, idle, silence } = config.client_times;
    let client = [("head", head), ("idle", idle), ("silence", silence)];
    let client = client.map(|(name, time)| (timeouts.key("client").key(name), time, ClientTimes::MIN));
    let connect = (timeouts.key("connect"), config.connection_times.connect, Duration::from_millis(1));
    let classes = config.patience.iter();
    let classes =
        classes.map(|(class, patience)| (timeouts.key("classes").key(class.name()), *patience, ClientTimes::MIN));
    for (key, time, least) in client.into_iter().chain([connect]).chain(classes) {
        if time < least {
            let least = crate::duration::text(least);
            problems.error(places.place(&key), format!("expected at least {least}, or requests are cut at once"));
        }
    }
}
