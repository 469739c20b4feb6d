//! What fits together and what does not: pure checks on the configuration and Synapse's facts.
//!
//! Each check is one function with its reason. Whether files can be read is `files`' matter.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Config;
use super::homeserver::{Homeserver, MAIN, Process, Stream, is_main};
use super::key_path::KeyPath;
use super::listener::{Bind, Listener, Resource, overlap};
use super::nearest::hint;
use super::pools::{needs, unusable};
use super::problem::{Place, Places, Problems};
use super::settings::{Settings, SynapseSettings};
use crate::endpoint::Class;
use crate::supervise::settings::ProcessSettings;
use crate::upstream::{Address, PoolSettings};

/// What the checks need to tell where something stands.
pub(super) struct Sources<'load> {
    /// dendron.yaml, or what stands for it without one.
    pub(super) dendron: &'load dyn Places,
    /// homeserver.yaml, if there is one.
    pub(super) homeserver: Option<&'load dyn Places>,
    /// Whether every worker's file could be read: if not, one that seems to be missing may be among them.
    pub(super) workers_complete: bool,
}

/// Checks everything.
pub(super) fn check(config: &Config, settings: &Settings, sources: &Sources<'_>, problems: &mut Problems) {
    check_main(config, settings, sources, problems);
    check_classes(settings, sources.dendron, problems);
    check_backends(config, sources.dendron, problems);
    check_own_addresses(config, sources.dendron, problems);
    check_tls(config, sources.dendron, problems);
    let (Some(homeserver), Some(places)) = (&config.homeserver, sources.homeserver) else { return };
    check_synapse_addresses(config, homeserver, sources.dendron, problems);
    check_same_address(config, sources.dendron, problems);
    check_forwarded(config, homeserver, problems);
    check_writers(config, homeserver, sources, places, problems);
    check_writer_pools(config, homeserver, sources.dendron, problems);
    check_quarantine(homeserver, places, problems);
    check_media(config, homeserver, places, problems);
    check_federation(config, homeserver, problems);
    check_workers(homeserver, places, problems);
    check_instance_map(homeserver, sources.workers_complete, places, problems);
    check_replication(homeserver, problems);
    check_user_directory(homeserver, places, problems);
    check_daemonize(settings, homeserver, problems);
}

/// Everything that no other pool takes goes to `main`.
fn check_main(config: &Config, settings: &Settings, sources: &Sources<'_>, problems: &mut Problems) {
    if config.pool(MAIN).is_some() {
        return;
    }
    let place = sources.dendron.place(&KeyPath::root().key("pools").key(MAIN));
    let is_told = |key: &str| problems.are_at(&place.file, key);
    // What is written, but wrongly, is told already.
    if is_told("pools.main") || (is_told("pools") && settings.pools.is_empty()) {
        return;
    }
    match &config.homeserver {
        Some(homeserver) if problems.are_at(&homeserver.main.place.file, "listeners") => {}
        Some(homeserver) => {
            let why = unusable(&homeserver.main, Resource::Client);
            let message = format!("the main process cannot be reached: {why}; add one, or write pools.main out");
            problems.error(homeserver.main.place.clone(), message);
        }
        None if settings.synapse != SynapseSettings::default() => {}
        None => {
            let message = "missing: name Synapse's files (synapse.config), or the main process's address here";
            problems.error(place, message);
        }
    }
}

fn check_classes(settings: &Settings, places: &dyn Places, problems: &mut Problems) {
    for class in settings.timeouts.classes.keys() {
        if !Class::ALL.iter().any(|known| known.name() == class) {
            let place = places.place(&KeyPath::root().key("timeouts").key("classes").key(class));
            problems.error(place, format!("no class of this name; {}", hint(class, Class::ALL.map(Class::name))));
        }
    }
}

/// A process that is given nothing answers nothing. That nobody may wait is a choice.
fn check_backends(config: &Config, places: &dyn Places, problems: &mut Problems) {
    if config.limits.in_flight == 0 {
        problems.error(places.place(&KeyPath::root().key("backends").key("in_flight")), "expected at least 1");
    }
}

/// Two of dendron's listeners on one address: the second could not be opened.
fn check_own_addresses(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let own = own_addresses(config);
    for (number, (address, key)) in own.iter().enumerate() {
        for (other, other_key) in &own[..number] {
            if collide(address, other) {
                problems.error(places.place(key), format!("{address} is taken by {other_key} already ({other})"));
            }
        }
    }
}

