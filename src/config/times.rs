//! Whether the configured times can keep what dendron promises: that nobody is cut off who still has something to say,
//! neither by dendron nor by a hop below or beside it whose times are known.
//!
//! Each check is one function with its reason, as in `check`. When systemd ends the unit is `unit`'s to find out.

use std::time::Duration;

use super::Config;
use super::key_path::KeyPath;
use super::problem::{Places, Problems};
use super::unit;
use crate::duration::text;
use crate::endpoint::Class;
use crate::listener::ClientTimes;
use crate::route::Patience;
use crate::route::rules::RULES;

/// When Twisted closes an idle connection (`HTTPChannel.timeOut` in its `web/http.py`, which Synapse leaves as it is).
const TWISTED_IDLE: Duration = Duration::from_secs(60);
/// How long the usual proxies keep idle connections: nginx 60 s (`keepalive_timeout` of an upstream), Traefik 90 s
/// (`idleConnTimeout`).
const PROXY_IDLE: Duration = Duration::from_secs(90);
/// What a poll needs beyond the client's own timeout: Synapse begins to put its answer together when that is over.
const POLL_MARGIN: Duration = Duration::from_secs(30);
/// How long Synapse may be silent because it waits for another server: for its answer (`client_timeout` in
/// `config/federation.py`), or for media that a client has given so long (`MAXIMUM_ALLOWED_MAX_TIMEOUT_MS` in
/// `media/_base.py`).
const OTHER_SERVER: Duration = Duration::from_secs(60);
/// A class that is given as much as this by default is one that takes minutes on a busy server.
const SLOW: Duration = Duration::from_secs(600);
/// The least that such a class should be given.
const SLOW_LEAST: Duration = Duration::from_secs(120);
/// The classes whose requests wait for other servers.
const WAIT_FOR_SERVERS: [Class; 7] = [
    Class::Media,
    Class::RoomRead,
    Class::RoomMessages,
    Class::Encryption,
    Class::Profile,
    Class::FederationTransaction,
    Class::FederationKeys,
];
/// What stopping takes besides the grace and the processes: a second for Pingora's own end, and one to spare.
const STOP_REST: Duration = Duration::from_secs(2);

/// Checks every time.
pub(super) fn check(config: &Config, places: &dyn Places, problems: &mut Problems) {
    check_least(config, places, problems);
    check_idle(config, places, problems);
    check_classes(config, places, problems);
    check_pauses(config, places, problems);
    if let Some(allowed) = unit::stop_timeout() {
        check_stop(config, allowed, places, problems);
    }
}

fn timeouts(name: &str) -> KeyPath {
    KeyPath::root().key("timeouts").key(name)
}

/// Times that nobody can mean: every request would fail.
fn check_least(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let ClientTimes { head, idle, silence } = config.client_times;
    let client = [("head", head), ("idle", idle), ("silence", silence)];
    let client = client.map(|(name, time)| (timeouts("client").key(name), time, ClientTimes::MIN));
    let connect = (timeouts("connect"), config.connection_times.connect, Duration::from_millis(1));
    let classes = config.patience.iter();
    let classes = classes.map(|(class, patience)| (timeouts("classes").key(class.name()), *patience, ClientTimes::MIN));
    for (key, time, least) in client.into_iter().chain([connect]).chain(classes) {
        if time < least {
            problems
                .error(places.place(&key), format!("expected at least {}, or requests are cut at once", text(least)));
        }
    }
}

/// Whoever closes an idle connection should be the one who would use it next. On the way to Synapse that is dendron; on
/// the way to dendron, a proxy in front.
fn check_idle(config: &Config, places: &dyn Places, problems: &mut Problems) {
    if config.connection_times.idle >= TWISTED_IDLE {
        let message = format!(
            "expected less than {}: Synapse closes idle connections then, and requests would meet closed ones",
            text(TWISTED_IDLE)
        );
        problems.warning(places.place(&timeouts("idle")), message);
    }
    if !config.trusted_proxies.is_empty() && config.client_times.idle < PROXY_IDLE {
        let message = format!(
            "a proxy in front (trusted_proxies) may keep idle connections for longer, and its requests would meet \
             closed ones: expected at least {}",
            text(PROXY_IDLE)
        );
        problems.warning(places.place(&timeouts("client").key("idle")), message);
    }
}

