//! Puts the parts together by which quiet syncs are parked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};

use super::StartError;
use super::following::Following;
use crate::config::Config;
use crate::config::sync::{SyncPlan, sync};
use crate::database::{self, Database};
use crate::observe::Metrics;
use crate::quiet::declined::Against;
use crate::quiet::desk::Desk;
use crate::quiet::online::Online;
use crate::quiet::parking::Parking;
use crate::quiet::{Gate, Limits, PollHasher};
use crate::route::rules::AUTHENTICATION;
use crate::token::Callers;
use crate::upstream::Pools;

/// How often the versions of Synapse's processes are looked at.
const VERSIONS_INTERVAL: Duration = Duration::from_secs(1);

/// Whether syncs can be parked, as far as the configuration goes.
pub(super) fn is_possible(config: &Config) -> bool {
    sync(config, |name| std::env::var(name).ok()).is_ok()
}

/// The desk of this configuration. Nothing is connected to yet. `run` is a number that tells this run from others.
pub(super) fn desk(
    config: &Config,
    callers: &Arc<Callers>,
    following: Option<&Following>,
    metrics: &Metrics,
    run: u32,
) -> Result<Desk, StartError> {
    let SyncPlan { database, presence } = match sync(config, |name| std::env::var(name).ok()) {
        Ok(plan) => plan,
        Err(forwarded) => return Ok(Desk::Closed(forwarded.reasons)),
    };
    let Some(following) = following else { return Ok(Desk::Closed(vec![Against::NoRedis])) };
    let limits = Limits { renew_after: config.sync.renew_after, ..Limits::default() };
    let gate = Arc::new(Gate::new(limits, run.into()));
    let told = Arc::clone(&gate);
    following.read_by(Box::new(move |event| told.apply(event, Instant::now())));
    let online = match presence {
        true => Online::tracked(&format!("dendron-{run:08x}"), following.outbox(), following.state()),
        false => Online::untracked(),
    };
    let keys = PollHasher::new()?;
    let settings = config.sync.clone();
    let parking = Parking::new(gate, Arc::clone(callers), keys, settings, online, metrics.syncs.clone());
    Ok(Desk::open(parking, Arc::new(Database::new(database, database::connections::COUNT))))
}

/// Keeps up what quiet syncs need until the server stops.
pub(super) struct Upkeep {
    pub(super) quiet: Arc<Desk>,
    pub(super) pools: Pools,
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.quiet.run() => {}
            () = self.watch_versions() => {}
            () = self.obey_signals() => {}
            _ = shutdown.changed() => {}
        }
        if let Some(parking) = self.quiet.parking() {
            parking.stop();
            parking.online().farewell();
        }
    }
}

impl Upkeep {
    /// Parks nobody while a process of Synapse's runs a version that was not tested.
    async fn watch_versions(&self) {
        let Some(parking) = self.quiet.parking() else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(VERSIONS_INTERVAL);
        loop {
            ticks.tick().await;
            let pools = self.pools.all().iter().filter(|pool| &**pool.name() != AUTHENTICATION);
            let servers: Vec<String> =
                pools.flat_map(|pool| pool.backends()).filter_map(|backend| backend.server()).collect();
            if let Some(server) = parking.switch().see_servers(servers.iter().map(String::as_str)) {
                tracing::warn!(server, "syncs: this version of Synapse was not tested, so that nobody is parked");
                parking.follow_switch();
            }
        }
    }

    /// `SIGUSR2` switches parking off, and back.
    async fn obey_signals(&self) {
        let mut signals = match signal(SignalKind::user_defined2()) {
            Ok(signals) => signals,
            Err(error) => {
                tracing::warn!(%error, "syncs: no signal will switch parking");
                return std::future::pending().await;
            }
        };
        while signals.recv().await.is_some() {
            if let Some(parking) = self.quiet.parking() {
                parking.toggle();
            }
        }
    }
}