pub(super) fn own_addresses(config: &Config) -> Vec<(Address, KeyPath)> {
    let listeners = KeyPath::root().key("listeners");
    let numbered = config.listeners.iter().enumerate();
    let mut own: Vec<_> =
        numbered.map(|(number, listener)| (listener.address.clone(), listeners.index(number).key("address"))).collect();
    own.push((config.admin.address.clone(), KeyPath::root().key("admin").key("address")));
    own
}

fn collide(left: &Address, right: &Address) -> bool {
    match (socket(left), socket(right)) {
        (Some(left), Some(right)) => left.port() == right.port() && overlap(left.ip(), right.ip()),
        _ => left == right,
    }
}

/// What one of dendron's own addresses binds; `None` for a unix socket.
pub(super) fn socket(own: &Address) -> Option<SocketAddr> {
    match own {
        Address::Tcp { host, port } => Some(SocketAddr::new(host.parse().ok()?, *port)),
        Address::Unix(_) => None,
    }
}

/// Certificates on a unix socket are a misunderstanding: nobody speaks TLS there.
fn check_tls(config: &Config, places: &dyn Places, problems: &mut Problems) {
    for (number, listener) in config.listeners.iter().enumerate() {
        if matches!(listener.address, Address::Unix(_)) && !listener.certificates.is_empty() {
            let key = KeyPath::root().key("listeners").index(number).key("tls");
            problems.error(places.place(&key), "TLS is not spoken on a unix socket");
        }
    }
}

/// Dendron on a port of Synapse's. It is an error where Synapse is on this machine for sure, because requests are sent
/// to that process at a loopback address or a socket; elsewhere Synapse's ports are another machine's.
fn check_synapse_addresses(config: &Config, homeserver: &Homeserver, places: &dyn Places, problems: &mut Problems) {
    for (own, key) in own_addresses(config) {
        for process in homeserver.processes() {
            let taken = |listener: &&Listener| match (&own, &listener.bind) {
                (Address::Unix(own), Bind::Unix(path)) => own == path,
                _ => socket(&own).is_some_and(|own| listener.takes(own.ip(), own.port())),
            };
            let Some(listener) = process.listeners.iter().find(taken) else { continue };
            let message =
                format!("{own} is taken by Synapse's {} ({}, {})", process.name, listener.place, listener.place.key);
            if process.listeners.iter().any(|listener| is_backend(config, &listener.address())) {
                problems.error(places.place(&key), message);
            } else {
                problems.warning(places.place(&key), message);
            }
        }
    }
}

fn is_backend(config: &Config, address: &Address) -> bool {
    config.pools.iter().any(|pool| pool.backends.iter().any(|backend| backend.address == *address))
}

/// Two processes at one address: their files are of several machines or containers, whose addresses nobody can derive.
fn check_same_address(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let mut names: BTreeMap<&Address, &str> = BTreeMap::new();
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        let name = names.entry(&backend.address).or_insert(&backend.name);
        if *name != backend.name {
            let process = config.homeserver.as_ref().and_then(|homeserver| homeserver.process(&backend.name));
            let place = match process.and_then(|process| process.listener_at(&backend.address)) {
                Some(listener) => listener.place.clone(),
                None => places.place(&KeyPath::root().key("pools")),
            };
            let message = format!(
                "{} and {name} have one address, {}: if they are on different machines, write the pools out",
                backend.name, backend.address
            );
            problems.error(place, message);
        }
    }
}

/// Without `x_forwarded`, Synapse takes dendron's address for every client's: rate limits hit all users at once.
fn check_forwarded(config: &Config, homeserver: &Homeserver, problems: &mut Problems) {
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        if let Some(listener) = homeserver.listener_at(&backend.address).filter(|listener| !listener.x_forwarded) {
            let place = Place { key: format!("{}.x_forwarded", listener.place.key), ..listener.place.clone() };
            let message = format!(
                "dendron sends requests to {} here, which would take them all for dendron's own: add x_forwarded: true",
                backend.name
            );
            problems.error(place, message);
        }
    }
}

