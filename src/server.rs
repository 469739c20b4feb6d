//! The composition root: builds every part from the checked configuration and hands it its neighbours. It alone knows
//! them all.
//!
//! - `edge`: the services that clients connect to.
//! - [`Dendron`]: the built parts. Somebody else's Pingora server can take its proxy and its background services.
//! - [`run`]: dendron as a program: listeners, admin, supervised processes, signals.

mod edge;
mod following;
mod logins;
mod quiet;
mod redis;

use std::collections::BTreeSet;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use pingora_core::connectors::TransportConnector;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{ExecutionPhase, RunArgs, Server, ShutdownWatch};
use pingora_core::services::ServiceWithDependents;
use pingora_core::services::background::{BackgroundService, background_service};
use pingora_core::services::listening::Service;
use prometheus::{IntCounter, IntGauge};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::Admin;
use crate::answer::learned::Keeper;
use crate::answer::login::desk::Desk;
use crate::answer::{Answers, BodyLimits, Offer};
use crate::client_address::TrustedProxies;
use crate::config::Config;
use crate::endpoint::Endpoints;
use crate::listener::budget::{ADMIN_CONNECTIONS, COMFORTABLE_LIMIT};
use crate::listener::{
    Budget, Certificates, ConnectionMetrics, Counted, Door, Encrypted, Listener, ListenerError, Places, Runtimes,
};
use crate::observe::logging::LoggingError;
use crate::observe::{AccessLog, Metrics, logging};
use crate::proxy::{Edge, Parts, RequestIds, TRIES_MAX};
use crate::route::rules::AUTHENTICATION;
use crate::route::{NoMainPool, Routes};
use crate::supervise::{self, Supervisor};
use crate::token::{Asker, Callers, TokenHasher};
use crate::upstream::{Address, Limits, Pools, health};

pub use following::{Following, Reader};

/// How often a graceful end is looked at.
const ENDING_INTERVAL: Duration = Duration::from_millis(50);
/// How long the end waits for the access log, whose disk may hang.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// How often certificate files are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);

