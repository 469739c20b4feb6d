//! Puts the parts together by which logins are answered.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bcrypt_lanes::LaneCount;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;

use super::{StartError, redis};
use crate::answer::Answers;
use crate::answer::login::desk::Desk;
use crate::answer::login::hashing::Hashing;
use crate::answer::login::hashing::pauses::OthersAreServed;
use crate::answer::login::limits::Store;
use crate::answer::login::limits::shared::{Names, Shared};
use crate::answer::login::neighbours::{Neighbours, ServerHeader, WellKnown, Writer};
use crate::answer::login::reasons::Reason;
use crate::answer::login::turns::{InTurns, RequestCount};
use crate::answer::login::{Logins, Now};
use crate::config::login::{LoginPlan, Writer as PlannedWriter, login};
use crate::config::{Config, SecretSource};
use crate::database::{self, Database};
use crate::route::rules::MAIN;
use crate::secret::Secret;
use crate::synapse::{Client, Devices, JwtLogin, Target};
use crate::upstream::Pools;

/// Whether logins need what Synapse says to clients of its addresses.
pub(super) fn need_well_known(config: &Config) -> bool {
    config.login.enabled && config.homeserver.as_ref().is_some_and(|homeserver| homeserver.public_baseurl_given)
}

/// The desk of this configuration. It starts the threads that check passwords, and connects to nobody yet.
pub(super) fn desk(config: &Config, pools: &Pools, answers: &Arc<Answers>) -> Result<Desk, StartError> {
    let plan = match login(config, |name| std::env::var(name).ok()) {
        Ok(plan) => plan,
        Err(forwarded) => return Ok(Desk::Closed(forwarded.reasons)),
    };
    let LoginPlan { policy, database, writer } = plan;
    let Ok(lanes) = LaneCount::measure().inspect_err(|error| tracing::error!(%error, "logins are forwarded")) else {
        return Ok(Desk::Closed(vec![Reason::Miscalculated]));
    };
    let client = Arc::new(Client::default());
    let (writer, devices) = match writer {
        PlannedWriter::Jwt(settings) => {
            (Writer::Jwt { login: JwtLogin::new(client, settings), pools: pools.clone() }, None)
        }
        PlannedWriter::Replication { address, transport, secret } => {
            let Ok(secret) = read(secret.as_ref()) else { return Ok(Desk::Closed(vec![Reason::NoWriter])) };
            let target = Target::new(address, transport, config.connection_times);
            let devices = Arc::new(Devices::new(client, target, secret));
            (Writer::Replication(Arc::clone(&devices)), Some(devices))
        }
    };
    let threads = config.login.threads.map_or_else(Hashing::default_threads, NonZeroUsize::get);
    let hashing =
        Hashing::start(threads, lanes, config.login.queue.get(), policy.bcrypt_rounds, others_are_served(pools));
    let hashing = hashing.map_err(StartError::Thread)?;
    let database = Arc::new(Database::new(database, database::connections::COUNT));
    let (documents, versions) = (Arc::clone(answers), Arc::clone(answers));
    let well_known: WellKnown = Box::new(move || documents.well_known_client(Instant::now()));
    let server: ServerHeader = Box::new(move || versions.server());
    let writer = InTurns::new(writer, requests_of_others(pools));
    let neighbours = Neighbours { users: Arc::clone(&database), devices: writer, well_known, server };
    let mut logins = Logins::new(policy, hashing, neighbours, Now::clock());
    if let Some(shared) = shared_limits(config) {
        logins = logins.sharing(Arc::new(shared));
    }
    Ok(Desk::open(logins, database, devices))
}

/// What others ask of the process that makes devices: all that is forwarded to it.
fn requests_of_others(pools: &Pools) -> RequestCount {
    let backends = pools.named(MAIN).map(|pool| pool.backends().to_vec()).unwrap_or_default();
    Box::new(move || backends.iter().map(|backend| backend.requests()).sum())
}

/// Whether any of Synapse's processes is at work on what others ask.
fn others_are_served(pools: &Pools) -> OthersAreServed {
    let backends = pools.backends().to_vec();
    Arc::new(move || backends.iter().any(|backend| backend.at_work() > 0))
}

/// The limits that other edges have, too, if that is asked for.
fn shared_limits(config: &Config) -> Option<Shared> {
    let homeserver = config.homeserver.as_ref().filter(|_| config.login.limits == Store::Redis)?;
    let secret = read(homeserver.replication_secret.as_ref()).ok()?;
    match redis::client(homeserver)? {
        Ok(client) => Some(Shared::new(client, Names::new(&homeserver.server_name, secret.as_ref()))),
        Err(error) => {
            tracing::warn!(%error, "logins are limited by each edge alone: Redis cannot be used");
            None
        }
    }
}

/// What the processes show each other, if they show anything.
fn read(secret: Option<&SecretSource>) -> std::io::Result<Option<Secret>> {
    let secret = secret.map(SecretSource::read).transpose();
    if let Err(error) = &secret {
        tracing::warn!(%error, "logins are forwarded: the replication secret cannot be read");
    }
    secret
}

/// Keeps up what logins need until the server stops.
pub(super) struct Upkeep {
    pub(super) logins: Arc<Desk>,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.logins.run() => {}
            _ = shutdown.changed() => {}
        }
    }
}