/// What must reach a stream's writer would fail, or would be passed on, anywhere else.
fn check_writers(
    config: &Config,
    homeserver: &Homeserver,
    sources: &Sources<'_>,
    places: &dyn Places,
    problems: &mut Problems,
) {
    for (stream, writers) in &homeserver.stream_writers {
        let key = KeyPath::root().key("stream_writers").key(stream.name());
        for writer in writers {
            let place = places.place(&key);
            if writer == MAIN {
                problems.error(place, "Synapse calls its main process master here, not main");
                continue;
            }
            if is_main(writer) {
                continue;
            }
            if !homeserver.instance_map.contains_key(writer) {
                let message = format!("{writer} is not in instance_map: Synapse does not start with this");
                problems.error(place.clone(), message);
            }
            let Some(pool) = stream.pool() else { continue };
            if reaches(config.pool(pool), homeserver, writer) {
                continue;
            }
            let why = match homeserver.process(writer) {
                Some(process) if process.listener(needs(pool)).is_some() => format!("pools.{pool} leaves it out"),
                Some(process) => format!("{} ({})", unusable(process, needs(pool)), process.place),
                None if !sources.workers_complete => continue,
                None => "no worker's file has this worker_name (synapse.workers)".to_owned(),
            };
            problems.error(place, format!("no pool reaches {writer}, which writes {}: {why}", stream.name()));
        }
    }
}

/// Whether `writer` is in its pool. A pool that is written out with addresses of unknown processes is believed.
fn reaches(pool: Option<&PoolSettings>, homeserver: &Homeserver, writer: &str) -> bool {
    let reached = |name: &str| name == writer || homeserver.process(name).is_none();
    pool.is_some_and(|pool| pool.backends.iter().any(|backend| reached(&backend.name)))
}

/// A process in the pool of a stream that it does not write. Some processes fail then, the others pass the request on
/// (Synapse's `rest/client/room.py` and `push_rule.py` raise; the rest has a replication call).
fn check_writer_pools(config: &Config, homeserver: &Homeserver, places: &dyn Places, problems: &mut Problems) {
    for stream in Stream::ALL {
        let Some(pool) = stream.pool().and_then(|name| config.pool(name)) else { continue };
        let writers = homeserver.writers(stream);
        let writes = |process: &Process| match process.name.as_str() {
            MAIN => writers.is_empty() || writers.iter().any(|writer| is_main(writer)),
            name => writers.iter().any(|writer| writer == name),
        };
        for backend in &pool.backends {
            let Some(process) = homeserver.process(&backend.name).filter(|process| !writes(process)) else { continue };
            let place = places.place(&KeyPath::root().key("pools").key(&pool.name));
            let message = format!("{} does not write {} (stream_writers)", process.name, stream.name());
            match stream {
                Stream::Typing | Stream::PushRules | Stream::ThreadSubscriptions | Stream::QuarantinedMediaChanges => {
                    problems.error(place, format!("{message}: requests would fail"));
                }
                _ => problems.warning(place, format!("{message}: it would pass every request on")),
            }
        }
    }
}

/// Quarantining goes to the writer of its stream, which must have the media part of the admin API
/// (Synapse's `docs/upgrade.md`, 1.152).
fn check_quarantine(homeserver: &Homeserver, places: &dyn Places, problems: &mut Problems) {
    let media_elsewhere =
        !homeserver.main.media_repository && homeserver.workers.iter().any(|worker| worker.serves_media());
    if media_elsewhere && homeserver.writers(Stream::QuarantinedMediaChanges).is_empty() {
        let key = KeyPath::root().key("stream_writers").key("quarantined_media_changes");
        let message = "missing: the main process writes this stream, but has no media repository: quarantining media \
                       fails; name the media worker";
        problems.warning(places.place(&key), message);
    }
}

/// Media is served only by processes that have the repository.
fn check_media(config: &Config, homeserver: &Homeserver, places: &dyn Places, problems: &mut Problems) {
    for name in ["media", "media_upload"] {
        for backend in config.pool(name).iter().flat_map(|pool| &pool.backends) {
            if let Some(process) = homeserver.process(&backend.name).filter(|process| !process.serves_media()) {
                let why = unusable(process, Resource::Media);
                problems.error(process.place.clone(), format!("{} is in the pool {name}, but {why}", process.name));
            }
        }
    }
    if config.pool("media").is_none() && !homeserver.main.media_repository {
        let message = "no process serves media: the main process has no media repository, and no worker has both \
                       enable_media_repo: true and the media resource";
        problems.warning(places.place(&KeyPath::root().key("enable_media_repo")), message);
    }
}