/// Why dendron cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// There is nobody to send requests to.
    #[error(transparent)]
    Routes(#[from] NoMainPool),
    /// A metric was refused.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Logging cannot be set up.
    #[error("cannot set up logging: {0}")]
    Logging(#[from] LoggingError),
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    AccessLog(io::Error),
    /// The system has no random numbers to give.
    #[error("cannot make a key for access tokens: {0}")]
    Random(#[from] getrandom::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Synapse's processes cannot be started.
    #[error("cannot start Synapse: {0}")]
    Supervise(#[from] supervise::Error),
    /// Pingora refused its settings.
    #[error("cannot set up the server: {0}")]
    Pingora(Box<pingora_core::Error>),
}

/// The parts of dendron, built and joined.
#[derive(Clone)]
pub struct Dendron {
    parts: Arc<Parts>,
    /// `None` where there is no Redis.
    following: Option<Arc<Following>>,
    /// What the listeners of [`run`] are served on.
    runtimes: Runtimes,
}

impl Dendron {
    /// Builds the parts. Nothing is opened and nothing runs yet, but for the access log.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a part cannot be built.
    pub fn build(config: &Config) -> Result<Self, StartError> {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        let metrics = Arc::new(Metrics::new(i64::try_from(started.as_secs()).unwrap_or_default())?);
        let (pools, routes) = pools_and_routes(config)?;
        let access_log = AccessLog::open(&config.log.access, config.log.format, metrics.access_log_dropped.clone());
        let answers = Arc::new(Answers::new(&config.answers, logins::need_well_known(config), &metrics.answers, now));
        let logins = Arc::new(logins::desk(config, &pools, &answers)?);
        let hasher = Arc::new(TokenHasher::new()?);
        let callers = Callers::new(Arc::clone(&hasher), &metrics, now);
        let callers = Arc::new(if quiet::is_possible(config) { callers.for_answers() } else { callers });
        let following = following::follow(config, hasher, &metrics).map(Arc::new);
        if let Some(following) = &following {
            following.read_by(following::tells(Arc::clone(&callers)));
        }
        // The low bits of the start's nanoseconds tell this run's request ids from another's.
        let run = started.subsec_nanos() ^ std::process::id().rotate_left(16);
        let quiet = quiet::desk(config, &callers, following.as_deref(), &metrics, run)?;
        let parts = Parts {
            endpoints: endpoints(config),
            routes,
            pools,
            trusted: TrustedProxies::new(config.trusted_proxies.clone()),
            access_log: access_log.map_err(StartError::AccessLog)?,
            request_ids: RequestIds::new(run),
            body_limits: body_limits(config),
            logins,
            client_times: config.client_times,
            answers,
            callers,
            quiet: Arc::new(quiet),
            connector: TransportConnector::new(None),
            metrics,
        };
        Ok(Dendron { parts: Arc::new(parts), following, runtimes: Runtimes::default() })
    }

    /// The proxy, for listeners that make this offer.
    pub fn edge(&self, offer: Offer) -> Edge {
        Edge::new(Arc::clone(&self.parts), offer)
    }

    /// What must run beside the proxy: health checks, the resolution of names, what renews the learned answers, and what
    /// follows Synapse's replication stream.
    pub fn background_services(&self) -> Vec<Box<dyn ServiceWithDependents>> {
        let Parts { pools, routes, answers, logins, callers, quiet, .. } = &*self.parts;
        let keeper = Keeper::new(Arc::clone(answers), pools.clone(), routes.clone());
        let asker = Asker::new(Arc::clone(callers), pools.clone(), routes.clone());
        let mut services = vec![
            on_one_thread("health checks", HealthChecks { pools: pools.clone() }),
            on_one_thread("learned answers", keeper),
            on_one_thread("logins", logins::Upkeep { logins: Arc::clone(logins) }),
            on_one_thread("callers", asker),
            on_one_thread("quiet syncs", quiet::Upkeep { quiet: Arc::clone(quiet), pools: pools.clone() }),
        ];
        let following = self
            .following
            .iter()
            .map(|following| on_one_thread("replication", following::Reading { following: Arc::clone(following) }));
        services.extend(following);
        services
    }

    /// The processes behind the edge.
    pub fn pools(&self) -> &Pools {
        &self.parts.pools
    }

    /// The replication stream; `None` where there is no Redis.
    pub fn following(&self) -> Option<&Following> {
        self.following.as_deref()
    }

    /// Who is behind access tokens.
    pub fn callers(&self) -> &Arc<Callers> {
        &self.parts.callers
    }

    /// What becomes of logins.
    pub fn logins(&self) -> Arc<Desk> {
        Arc::clone(&self.parts.logins)
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.parts.metrics
    }
}

/// A background service with a thread of its own.
fn on_one_thread(name: &str, task: impl BackgroundService + Send + Sync + 'static) -> Box<dyn ServiceWithDependents> {
    let mut service = background_service(name, task);
    service.threads = Some(1);
    Box::new(service)
}

/// Synapse's own limits, where its configuration is known.
fn body_limits(config: &Config) -> BodyLimits {
    BodyLimits { upload_size_max: config.homeserver.as_ref().map(|homeserver| homeserver.media.upload_size_max) }
}

/// The table of endpoints: with logins at the Matrix Authentication Service if it has a pool.
pub fn endpoints(config: &Config) -> Endpoints {
    if config.pool(AUTHENTICATION).is_some() { Endpoints::with_authentication() } else { Endpoints::new() }
}

/// The processes and the ways to them, without anything that serves.
///
/// # Errors
///
/// [`NoMainPool`] when there is nobody to send requests to.
pub fn pools_and_routes(config: &Config) -> Result<(Pools, Routes), NoMainPool> {
    let budget = budget(config);
    let limits = Limits { in_flight: config.limits.in_flight.min(budget.connections), ..config.limits };
    let pools = Pools::new(&config.pools, config.connection_times, limits);
    // The many streams of an HTTP/2 client have a connection to Synapse each, so they need a bound as well.
    let pools = pools.bounded(Limits { in_flight: budget.requests, ..limits }).keeping(budget.idle / 2);
    let names: Vec<&str> = pools.all().iter().map(|pool| &**pool.name()).collect();
    let routes = Routes::new(&names, &config.patience, &config.main_lacks)?;
    Ok((pools, routes))
}

/// Serves until a signal ends it. SIGINT ends it at once; SIGTERM lets requests end first, for as long as
/// `shutdown.grace` at most. Processes that dendron started are stopped after the listeners.
///
/// # Errors
///
/// [`StartError`] when it cannot start; nothing is left running then.
pub fn run(config: Config) -> Result<(), StartError> {
    logging::start(config.log.level, config.log.format)?;
    raise_descriptors_limit();
    config.listeners.iter().chain([&config.admin]).map(Listener::probe).collect::<Result<Vec<()>, _>>()?;

    let dendron = Dendron::build(&config)?;
    let budget = budget(&config);
    let certificates = load_certificates(&config.listeners)?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config, budget));
    server.bootstrap();
    for service in edge::services(&dendron, &config, &certificates, budget, &server.configuration)? {
        server.add_boxed_service(service);
    }
    server.add_services(dendron.background_services());
    server.add_boxed_service(on_one_thread("certificates", Reloads { certificates: certificates.clone() }));

    let supervisor = start_supervisor(&config)?;
    server.add_boxed_service(admin_service(&dendron, &config, &certificates, supervisor.clone())?);
    for listener in &config.listeners {
        tracing::info!(address = %listener.address, tls = !listener.certificates.is_empty(), "listening");
    }
    report(budget);
    serve(server, &dendron.metrics().connections)?;
    if let Some(supervisor) = supervisor {
        supervisor.stop();
    }
    dendron.parts.access_log.finish(LOG_PATIENCE);
    tracing::info!("stopped");
    Ok(())
}

/// Runs Pingora's server until it has ended, or until a graceful end has nobody left to wait for: Pingora itself sits out
/// the whole grace period.
fn serve(server: Server, connections: &IntGauge) -> Result<(), StartError> {
    let mut phases = server.watch_execution_phase();
    let running = std::thread::Builder::new().name("server".to_owned()).spawn(|| server.run(RunArgs::default()));
    let running = running.map_err(StartError::Thread)?;
    let mut is_ending = false;
    while !(running.is_finished() || is_ending && connections.get() == 0) {
        std::thread::sleep(ENDING_INTERVAL);
        while let Ok(phase) = phases.try_recv() {
            is_ending |= matches!(phase, ExecutionPhase::ShutdownGracePeriod);
        }
    }
    Ok(())
}

/// Says that dendron has started, and how much it can carry.
fn report(budget: Budget) {
    let (descriptors, connections) = (descriptors_limit(), budget.connections);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), descriptors, connections, "started");
    if descriptors < COMFORTABLE_LIMIT {
        tracing::warn!(descriptors, connections, "the limit of open files is low: few clients can be connected");
    }
}

