//! Reads the files and puts everything together: the only part of the configuration that walks folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::{self, Sources};
use super::document::Document;
use super::homeserver::Homeserver;
use super::homeserver_file::homeserver;
use super::key_path::KeyPath;
use super::problem::{Place, Places, Problems, Severity};
use super::settings::Settings;
use super::synapse_file::{self, Merged};
use super::worker::worker;
use super::{Config, Source, authentication, derive, descriptors, files, login, pools, read, supervise, sync, times};
use crate::endpoint::Class;
use crate::listener::{Listener, ListenerSettings};
use crate::observe::access_log::Target;
use crate::supervise::settings::ProcessSettings;
use crate::upstream::ConnectionTimes;

/// Reads and checks the whole configuration.
///
/// # Errors
/// Everything that is wrong, warnings among it, if anything keeps dendron from starting. Warnings alone come with the
/// configuration.
pub fn load(source: &Source) -> Result<(Config, Problems), Problems> {
    let mut problems = Problems::default();
    let config = match source {
        Source::File(path) => load_file(path, &mut problems),
        Source::Synapse(path) => Some(load_synapse(path, &mut problems)),
    };
    problems.sort();
    match config {
        Some(config) if !problems.has_errors() => Ok((config, problems)),
        _ => Err(problems),
    }
}

/// Stands for dendron.yaml where there is none.
struct Defaults;

impl Places for Defaults {
    fn place(&self, key: &KeyPath) -> Place {
        Place { file: PathBuf::from("dendron's defaults"), line: None, key: key.to_string() }
    }
}

/// What stands where dendron's settings are, and whether Synapse's files were named there.
struct Origin<'load> {
    places: &'load dyn Places,
    /// Where a file of Synapse's that cannot be opened is told, by the list's name and the entry's number.
    named: &'load dyn Fn(&str, usize) -> Place,
}

fn load_file(path: &Path, problems: &mut Problems) -> Option<Config> {
    let document = synapse_file::read(path, Severity::Error, Place::file(path), problems)?;
    let mut settings = match &document.value {
        serde_yaml::Value::Null => Settings::default(),
        value => read::read(value, &document, problems)?,
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.to_owned());
    make_absolute(&mut settings, &folder);
    let named = |list: &str, number| document.place(&KeyPath::root().key("synapse").key(list).index(number));
    Some(assemble(settings, &Origin { places: &document, named: &named }, problems))
}

fn load_synapse(path: &Path, problems: &mut Problems) -> Config {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut settings = Settings::default();
    settings.synapse.config.push(path.clone());
    let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
    if let Some(folder) = folder {
        let more = folder.join("conf.d");
        if more.is_dir() {
            settings.synapse.config.push(more);
        }
        let workers = folder.join("workers");
        if workers.is_dir() {
            settings.synapse.workers.push(workers);
        }
    }
    let named = |_: &str, _| Place::file(&path);
    assemble(settings, &Origin { places: &Defaults, named: &named }, problems)
}

/// Relative paths are relative to the file that names them.
fn make_absolute(settings: &mut Settings, folder: &Path) {
    let join = |path: &mut PathBuf| *path = folder.join(&*path);
    settings.synapse.config.iter_mut().for_each(join);
    settings.synapse.workers.iter_mut().for_each(join);
    for certificate in settings.listeners.0.iter_mut().flat_map(|listener| &mut listener.tls.0) {
        join(&mut certificate.certificate);
        join(&mut certificate.key);
    }
    settings.login.database_role.iter_mut().filter_map(|role| role.password_path.as_mut()).for_each(join);
    if let Target::File(path) = &mut settings.log.access {
        join(path);
    }
    if let Some(supervise) = &mut settings.supervise {
        supervise.working_directory.iter_mut().for_each(join);
        supervise.runtime_directory.iter_mut().for_each(join);
        for entry in supervise.processes.iter_mut().flatten() {
            if let ProcessSettings::Command(entry) = entry {
                entry.working_directory.iter_mut().for_each(join);
            }
        }
        // A name alone is looked up in PATH.
        supervise.python.iter_mut().filter(|python| python.components().count() > 1).for_each(join);
    }
}

