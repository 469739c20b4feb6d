//! What `/ready` and `/status` say, as values.

use std::time::{Instant, SystemTime};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Admin;
use super::scrape::descriptors_limit;
use crate::answer::login::desk::DeskStatus;
use crate::quiet::desk::DeskStatus as QuietStatus;
use crate::route::ClassRoute;
use crate::route::rules::MAIN;
use crate::supervise::{ProcessState, ProcessStatus, Supervisor};
use crate::upstream::{Pool, Pools};

/// The state of everything, at one time.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Dendron's version.
    pub version: &'static str,
    /// When it started, in RFC 3339.
    pub started: String,
    /// For how long it has run.
    pub uptime_seconds: u64,
    /// The homeserver's name, if Synapse's configuration was read.
    pub server_name: Option<String>,
    /// Synapse's `Server` header, as the main process last sent it.
    pub synapse: Option<String>,
    /// The most file descriptors that may be open.
    pub descriptors_limit: i64,
    /// The most connections of clients that may be open.
    pub connections_limit: i64,
    /// The pools.
    pub pools: Vec<PoolStatus>,
    /// Where each class goes.
    pub classes: Vec<ClassStatus>,
    /// The processes that dendron started.
    pub supervised: Vec<SupervisedStatus>,
    /// What becomes of logins.
    pub logins: DeskStatus,
    /// What becomes of quiet syncs.
    pub syncs: QuietStatus,
    /// How following Synapse's replication stream is doing, in a word of [`State::NAMES`](crate::replication::State);
    /// `None` where there is no Redis to follow it by.
    pub replication: Option<&'static str>,
}

/// One pool.
#[derive(Debug, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its processes.
    pub processes: Vec<BackendStatus>,
}

/// One process of a pool.
#[derive(Debug, Serialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Whether the health checks succeed.
    pub healthy: bool,
    /// Whether it is out of service for a while because requests failed at it.
    pub ejected: bool,
    /// How often it was.
    pub ejections: u64,
    /// Requests being answered by it.
    pub in_flight: usize,
    /// Requests waiting for it.
    pub queued: usize,
    /// Requests ever sent to it.
    pub requests: u64,
    /// Its `Server` header.
    pub server: Option<String>,
}

/// One class of endpoints.
#[derive(Debug, Serialize)]
pub struct ClassStatus {
    /// Its name.
    pub name: &'static str,
    /// The pool that serves it.
    pub pool: Option<String>,
    /// The pool that stands in while none of that one's processes is in service.
    pub fallback: Option<String>,
}

/// One process that dendron started.
#[derive(Debug, Serialize)]
pub struct SupervisedStatus {
    /// Its name.
    pub name: String,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: &'static str,
    /// Since when, in RFC 3339.
    pub since: String,
    /// How often it was started again.
    pub restarts: u64,
    /// How it ended last.
    pub last_exit: Option<String>,
}

impl Status {
    /// Looks at everything.
    pub fn new(admin: &Admin, now: SystemTime, instant: Instant) -> Self {
        let pools: Vec<PoolStatus> = admin.pools.all().iter().map(|pool| PoolStatus::of(pool, instant)).collect();
        let supervised = admin.supervisor.as_ref().map(Supervisor::status).unwrap_or_default();
        let main = pools.iter().find(|pool| pool.name == MAIN);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: rfc3339(admin.started),
            uptime_seconds: now.duration_since(admin.started).unwrap_or_default().as_secs(),
            server_name: admin.server_name.clone(),
            synapse: main.and_then(|pool| pool.processes.iter().find_map(|process| process.server.clone())),
            descriptors_limit: descriptors_limit(),
            connections_limit: admin.metrics.connections_limit.get(),
            classes: admin.routes.all().iter().map(|route| ClassStatus::of(route, &admin.pools)).collect(),
            logins: admin.logins.status(),
            syncs: admin.quiet.status(),
            replication: admin.replication.as_ref().map(|state| state.borrow().name()),
            supervised: supervised.iter().map(SupervisedStatus::of).collect(),
            pools,
        }
    }

    /// What keeps requests from being served, a line each; empty when dendron is ready.
    pub fn missing(&self) -> Vec<String> {
        let main = self.pools.iter().filter(|pool| pool.name == MAIN);
        let dead =
            main.filter(|pool| !pool.processes.iter().any(|process| process.healthy && process.server.is_some()));
        let dead = dead.map(|pool| format!("pool {} has no healthy process", pool.name));
        let down = self.supervised.iter().filter(|process| process.state != ProcessState::Ready.name());
        dead.chain(down.map(|process| format!("process {} is {}", process.name, process.state))).collect()
    }
}

impl PoolStatus {
    fn of(pool: &Pool, now: Instant) -> Self {
        let processes = pool.backends().iter().map(|backend| BackendStatus {
            name: backend.name().to_string(),
            address: backend.address().to_string(),
            healthy: backend.is_healthy(),
            ejected: backend.is_ejected(now),
            ejections: backend.ejections(),
            in_flight: backend.in_flight(),
            queued: backend.queued(),
            requests: backend.requests(),
            server: backend.server(),
        });
        PoolStatus { name: pool.name().to_string(), processes: processes.collect() }
    }
}

impl ClassStatus {
    fn of(route: &ClassRoute, pools: &Pools) -> Self {
        let name = |place: usize| pools.at(place).map(|pool| pool.name().to_string());
        ClassStatus { name: route.class.name(), pool: name(route.pool), fallback: route.fallback.and_then(name) }
    }
}

impl SupervisedStatus {
    fn of(process: &ProcessStatus) -> Self {
        SupervisedStatus {
            name: process.name.clone(),
            pid: process.pid,
            state: process.state.name(),
            since: rfc3339(process.since),
            restarts: process.restarts,
            last_exit: process.last_exit.as_ref().map(ToString::to_string),
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}
