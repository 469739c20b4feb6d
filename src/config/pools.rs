//! The pools: what each needs, and what dendron.yaml puts in the place of what was derived. Which there can be is said
//! by the table of rules ([`crate::route::rules`]).

use std::collections::{BTreeMap, BTreeSet};

use super::authentication::is_synapses;
use super::homeserver::{Homeserver, Process, is_main};
use super::key_path::KeyPath;
use super::listener::{Listener, Resource};
use super::nearest::hint;
use super::problem::{Places, Problems};
use crate::endpoint::Class;
use crate::route::rules::{AUTHENTICATION, MAIN, RULES, Rule, pool_names};
use crate::upstream::{Address, AddressError, BackendSettings, PoolSettings};

/// The most backends of one pool.
const BACKENDS_MAX: usize = 1_000;

/// What a process must serve to be in `pool`.
pub(super) fn needs(pool: &str) -> Resource {
    match pool {
        "quarantine" => Resource::Media,
        pool if pool.starts_with("media") => Resource::Media,
        pool if pool.starts_with("federation") => Resource::Federation,
        _ => Resource::Client,
    }
}

/// The classes that the processes of the main pool have no listener for, so that they cannot stand in for others. An
/// address that is in none of Synapse's files is believed to serve everything.
pub(super) fn main_lacks(pools: &[PoolSettings], homeserver: Option<&Homeserver>) -> BTreeSet<Class> {
    let Some(homeserver) = homeserver else { return BTreeSet::new() };
    let main = pools.iter().filter(|pool| pool.name == MAIN).flat_map(|pool| &pool.backends);
    let listeners: Vec<_> = main.filter_map(|backend| homeserver.listener_at(&backend.address)).collect();
    let lacks = |rule: &&Rule| {
        let resource = needs(rule.pools[0]);
        // The server's and others' keys are a resource of their own, which federation includes (`app/homeserver.py`).
        let is_enough = |other| rule.class == Class::FederationKeys && other == Resource::Keys;
        let serves = |listener: &&&Listener| {
            let mut resources = listener.resources.iter();
            resources.any(|own| *own == resource || is_enough(*own))
        };
        listeners.iter().any(|listener| !serves(&listener))
    };
    RULES.iter().filter(|rule| rule.fallback).filter(lacks).map(|rule| rule.class).collect()
}

/// `process` as a backend of `pool`; `None` if it does not serve what the pool needs.
pub(super) fn backend(process: &Process, pool: &str) -> Option<BackendSettings> {
    let listener = process.listener(needs(pool))?;
    Some(BackendSettings { name: process.name.clone(), address: listener.address() })
}

/// The derived pools with those of dendron.yaml's `pools` in their place. An empty list takes a pool away.
pub(super) fn override_pools(
    derived: Vec<PoolSettings>,
    written: &BTreeMap<String, Vec<String>>,
    homeserver: Option<&Homeserver>,
    places: &dyn Places,
    problems: &mut Problems,
) -> Vec<PoolSettings> {
    let mut pools: BTreeMap<String, Vec<BackendSettings>> =
        derived.into_iter().map(|pool| (pool.name, pool.backends)).collect();
    let names = pool_names();
    for (name, entries) in written {
        let key = KeyPath::root().key("pools").key(name);
        if !names.contains(&name.as_str()) {
            problems.error(places.place(&key), format!("no pool of this name; {}", hint(name, names.iter().copied())));
            continue;
        }
        if entries.is_empty() && name == MAIN {
            problems.error(places.place(&key), "expected at least one address: main cannot be taken away");
            continue;
        }
        if entries.len() > BACKENDS_MAX {
            problems.error(places.place(&key), format!("expected at most {BACKENDS_MAX} processes"));
            continue;
        }
        let mut backends: Vec<BackendSettings> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            match resolve(entry, name, homeserver) {
                Ok(backend) if backends.iter().any(|other| other.address == backend.address) => {
                    problems.error(places.place(&key.index(number)), "in this pool already");
                }
                Ok(backend) => backends.push(backend),
                Err(message) => problems.error(places.place(&key.index(number)), message),
            }
        }
        pools.insert(name.clone(), backends);
    }
    in_order(pools)
}

/// The pools that have any process, in the order of [`pool_names`].
pub(super) fn in_order(mut pools: BTreeMap<String, Vec<BackendSettings>>) -> Vec<PoolSettings> {
    let pool = |name: &str| {
        let (name, backends) = pools.remove_entry(name).filter(|(_, backends)| !backends.is_empty())?;
        Some(PoolSettings { name, backends })
    };
    pool_names().into_iter().filter_map(pool).collect()
}

/// What an entry of a pool means: an address, or a process's name.
fn resolve(entry: &str, pool: &str, homeserver: Option<&Homeserver>) -> Result<BackendSettings, String> {
    if entry.contains([':', '/']) {
        let address: Address = entry.parse().map_err(|error: AddressError| error.to_string())?;
        if pool == AUTHENTICATION && is_synapses(&address, homeserver) {
            return Err(format!("{address} is Synapse's, not the Matrix Authentication Service's"));
        }
        let process = homeserver.and_then(|homeserver| homeserver.at(&address));
        let name = process.map_or_else(|| address.to_string(), |process| process.name.clone());
        return Ok(BackendSettings { name, address });
    }
    if pool == AUTHENTICATION {
        return Err(format!("expected http://HOST:PORT or unix:/PATH, found {entry}: no process of Synapse's"));
    }
    let Some(homeserver) = homeserver else {
        return Err(format!(
            "expected http://HOST:PORT or unix:/PATH, found {entry}: a name needs Synapse's files (synapse.config)"
        ));
    };
    let Some(process) = homeserver.process(entry) else {
        let known = homeserver.processes().map(|process| process.name.as_str());
        return Err(format!("no process of Synapse's is called {entry}; {}", hint(entry, known.collect::<Vec<_>>())));
    };
    backend(process, pool).ok_or_else(|| format!("{entry} cannot be in this pool: {}", unusable(process, needs(pool))))
}

/// Why `process` does not serve `resource` to dendron.
pub(super) fn unusable(process: &Process, resource: Resource) -> String {
    let name = match resource {
        Resource::Federation => "federation",
        Resource::Media => "media",
        _ => "client",
    };
    if resource == Resource::Media && !process.media_repository {
        return "its media repository is off (enable_media_repo)".to_owned();
    }
    if process.listeners.iter().any(|listener| listener.tls && listener.resources.contains(&resource)) {
        return format!("its listener with the {name} resource has tls: true, which dendron does not speak to Synapse");
    }
    let which = if is_main(&process.name) { "listeners" } else { "worker_listeners" };
    format!("it has no http listener with the {name} resource ({which})")
}
