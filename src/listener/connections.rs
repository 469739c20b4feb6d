//! The places that a listener's clients have: so many, that descriptors cannot run out.
//!
//! A connection beyond the last place waits a moment for one, unserved, among a few others; or else it is closed. Over
//! TLS the place is taken before the handshake, so that handshakes that never end are bounded as well. An accepted
//! connection has a descriptor before anybody looks at it, and a burst can bring many: so those that have arrived are
//! counted where they are accepted, and closed there if they are more than can be placed.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::ConnectionFilter;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as RawStream;
use pingora_core::server::ShutdownWatch;
use pingora_core::upstreams::peer::{Tracer, Tracing};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::budget::{ARRIVED_MAX, WAIT};
use super::handshake::Encrypted;
use super::proxied::{self, ProxiedError};
use super::runtimes::Runtimes;

/// How often at most it is said that connections are closed.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// What is counted of connections.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Those that have a place.
    pub open: IntGauge,
    /// Those that ever got one.
    pub accepted: IntCounter,
    /// Those that were closed for want of one.
    pub refused: IntCounter,
}

/// The places of the clients of some listeners.
pub struct Places {
    free: Arc<Semaphore>,
    waiting: Semaphore,
    /// Those that were accepted and have not asked for a place yet.
    arrived: AtomicUsize,
    count: usize,
    metrics: ConnectionMetrics,
    /// It is said only now and then that there is none.
    told: Seldom,
}

/// One connection's place; given back when dropped, however the connection ends.
pub struct Place {
    open: IntGauge,
    _permit: OwnedSemaphorePermit,
}

/// An application each of whose connections has a place.
pub struct Counted<A> {
    application: Arc<A>,
    door: Door,
    encrypted: Encrypted,
    runtimes: Runtimes,
    /// So that only the first connection has to be looked at.
    noticed: Once,
}

/// What is done with a connection before its first byte is taken for the client's, over TLS before the handshake.
pub struct Door {
    places: Arc<Places>,
    /// Whether a PROXY header comes first.
    proxy_protocol: bool,
    told: Seldom,
}

/// Lets a thing be said once in a while: a line for each case would be a flood of its own.
#[derive(Default)]
struct Seldom(Mutex<Option<Instant>>);

// === impl Places ===

impl Places {
    /// So many places, and so many connections that may wait for one.
    pub fn new(count: usize, waiting: usize, metrics: ConnectionMetrics) -> Self {
        Places {
            free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            waiting: Semaphore::new(waiting),
            arrived: AtomicUsize::new(0),
            count,
            metrics,
            told: Seldom::default(),
        }
    }

    /// A place, at once if one is free, else after a short wait. `None` when the connection is to be closed.
    pub async fn take(&self) -> Option<Place> {
        let free = Arc::clone(&self.free).try_acquire_owned();
        let turn = free.is_err().then(|| self.waiting.try_acquire());
        let _ = self.arrived.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrived| arrived.checked_sub(1));
        let permit = match (free, turn) {
            (Ok(permit), _) => Some(permit),
            (Err(_), Some(Ok(_turn))) => {
                timeout(WAIT, Arc::clone(&self.free).acquire_owned()).await.ok().and_then(Result::ok)
            }
            (Err(_), _) => None,
        };
        let Some(permit) = permit else {
            self.refuse();
            return None;
        };
        self.metrics.accepted.inc();
        self.metrics.open.inc();
        Some(Place { open: self.metrics.open.clone(), _permit: permit })
    }

    /// Whether a connection that was just accepted may stay open until it asks for a place.
    fn arrive(&self) -> bool {
        let most = self.free.available_permits().saturating_add(ARRIVED_MAX);
        let stays = self.arrived.fetch_add(1, Ordering::Relaxed) < most;
        if !stays {
            self.arrived.fetch_sub(1, Ordering::Relaxed);
            self.refuse();
        }
        stays
    }

    fn refuse(&self) {
        self.metrics.refused.inc();
        if self.told.is_due(Instant::now()) {
            tracing::warn!(limit = self.count, "as many connections are open as may be: others are closed");
        }
    }
}

