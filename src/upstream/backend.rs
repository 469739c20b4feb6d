//! One process of Synapse, as dendron sees it: its address, its health, and how many requests are in flight at it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xxhash_rust::xxh3::xxh3_64;

use super::ejection::{Ejection, Fault};
use super::{Address, BackendSettings, ConnectionTimes, Limits};

/// A process of Synapse. Pools share it: a process that is in several pools has one health and one count.
#[derive(Debug)]
pub struct Backend {
    name: Arc<str>,
    address: Address,
    /// What rendezvous hashing knows the process by: its address, which is the same for every edge.
    seed: u64,
    times: ConnectionTimes,
    /// The peer that requests are given a copy of; `None` until the host name is resolved.
    peer: ArcSwapOption<HttpPeer>,
    healthy: AtomicBool,
    ejection: Mutex<Ejection>,
    /// Whether there is anything in `ejection`, so that a process that is well costs a request no lock.
    in_trouble: AtomicBool,
    ejections: AtomicU64,
    limits: Limits,
    /// One permit for each request that may be in flight.
    permits: Arc<Semaphore>,
    queued: AtomicUsize,
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
            peer: ArcSwapOption::empty(),
            healthy: AtomicBool::new(true),
            ejection: Mutex::default(),
            in_trouble: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
            limits,
            permits: Arc::new(Semaphore::new(limits.in_flight)),
            queued: AtomicUsize::new(0),
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
        self.is_healthy() && !(self.in_trouble.load(Ordering::Relaxed) && self.ejection().is_out(now))
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
        self.limits.in_flight - self.permits.available_permits()
    }

    /// How many requests wait for a place at the process.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
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

/// Why a request got no place at a process.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LeaseError {
    /// As many requests wait as may.
    #[error("the process's queue is full")]
    QueueFull,
    /// No place became free in time.
    #[error("no place at the process became free in time")]
    Waited,
}

/// One request's place at a process: it is counted there until this is dropped.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The process.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Backend {
    /// A place at the process, at once if one is free, else after waiting in the queue.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when the queue is full, or the wait was as long as [`Limits::wait`].
    pub async fn lease(self: &Arc<Self>) -> Result<Lease, LeaseError> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait_for_permit().await?,
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { backend: Arc::clone(self), _permit: permit })
    }

    async fn wait_for_permit(&self) -> Result<OwnedSemaphorePermit, LeaseError> {
        let place = Queued::enter(&self.queued, self.limits.queued).ok_or(LeaseError::QueueFull)?;
        let permit = tokio::time::timeout(self.limits.wait, Arc::clone(&self.permits).acquire_owned()).await;
        drop(place);
        permit.ok().and_then(Result::ok).ok_or(LeaseError::Waited)
    }
}

/// One request's place in a queue. It is given up when dropped, also when the client goes away while waiting.
struct Queued<'count>(&'count AtomicUsize);

impl<'count> Queued<'count> {
    fn enter(count: &'count AtomicUsize, most: usize) -> Option<Self> {
        if count.fetch_add(1, Ordering::Relaxed) >= most {
            count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Queued(count))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(limits: Limits) -> Arc<Backend> {
        let settings = BackendSettings { name: "main".to_owned(), address: "127.0.0.1:1".parse().unwrap() };
        Arc::new(Backend::new(&settings, ConnectionTimes::default(), limits))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_a_bounded_queue_for_a_bounded_time() {
        let wait = Duration::from_secs(5);
        let backend = backend(Limits { in_flight: 1, queued: 1, wait });
        let first = backend.lease().await.unwrap();
        assert_eq!((backend.in_flight(), backend.queued()), (1, 0));

        let waiter = tokio::spawn({
            let backend = Arc::clone(&backend);
            async move { backend.lease().await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(backend.queued(), 1);
        assert_eq!(backend.lease().await.unwrap_err(), LeaseError::QueueFull);
        drop(first);
        assert_eq!(waiter.await.unwrap(), Ok(()));
        assert_eq!((backend.in_flight(), backend.queued()), (0, 0));

        let _held = backend.lease().await.unwrap();
        assert_eq!(backend.lease().await.unwrap_err(), LeaseError::Waited);
        assert_eq!(backend.queued(), 0);
    }

    #[tokio::test]
    async fn a_waiting_request_that_is_dropped_leaves_the_queue() {
        let backend = backend(Limits { in_flight: 1, queued: 1, wait: Duration::from_secs(5) });
        let _held = backend.lease().await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(10), backend.lease()).await;
        assert!(waited.is_err());
        assert_eq!(backend.queued(), 0);
    }

    #[tokio::test]
    async fn a_host_name_is_ready_once_it_is_resolved() {
        let settings = BackendSettings { name: "main".to_owned(), address: "localhost:8008".parse().unwrap() };
        let backend = Backend::new(&settings, ConnectionTimes::default(), Limits::default());
        assert!(backend.peer(Duration::from_secs(1)).is_none());
        backend.resolve().await.unwrap();
        assert!(backend.peer(Duration::from_secs(1)).is_some());
    }
}