/// What goes to `main` for want of another pool needs the main process's federation resource at the same address.
fn check_federation(config: &Config, homeserver: &Homeserver, problems: &mut Problems) {
    let Some(listener) = homeserver.main.listener(Resource::Client) else { return };
    let derived =
        config.pool(MAIN).is_some_and(|pool| pool.backends.iter().any(|backend| backend.address == listener.address()));
    if !derived || listener.serves(Resource::Federation) {
        return;
    }
    let place = Place { key: format!("{}.resources", listener.place.key), ..listener.place.clone() };
    if config.pool("federation").is_none() {
        problems.warning(place, "no process serves the federation resource: other servers cannot reach this one");
    } else {
        let message = "requests that no worker takes come here: add federation, so that the server's keys are served";
        problems.warning(place, message);
    }
}

/// Two workers of one name are one to Synapse, and their logs and metrics cannot be told apart.
fn check_workers(homeserver: &Homeserver, places: &dyn Places, problems: &mut Problems) {
    let mut known: BTreeMap<&str, &Process> = BTreeMap::new();
    for worker in &homeserver.workers {
        if let Some(first) = known.insert(&worker.name, worker) {
            let message = format!("{} is the name of another worker already ({})", worker.name, first.place);
            problems.error(worker.place.clone(), message);
        }
    }
    if !homeserver.workers.is_empty() && homeserver.redis.is_none() {
        problems
            .warning(places.place(&KeyPath::root().key("redis").key("enabled")), "workers need Redis: expected true");
    }
}

/// The workers find each other, and the main process, by `instance_map`.
fn check_instance_map(homeserver: &Homeserver, complete: bool, places: &dyn Places, problems: &mut Problems) {
    let key = KeyPath::root().key("instance_map");
    let instances = &homeserver.instance_map;
    if !homeserver.workers.is_empty() && !instances.keys().any(|name| is_main(name)) {
        problems.error(places.place(&key.key(MAIN)), "missing: Synapse's workers do not start without it");
    }
    for name in instances.keys().filter(|name| complete && !is_main(name)) {
        if homeserver.process(name).is_none() {
            problems.warning(places.place(&key.key(name)), "no worker's file has this worker_name (synapse.workers)");
        }
    }
    for worker in &homeserver.workers {
        let replicates = worker.listeners.iter().any(|listener| listener.resources.contains(&Resource::Replication));
        if replicates && !instances.contains_key(&worker.name) {
            let message =
                format!("{} has a replication listener, but is not in instance_map: nobody will use it", worker.name);
            problems.warning(worker.place.clone(), message);
        }
    }
}

/// Whoever reaches a replication listener can act as a process of Synapse's.
fn check_replication(homeserver: &Homeserver, problems: &mut Problems) {
    for listener in homeserver.processes().flat_map(|process| &process.listeners) {
        if listener.resources.contains(&Resource::Replication) && listener.is_exposed() {
            let secret = match homeserver.replication_secret {
                Some(_) => "",
                None => ", and worker_replication_secret is not set",
            };
            let message =
                format!("replication is open to other machines{secret}: expected bind_addresses of this machine");
            problems.warning(listener.place.clone(), message);
        }
    }
}

fn check_user_directory(homeserver: &Homeserver, places: &dyn Places, problems: &mut Problems) {
    let Some(name) = homeserver.user_directory_worker.as_deref().filter(|name| !is_main(name)) else { return };
    if homeserver.process(name).is_none() {
        let key = KeyPath::root().key("update_user_directory_from_worker");
        problems.warning(places.place(&key), format!("no worker's file has the worker_name {name} (synapse.workers)"));
    }
}

/// A process that goes into the background seems to end, and would be started again and again beside itself. It is the
/// main process's `daemonize`, and the workers' `worker_daemonize` (Synapse's `config/server.py`, `config/workers.py`).
/// What a command of the administrator's own does is not known here.
fn check_daemonize(settings: &Settings, homeserver: &Homeserver, problems: &mut Problems) {
    let Some(supervise) = &settings.supervise else { return };
    let by_name = |process: &&Process| match &supervise.processes {
        Some(entries) => entries.iter().any(|entry| match entry {
            ProcessSettings::Name(name) => *name == process.name || (is_main(name) && process.name == MAIN),
            ProcessSettings::Command(_) => false,
        }),
        None => true,
    };
    for place in homeserver.processes().filter(by_name).filter_map(|process| process.daemonize.clone()) {
        let message = "a process that dendron supervises must stay in the foreground: set it to false";
        problems.error(place, message);
    }
}