fn server_conf(config: &Config, budget: Budget) -> ServerConf {
    let threads = config.threads.unwrap_or_else(cores);
    let services: BTreeSet<edge::Kind> = config.listeners.iter().map(edge::kind).collect();
    ServerConf {
        threads,
        grace_period_seconds: Some(config.shutdown_grace.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        // Half of what there may be; the other half is for questions. Pingora takes it for each thread of each service.
        upstream_keepalive_pool_size: (budget.idle / 2 / threads.max(1) / services.len().max(1)).max(1),
        max_retries: TRIES_MAX,
        ..ServerConf::default()
    }
}

/// How many threads this process can have running at once.
fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// The certificates of every listener that has any.
type CertificatesByAddress = Vec<(Address, Arc<Certificates>)>;

fn load_certificates(listeners: &[Listener]) -> Result<CertificatesByAddress, StartError> {
    let encrypted = listeners.iter().filter(|listener| !listener.certificates.is_empty());
    let loaded = encrypted.map(|listener| {
        let certificates = Certificates::load(listener.certificates.clone()).map_err(ListenerError::from)?;
        Ok((listener.address.clone(), Arc::new(certificates)))
    });
    loaded.collect()
}

/// The places of those who read metrics and status, which are counted nowhere.
fn admin_places() -> Result<Arc<Places>, prometheus::Error> {
    let counts = ConnectionMetrics {
        open: IntGauge::new("open", "open")?,
        accepted: IntCounter::new("accepted", "accepted")?,
        refused: IntCounter::new("refused", "refused")?,
    };
    Ok(Arc::new(Places::new(ADMIN_CONNECTIONS, 0, counts)))
}

fn admin_service(
    dendron: &Dendron,
    config: &Config,
    certificates: &CertificatesByAddress,
    supervisor: Option<Supervisor>,
) -> Result<Box<dyn ServiceWithDependents>, StartError> {
    let admin = Admin {
        pools: dendron.pools().clone(),
        routes: dendron.parts.routes.clone(),
        metrics: Arc::clone(dendron.metrics()),
        supervisor,
        runtimes: dendron.runtimes.clone(),
        logins: dendron.logins(),
        callers: Arc::clone(dendron.callers()),
        quiet: Arc::clone(&dendron.parts.quiet),
        replication: dendron.following().map(Following::state),
        certificates: certificates.clone(),
        server_name: config.homeserver.as_ref().map(|homeserver| homeserver.server_name.clone()),
        started: SystemTime::now(),
    };
    let places = admin_places()?;
    let door = Door::new(Arc::clone(&places), false);
    let admin = Counted::new(admin, door, Encrypted::default(), Runtimes::default());
    let mut service = Service::new("admin".to_owned(), admin);
    service.set_connection_filter(places);
    service.threads = Some(1);
    service.add_listener(config.admin.endpoint(true));
    tracing::info!(address = %config.admin.address, "admin listening");
    Ok(Box::new(service))
}

fn start_supervisor(config: &Config) -> Result<Option<Supervisor>, StartError> {
    let Some(plan) = config.supervise.clone() else { return Ok(None) };
    Ok(Some(Supervisor::start(plan, supervise::launch::own_program())?))
}

/// Raises the soft limit of open files to the hard one. Where that is refused, the soft one stays in force.
fn raise_descriptors_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The limit of open files that is in force.
fn descriptors_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How the descriptors that may be open now are divided.
fn budget(config: &Config) -> Budget {
    Budget::new(descriptors_limit(), config.needs(), config.connections_max)
}

/// Checks every process until the server stops.
struct HealthChecks {
    pools: Pools,
}

#[async_trait]
impl BackgroundService for HealthChecks {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut checks = tokio::task::JoinSet::new();
        for backend in self.pools.backends() {
            checks.spawn(health::watch(Arc::clone(backend)));
        }
        // Dropping the set ends the checks.
        let _ = shutdown.changed().await;
    }
}

/// Reads certificates again when their files change.
struct Reloads {
    certificates: CertificatesByAddress,
}

#[async_trait]
impl BackgroundService for Reloads {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(CERTIFICATE_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = shutdown.changed() => return,
            }
            for (address, certificates) in &self.certificates {
                match certificates.reload() {
                    Ok(true) => tracing::info!(%address, "certificates read again"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%address, %error, "the last good certificates stay in use"),
                }
            }
        }
    }
}
