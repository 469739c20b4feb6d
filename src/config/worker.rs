//! A worker's file → [`Process`].
//!
//! A worker is started with homeserver.yaml and its own file on top, so that a key that it does not have is the
//! homeserver's. Source: `WorkerConfig` in Synapse's `config/workers.py`.

use serde::Deserialize;
use serde_yaml::Value;

use super::document::Document;
use super::homeserver::{Homeserver, Process, is_main};
use super::homeserver_file::true_at;
use super::key_path::KeyPath;
use super::listener::listeners;
use super::problem::{Place, Places, Problems};
use super::read::read;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    worker_app: Option<String>,
    worker_name: Option<String>,
    enable_media_repo: Option<bool>,
}

/// The worker that `document` describes. `named` says whether the file was named itself, rather than found in a folder
/// where other files may stand, too: those are passed over.
pub(super) fn worker(
    document: &Document,
    homeserver: &Homeserver,
    named: bool,
    problems: &mut Problems,
) -> Option<Process> {
    let key = |name: &str| KeyPath::root().key(name);
    if !matches!(document.value, Value::Mapping(_)) || document.value.get("worker_app").is_none() {
        if named {
            let place = Place { line: None, ..document.place(&key("worker_app")) };
            problems.error(place, "missing: this is no worker's file");
        }
        return None;
    }
    let raw: Raw = read(&document.value, document, problems)?;
    let app = raw.worker_app?;
    let app_place = document.place(&key("worker_app"));
    if app == "synapse.app.homeserver" {
        problems
            .warning(app_place, "the main process, not a worker: name this file under synapse.config if it is used");
        return None;
    }
    if !app.starts_with("synapse.app.") {
        problems.error(app_place, "expected synapse.app.generic_worker");
        return None;
    }
    let name = raw.worker_name.unwrap_or_else(|| app.clone());
    if is_main(&name) {
        problems.error(document.place(&key("worker_name")), "this name means the main process: expected another");
        return None;
    }
    let inherited = homeserver.main.media_repository;
    Some(Process {
        media_repository: raw.enable_media_repo.unwrap_or(inherited) || app == "synapse.app.media_repository",
        daemonize: match document.value.get("worker_daemonize") {
            Some(_) => true_at(&document.value, "worker_daemonize", document),
            None => homeserver.workers_daemonize.clone(),
        },
        place: document.place(&key("worker_name")),
        file: Some(document.path.clone()),
        listeners: listeners(&document.value, "worker_listeners", document, problems),
        app,
        name,
    })
}