#[async_trait]
impl ConnectionFilter for Places {
    async fn should_accept(&self, _address: Option<&SocketAddr>) -> bool {
        self.arrive()
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Places").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

// === impl Counted ===

impl<A> Counted<A> {
    /// Gives each connection of an application a place, then makes its handshake if it came to one of the encrypted
    /// listeners, and tells what it runs on.
    pub fn new(application: A, door: Door, encrypted: Encrypted, runtimes: Runtimes) -> Self {
        Counted { application: Arc::new(application), door, encrypted, runtimes, noticed: Once::new() }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Counted<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        self.noticed.call_once(|| self.runtimes.notice());
        let mut stream = stream.into_any().downcast::<RawStream>().ok()?;
        self.door.enter(&mut stream).await?;
        let mut stream = self.encrypted.accept(stream).await;
        // A stream that comes back wants to be served again, for the next request of a connection that is kept alive.
        while let Some(served) = stream {
            stream = self.application.process_new(served, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.application.cleanup().await;
    }
}

// === impl Door ===

impl Door {
    /// The way to these places, perhaps with a PROXY header at the beginning of each connection.
    pub fn new(places: Arc<Places>, proxy_protocol: bool) -> Self {
        Door { places, proxy_protocol, told: Seldom::default() }
    }

    /// Gives the stream a place for as long as it lives, and the client's address where a load balancer names it. `None`
    /// when the connection is to be closed.
    async fn enter(&self, stream: &mut RawStream) -> Option<()> {
        let place = self.places.take().await?;
        if self.proxy_protocol
            && let Err(error) = proxied::receive(stream).await
        {
            if !matches!(error, ProxiedError::Empty) && self.told.is_due(Instant::now()) {
                tracing::warn!(%error, "a connection was closed: this listener has proxy_protocol");
            }
            return None;
        }
        // The tracer is what a stream takes along until it is closed, whoever has it then.
        stream.tracer = Some(Tracer(Box::new(Held(Arc::new(place)))));
        Some(())
    }
}

// === impl Seldom ===

impl Seldom {
    /// Whether it is time to say it.
    fn is_due(&self, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| now.duration_since(told) >= TOLD_INTERVAL);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

/// A place that lives as long as the stream that it is tied to.
#[derive(Clone)]
struct Held(#[expect(dead_code, reason = "it is held to be dropped")] Arc<Place>);

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Held")
    }
}

impl Tracing for Held {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {}

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize, waiting: usize) -> (Arc<Places>, ConnectionMetrics) {
        let metrics = ConnectionMetrics {
            open: IntGauge::new("open", "open").unwrap(),
            accepted: IntCounter::new("accepted", "accepted").unwrap(),
            refused: IntCounter::new("refused", "refused").unwrap(),
        };
        (Arc::new(Places::new(count, waiting, metrics.clone())), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_a_few_wait_and_the_rest_is_refused_at_once() {
        let (places, metrics) = places(2, 1);
        let first = places.take().await.unwrap();
        let second = places.take().await.unwrap();
        let waits = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await.is_some() }
        });
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        assert!(places.take().await.is_none(), "the queue is full");
        assert_eq!((begun.elapsed(), metrics.refused.get()), (Duration::ZERO, 1));
        drop(first);
        assert!(waits.await.unwrap(), "the place that became free was not given on");
        drop(second);
        assert_eq!((metrics.open.get(), metrics.accepted.get()), (0, 3));
    }

    #[tokio::test]
    async fn a_burst_is_bounded_before_anybody_looks_at_it() {
        let (places, metrics) = places(3, 0);
        let held = places.take().await.unwrap();
        // Two will get a place, and some more may be told that there is none.
        let stay = (0..1000).filter(|_| places.arrive()).count();
        assert_eq!((stay, metrics.refused.get()), (2 + ARRIVED_MAX, 1000 - stay as u64));
        let mut placed = Vec::new();
        for _ in 0..stay {
            placed.extend(places.take().await);
        }
        assert_eq!((placed.len(), metrics.refused.get()), (2, 998));
        drop((held, placed));
        assert!(places.arrive(), "the places that became free are not given on");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long() {
        let (places, metrics) = places(1, 1);
        let _held = places.take().await.unwrap();
        let begun = tokio::time::Instant::now();
        assert!(places.take().await.is_none());
        assert_eq!((begun.elapsed(), metrics.refused.get(), metrics.open.get()), (WAIT, 1, 1));
        // Who waited in vain leaves room for others to wait.
        assert_eq!(places.waiting.available_permits(), 1);
    }
}
