//! One process of Synapse, as dendron sees it: its address, its health, and how many requests are in flight at it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pingora_core::protocols::Stream;
use pingora_core::upstreams::peer::HttpPeer;
use xxhash_rust::xxh3::xxh3_64;

use super::ejection::{Ejection, Fault};
use super::kept::Kept;
use super::queue::{LeaseError, Place, Queue};
use super::{Address, BackendSettings, ConnectionTimes, Limits};
use crate::endpoint::Class;
use crate::route::rules::{self, health_path};

/// A process of Synapse. Pools share it: a process that is in several pools has one health and one count.
#[derive(Debug)]
pub struct Backend {
    name: Arc<str>,
    address: Address,
    /// What rendezvous hashing knows the process by: its address, which is the same for every edge.
    seed: u64,
    times: ConnectionTimes,
    /// What the checks ask for.
    health_path: &'static str,
    /// The peer that requests are given a copy of; `None` until the host name is resolved.
    peer: ArcSwapOption<HttpPeer>,
    healthy: AtomicBool,
    ejection: Mutex<Ejection>,
    /// Whether there is anything in `ejection`, so that a process that is well costs a request no lock.
    in_trouble: AtomicBool,
    ejections: AtomicU64,
    queue: Arc<Queue>,
    kept: Kept,
    requests: AtomicU64,
    /// The `Server` header of the process's last health answer, which tells Synapse's version.
    server: ArcSwapOption<Box<str>>,
}

impl Backend {
    /// A process that is taken for healthy until a check says otherwise. A numeric address or a socket is ready at
    /// once; a host name is ready after the first [`Backend::resolve`].
    pub fn new(settings: &BackendSettings, times: ConnectionTimes, limits: Limits) -> Self {
        let backend = Backend {
            name: settings.name.as_str().into(),
            address: settings.address.clone(),
            seed: xxh3_64(settings.address.to_string().as_bytes()),
            times,
            health_path: health_path(rules::MAIN),
            peer: ArcSwapOption::empty(),
            healthy: AtomicBool::new(true),
            ejection: Mutex::default(),
            in_trouble: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
            queue: Arc::new(Queue::new(limits)),
            kept: Kept::default(),
            requests: AtomicU64::new(0),
            server: ArcSwapOption::empty(),
        };
        match &settings.address {
            Address::Unix(path) => {
                let peer = path.to_str().and_then(|path| HttpPeer::new_uds(path, false, String::new()).ok());
                backend.peer.store(peer.map(|peer| Arc::new(backend.with_times(peer))));
            }
            Address::Tcp { host, port } => {
                if let Ok(ip) = host.parse() {
                    backend.set_socket_address(SocketAddr::new(ip, *port));
                }
            }
        }
        backend
    }

    /// The same, asked for this path by the checks.
    pub fn checked_at(self, health_path: &'static str) -> Self {
        Backend { health_path, ..self }
    }

