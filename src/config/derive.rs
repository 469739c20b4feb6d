//! Synapse's processes → pools. Pure: facts in, pools out.
//!
//! Correctness comes first: a process is in a pool only if it serves what the pool needs, and what a stream's writer
//! must get goes to its writers and nowhere else. Then the names of workers spread the load (see [`super::role`]).
//! `main` always exists; a pool that nobody is for is not made, and its classes fall back.

use std::collections::BTreeMap;

use super::authentication;
use super::homeserver::{Homeserver, Process, Stream};
use super::listener::Resource;
use super::pools::{backend, in_order};
use super::role::{Role, role};
use crate::route::rules::AUTHENTICATION;
use crate::upstream::{BackendSettings, PoolSettings};

/// The pools of this homeserver, in the order of the table of rules.
pub fn derive(homeserver: &Homeserver) -> Vec<PoolSettings> {
    let mut pools = Pools::default();
    pools.add("main", &homeserver.main);
    for worker in &homeserver.workers {
        pools.add_by_name(worker, writes(homeserver, worker));
    }
    // The media pool is whoever serves media, whatever its name: nobody else can.
    if pools.is_empty("media") {
        homeserver.workers.iter().for_each(|worker| pools.add("media", worker));
    }
    for worker in &homeserver.workers {
        pools.add_spare(worker);
    }
    pools.set_writers(homeserver);
    if let Some(worker) = homeserver.user_directory_worker.as_deref().and_then(|name| homeserver.process(name)) {
        pools.replace("user_directory", [worker]);
    }
    // With two listeners at the main process, federation has to go to its own.
    let main = homeserver.main.listener(Resource::Client);
    if pools.is_empty("federation") && main.is_some_and(|listener| !listener.serves(Resource::Federation)) {
        pools.add("federation", &homeserver.main);
    }
    if let Some(service) = homeserver.delegated_auth.as_ref().and_then(authentication::backend) {
        pools.backends.insert(AUTHENTICATION, vec![service]);
    }
    pools.finish()
}

/// Whether `process` writes any stream.
fn writes(homeserver: &Homeserver, process: &Process) -> bool {
    homeserver.stream_writers.values().flatten().any(|writer| *writer == process.name)
}

#[derive(Default)]
struct Pools {
    backends: BTreeMap<&'static str, Vec<BackendSettings>>,
}

impl Pools {
    /// Adds a process to a pool, unless it does not serve what the pool needs.
    fn add(&mut self, pool: &'static str, process: &Process) {
        if let Some(backend) = backend(process, pool) {
            let backends = self.backends.entry(pool).or_default();
            if !backends.contains(&backend) {
                backends.push(backend);
            }
        }
    }

    fn is_empty(&self, pool: &str) -> bool {
        self.backends.get(pool).is_none_or(Vec::is_empty)
    }

    fn replace<'process>(&mut self, pool: &'static str, processes: impl IntoIterator<Item = &'process Process>) {
        self.backends.remove(pool);
        processes.into_iter().for_each(|process| self.add(pool, process));
    }

    fn add_by_name(&mut self, worker: &Process, writes: bool) {
        match role(&worker.name) {
            Role::Pools { own, .. } => own.iter().for_each(|pool| self.add(pool, worker)),
            Role::Writer if writes => {}
            Role::Background => {}
            Role::Generic | Role::Writer => {
                self.add("generic", worker);
                self.add("federation", worker);
            }
        }
    }

    /// Lets a worker with a role fill the pools near its own that would be empty otherwise.
    fn add_spare(&mut self, worker: &Process) {
        let Role::Pools { own, spare } = role(&worker.name) else { return };
        for pool in spare {
            let broader = if pool.starts_with("federation") { "federation" } else { "generic" };
            let taken_by_others = |backends: &Vec<BackendSettings>| {
                backends.iter().any(|backend| !own.iter().any(|own| self.has(own, &backend.name)))
            };
            if self.is_empty(broader) && !self.backends.get(pool).is_some_and(taken_by_others) {
                self.add(pool, worker);
            }
        }
    }

    fn has(&self, pool: &str, process: &str) -> bool {
        self.backends.get(pool).is_some_and(|backends| backends.iter().any(|backend| backend.name == process))
    }

    fn set_writers(&mut self, homeserver: &Homeserver) {
        for stream in Stream::ALL {
            let Some(pool) = stream.pool() else { continue };
            let writers = homeserver.writers(stream);
            if !writers.is_empty() {
                self.replace(pool, writers.iter().filter_map(|writer| homeserver.process(writer)));
            }
        }
    }

    fn finish(self) -> Vec<PoolSettings> {
        in_order(self.backends.into_iter().map(|(name, backends)| (name.to_owned(), backends)).collect())
    }
}