/// Classes that are given less than Synapse needs for what is no fault.
fn check_classes(config: &Config, places: &dyn Places, problems: &mut Problems) {
    for (class, patience) in config.patience.iter().filter(|(_, patience)| **patience >= ClientTimes::MIN) {
        let default = RULES[class.index()].patience;
        let is_slow = matches!(default, Patience::Silence(default) if default >= SLOW);
        let (least, why) = if class.is_poll() {
            (POLL_MARGIN, "this is added to the client's own timeout, at whose end Synapse only begins to answer")
        } else if is_slow {
            (SLOW_LEAST, "such a request can take minutes, and a client that is cut off begins anew")
        } else if WAIT_FOR_SERVERS.contains(class) {
            (OTHER_SERVER, "Synapse itself may wait for another server for that long")
        } else {
            continue;
        };
        if *patience < least {
            let message = format!("expected at least {}: {why}", text(least));
            problems.warning(places.place(&timeouts("classes").key(class.name())), message);
        }
    }
}

/// While a body comes, Synapse is silent for as long as the client is: the shorter of the two times ends it, and if that
/// is Synapse's, Synapse is blamed.
fn check_pauses(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let class = Class::MediaUpload;
    let silence = config.client_times.silence;
    let patience = config.patience.get(&class).copied();
    let patience = patience.unwrap_or_else(|| RULES[class.index()].patience.for_poll(None));
    if silence > patience {
        let message = format!(
            "an upload that pauses for longer than timeouts.classes.{} ({}) is cut all the same: raise that, too",
            class.name(),
            text(patience)
        );
        problems.warning(places.place(&timeouts("client").key("silence")), message);
    }
}

/// Who is killed by systemd before its time kills what it had promised to let end, and leaves processes of Synapse's no
/// time to write down what they know.
fn check_stop(config: &Config, allowed: Duration, places: &dyn Places, problems: &mut Problems) {
    let processes = config.supervise.as_ref().map_or(Duration::ZERO, |plan| 2 * plan.stop_timeout);
    let needed = config.shutdown_grace + processes + STOP_REST;
    if needed > allowed {
        let message = format!(
            "stopping can take {} (shutdown.grace{}), and systemd kills the unit after {} (TimeoutStopSec=)",
            text(needed),
            if config.supervise.is_some() { ", and supervise.stop_timeout twice" } else { "" },
            text(allowed)
        );
        problems.warning(places.place(&KeyPath::root().key("shutdown").key("grace")), message);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::document::Document;
    use super::super::problem::Severity;
    use super::super::tests::load_files;
    use super::*;

    #[test]
    fn a_client_that_pauses_is_not_blamed_on_synapse_by_default() {
        let patience = RULES[Class::MediaUpload.index()].patience.for_poll(None);
        assert!(ClientTimes::default().silence < patience, "{patience:?}");
    }

    #[test]
    fn a_unit_that_is_killed_too_early_is_told() {
        let supervised = "supervise: {python: python3, processes: [{name: main, command: [/bin/true]}]}\n";
        let table = [
            ("", 12, ""),
            ("", 11, "stopping can take 12s (shutdown.grace), and systemd kills the unit after 11s (TimeoutStopSec=)"),
            (
                "shutdown: {grace: 2m}\n",
                90,
                "stopping can take 122s (shutdown.grace), and systemd kills the unit after 90s (TimeoutStopSec=)",
            ),
            (supervised, 32, ""),
            (
                supervised,
                31,
                "stopping can take 32s (shutdown.grace, and supervise.stop_timeout twice), and systemd kills the unit \
                 after 31s (TimeoutStopSec=)",
            ),
        ];
        for (settings, allowed, expected) in table {
            let text = format!("pools: {{main: ['127.0.0.1:8008']}}\n{settings}");
            let (config, _) = load_files(&[("dendron.yaml", &text)]).expect("a good configuration");
            let mut problems = Problems::default();
            let document = Document::parse(Path::new("f"), &text, Severity::Error, &mut problems).expect("YAML");
            check_stop(&config, Duration::from_secs(allowed), &document, &mut problems);
            let said = problems.to_string();
            let said = said.trim_end().rsplit_once("shutdown.grace: ").map_or("", |(_, message)| message);
            assert_eq!(said, expected, "{settings} {allowed}");
        }
    }
}