    /// The path that answers 200 while the process is well.
    pub fn health_path(&self) -> &'static str {
        self.health_path
    }

    /// The name in metrics and logs.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where the process listens, as configured.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What rendezvous hashing knows the process by.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether the last checks found the process answering.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Sets the outcome of the checks; returns whether it is news.
    pub fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    /// Whether the process is to be given requests: the checks find it answering, and it is not ejected.
    pub fn is_in_service(&self, now: Instant) -> bool {
        self.is_healthy() && !self.is_ejected(now)
    }

    /// Whether requests failed at the process so often that it is out of service for a while.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.in_trouble.load(Ordering::Relaxed) && self.ejection().is_out(now)
    }

    /// Takes note of a fault; returns whether the process is now to be ejected.
    pub fn failed(&self, fault: Fault, now: Instant) -> bool {
        let mut ejection = self.ejection();
        self.in_trouble.store(true, Ordering::Relaxed);
        ejection.failed(fault, now)
    }

    /// Takes note that the process has answered.
    pub fn answered(&self, now: Instant) {
        if self.in_trouble.load(Ordering::Relaxed) {
            let mut ejection = self.ejection();
            ejection.answered();
            self.in_trouble.store(ejection.is_out(now), Ordering::Relaxed);
        }
    }

    /// Takes the process out of service for [`super::ejection::DURATION`].
    pub fn eject(&self, now: Instant) {
        let mut ejection = self.ejection();
        self.in_trouble.store(true, Ordering::Relaxed);
        ejection.eject(now);
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the process was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    fn ejection(&self) -> MutexGuard<'_, Ejection> {
        self.ejection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests are in flight at the process.
    pub fn in_flight(&self) -> usize {
        self.queue.held()
    }

    /// How many requests the process is at work on: all that are in flight, but for polls, which wait there.
    pub fn at_work(&self) -> usize {
        self.queue.at_work()
    }

    /// How many requests wait for a place at the process.
    pub fn queued(&self) -> usize {
        self.queue.waiting()
    }

    /// The same by class; classes of which none waits are left out.
    pub fn queued_by_class(&self) -> Vec<(Class, usize)> {
        self.queue.waiting_by_class()
    }

    /// How many requests were ever sent to the process.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The process's `Server` header, once a health check has seen it.
    pub fn server(&self) -> Option<String> {
        self.server.load().as_deref().map(ToString::to_string)
    }

    /// Keeps the process's `Server` header.
    pub fn set_server(&self, server: &str) {
        if self.server.load().as_deref().is_none_or(|known| &**known != server) {
            self.server.store(Some(Arc::new(Box::from(server))));
        }
    }

    /// A peer for one request, which may be silent for `patience`. `None` while the host name is unresolved.
    pub fn peer(&self, patience: Duration) -> Option<Box<HttpPeer>> {
        let peer = self.peer.load();
        let mut peer = Box::new(HttpPeer::clone(peer.as_deref()?));
        peer.options.read_timeout = Some(patience);
        Some(peer)
    }

    /// The same; a host name that was never resolved is resolved now, because the first request may come before the
    /// first health check. `None` if it has no address.
    pub async fn resolved_peer(&self, patience: Duration) -> Option<Box<HttpPeer>> {
        match self.peer(patience) {
            Some(peer) => Some(peer),
            None => {
                self.resolve().await.ok()?;
                self.peer(patience)
            }
        }
    }

    /// A connection that was kept for the next request, if there is one.
    pub fn take_kept(&self, now: Instant) -> Option<Stream> {
        self.kept.take(self.times.idle, now)
    }

    /// Keeps no more connections than so many from now on.
    pub fn limit_kept(&self, most: usize) {
        self.kept.limit(most);
    }

    /// Keeps a connection on which nothing is under way.
    pub fn keep(&self, stream: Stream, now: Instant) {
        self.kept.keep(stream, now);
    }

    /// Closes the connections that were kept for too long, or that the process has closed.
    pub fn sweep_kept(&self, now: Instant) {
        self.kept.sweep(self.times.idle, now);
    }

    /// How many connections are kept.
    pub fn kept(&self) -> usize {
        self.kept.count()
    }

    /// Resolves the host name again. An address that cannot be resolved keeps its last good answer.
    ///
    /// # Errors
    ///
    /// What the resolver says.
    pub async fn resolve(&self) -> std::io::Result<()> {
        let Address::Tcp { host, port } = &self.address else { return Ok(()) };
        if host.parse::<std::net::IpAddr>().is_ok() {
            return Ok(());
        }
        let mut found = tokio::net::lookup_host((host.as_str(), *port)).await?;
        let first = found.next().ok_or_else(|| std::io::Error::other("the name has no address"))?;
        self.set_socket_address(first);
        Ok(())
    }

    fn set_socket_address(&self, address: SocketAddr) {
        let peer = HttpPeer::new(address, false, String::new());
        self.peer.store(Some(Arc::new(self.with_times(peer))));
    }

    fn with_times(&self, mut peer: HttpPeer) -> HttpPeer {
        peer.options.connection_timeout = Some(self.times.connect);
        peer.options.total_connection_timeout = Some(self.times.connect);
        peer.options.idle_timeout = Some(self.times.idle);
        peer.options.write_timeout = Some(self.times.write);
        peer
    }
}

/// One request's place at a process: it is counted there until this is dropped.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    _place: Place,
}

impl Lease {
    /// The process.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Backend {
    /// A place at the process for a request of this class, at once if one is free, else after waiting in the queue.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when the queue is full, or the wait was as long as [`Limits::wait`].
    pub async fn lease(self: &Arc<Self>, class: Class) -> Result<Lease, LeaseError> {
        let place = self.queue.place(class).await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { backend: Arc::clone(self), _place: place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_name_is_ready_once_it_is_resolved() {
        let settings = BackendSettings { name: "main".to_owned(), address: "localhost:8008".parse().unwrap() };
        let backend = Backend::new(&settings, ConnectionTimes::default(), Limits::default());
        assert!(backend.peer(Duration::from_secs(1)).is_none());
        backend.resolve().await.unwrap();
        assert!(backend.peer(Duration::from_secs(1)).is_some());
    }
}