fn assemble(settings: Settings, origin: &Origin<'_>, problems: &mut Problems) -> Config {
    let synapse = load_synapse_files(&settings, origin, problems);
    let workers_complete = synapse.as_ref().is_some_and(|synapse| synapse.workers_complete);
    let (homeserver, merged) = synapse.map(|synapse| (synapse.homeserver, synapse.merged)).unzip();
    let derived = homeserver.as_ref().map(derive).unwrap_or_default();
    let pools = pools::override_pools(derived, &settings.pools, homeserver.as_ref(), origin.places, problems);
    let supervise =
        settings.supervise.as_ref().map(|entry| supervise::plan(entry, homeserver.as_ref(), origin.places, problems));
    let main_lacks = pools::main_lacks(&pools, homeserver.as_ref());
    let mut config = Config {
        listeners: settings.listeners.0.iter().map(Listener::from).collect(),
        admin: Listener::from(&ListenerSettings::at(settings.admin.address.clone())),
        connections_max: settings.connections.max.and_then(|max| usize::try_from(max.get()).ok()),
        connection_requests: settings.connections.requests,
        front: settings.front.0,
        pools,
        main_lacks,
        limits: settings.backends,
        connection_times: ConnectionTimes {
            connect: settings.timeouts.connect,
            idle: settings.timeouts.idle,
            ..ConnectionTimes::default()
        },
        client_times: settings.timeouts.client,
        patience: patience(&settings.timeouts.classes),
        trusted_proxies: settings.trusted_proxies.iter().map(|network| network.0).collect(),
        answers: settings.answers.clone(),
        log: settings.log.clone(),
        login: settings.login.clone(),
        sync: settings.sync.clone(),
        threads: settings.threads.map(|threads| threads.0),
        shutdown_grace: settings.shutdown.grace,
        supervise,
        homeserver,
    };
    let mut settings = settings;
    let listeners = origin.places.place(&KeyPath::root().key("listeners"));
    if problems.are_at(&listeners.file, "listeners") {
        // A listener that could not be read is left out, which would give the later ones wrong numbers.
        config.listeners.clear();
        settings.listeners.0.clear();
    } else if settings.listeners.0.is_empty() {
        problems.error(listeners, "expected at least one listener");
    }
    let homeserver_places = merged.as_ref().map(|merged: &Merged| merged as &dyn Places);
    let sources = Sources { dendron: origin.places, homeserver: homeserver_places, workers_complete };
    check::check(&config, &settings, &sources, problems);
    authentication::check(&config, &settings, origin.places, homeserver_places, problems);
    login::check(&config, origin.places, problems);
    sync::check(&config, origin.places, problems);
    times::check(&config, origin.places, problems);
    files::check(&settings, origin.places, problems);
    descriptors::check(&config, origin.places, problems);
    config
}

/// The times of the classes that there are; names of others are `check`'s to tell.
fn patience(written: &BTreeMap<String, Duration>) -> BTreeMap<Class, Duration> {
    let class = |name: &String| Class::ALL.into_iter().find(|class| class.name() == name);
    written.iter().filter_map(|(name, patience)| Some((class(name)?, *patience))).collect()
}

/// What Synapse's files say.
struct Synapse {
    homeserver: Homeserver,
    merged: Merged,
    /// Whether every worker's file could be read.
    workers_complete: bool,
}

fn load_synapse_files(settings: &Settings, origin: &Origin<'_>, problems: &mut Problems) -> Option<Synapse> {
    let synapse = &settings.synapse;
    let errors_before = problems.error_count();
    let workers = documents("workers", &synapse.workers, origin, problems);
    let mut workers_complete = problems.error_count() == errors_before;
    if synapse.config.is_empty() && !synapse.workers.is_empty() {
        let place = origin.places.place(&KeyPath::root().key("synapse").key("config"));
        problems.error(place, "missing: the workers' files say nothing without homeserver.yaml");
    }
    let documents = documents("config", &synapse.config, origin, problems);
    if documents.is_empty() {
        return None;
    }
    let documents = documents.into_iter().map(|(document, _)| document).collect();
    let merged = Merged::new(documents, problems);
    let files: Vec<PathBuf> = merged.documents.iter().map(|document| document.path.clone()).collect();
    let working_directory =
        settings.supervise.as_ref().and_then(|settings| supervise::working_directory(settings, &files));
    let mut homeserver = homeserver(&merged, working_directory.as_deref(), problems)?;
    let errors_before = problems.error_count();
    for (document, named) in workers {
        let worker = worker(&document, &homeserver, named, problems);
        homeserver.workers.extend(worker);
    }
    workers_complete &= problems.error_count() == errors_before;
    Some(Synapse { homeserver, merged, workers_complete })
}

/// The files of one list of `synapse:`, each with whether it was named itself, not found in a folder.
fn documents(list: &str, paths: &[PathBuf], origin: &Origin<'_>, problems: &mut Problems) -> Vec<(Document, bool)> {
    let mut documents = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let named = (origin.named)(list, number);
        let files = match synapse_file::find(path) {
            Ok(files) if files.is_empty() => {
                problems.warning(named, format!("{} has no *.yaml", path.display()));
                continue;
            }
            Ok(files) => files,
            Err(message) => {
                problems.error(named, message);
                continue;
            }
        };
        for file in files {
            let itself = file == *path;
            let document = synapse_file::read(&file, Severity::Warning, named.clone(), problems);
            documents.extend(document.map(|document| (document, itself)));
        }
    }
    documents
}
