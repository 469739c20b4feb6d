//! The connections to Synapse that requests may have open at once, over all processes together.
//!
//! A process has a bound of its own ([`super::Limits`]), but the descriptors are dendron's: the many streams of HTTP/2
//! clients have a connection to Synapse each, whichever process that is. So every request takes one of these as well,
//! after its place at the process: whoever waits at a process holds none, and whoever holds one waits for nothing more.
//! The line for them is as fair between classes as the one at a process.

use std::sync::Arc;

use super::queue::{Place, Queue};
use super::{Backend, Lease, LeaseError, Limits};
use crate::endpoint::Class;

/// The connections of all requests.
#[derive(Debug)]
pub struct Connections {
    count: usize,
    queue: Arc<Queue>,
}

/// A request's place at a process, and the connection that it may have to it. Both are given back when it is dropped.
#[derive(Debug)]
pub struct Granted {
    lease: Lease,
    _connection: Place,
}

impl Connections {
    /// So many connections as these limits have requests in flight, all of them free.
    pub fn new(limits: Limits) -> Self {
        Connections { count: limits.in_flight, queue: Arc::new(Queue::new(limits)) }
    }

    /// How many there may be.
    pub fn limit(&self) -> usize {
        self.count
    }

    /// How many requests have one.
    pub fn open(&self) -> usize {
        self.queue.held()
    }

    /// How many requests wait for one.
    pub fn queued(&self) -> usize {
        self.queue.waiting()
    }

    /// A place at a process and a connection to it for a request of this class, each at once if it is free, else after
    /// waiting.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when too many wait already, or the wait was too long.
    pub async fn grant(&self, backend: &Arc<Backend>, class: Class) -> Result<Granted, LeaseError> {
        let lease = backend.lease(class).await?;
        Ok(Granted { lease, _connection: self.queue.place(class).await? })
    }
}

impl Granted {
    /// The process.
    pub fn backend(&self) -> &Arc<Backend> {
        self.lease.backend()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::{JoinHandle, yield_now};

    use super::super::{BackendSettings, ConnectionTimes};
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn limits(in_flight: usize, queued: usize) -> Limits {
        Limits { in_flight, queued, wait: WAIT }
    }

    fn connections(count: usize, queued: usize) -> Arc<Connections> {
        Arc::new(Connections::new(limits(count, queued)))
    }

    fn backend(port: u16, limits: Limits) -> Arc<Backend> {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        Arc::new(Backend::new(&BackendSettings { name: port.to_string(), address }, ConnectionTimes::default(), limits))
    }

    type Waiting = JoinHandle<Result<Granted, LeaseError>>;

    fn waiting(connections: &Arc<Connections>, backend: &Arc<Backend>, class: Class) -> Waiting {
        let (connections, backend) = (Arc::clone(connections), Arc::clone(backend));
        tokio::spawn(async move { connections.grant(&backend, class).await })
    }

    #[tokio::test(start_paused = true)]
    async fn all_processes_share_one_bound() {
        let connections = connections(2, 1);
        let [one, other] = [1, 2].map(|port| backend(port, Limits::default()));
        let first = connections.grant(&one, Class::Login).await.unwrap();
        let second = connections.grant(&other, Class::Sync).await.unwrap();
        let waiter = waiting(&connections, &one, Class::Login);
        yield_now().await;
        assert_eq!((connections.queued(), connections.open(), one.in_flight()), (1, 2, 2));
        assert_eq!(connections.grant(&other, Class::Login).await.map(drop).unwrap_err(), LeaseError::QueueFull);
        assert_eq!((connections.queued(), other.in_flight()), (1, 1), "who was refused keeps nothing");
        drop((first, second));
        let third = waiter.await.unwrap().unwrap();
        assert_eq!((connections.queued(), Arc::ptr_eq(third.backend(), &one)), (0, true));
        drop(third);
        assert_eq!((one.in_flight(), other.in_flight(), connections.open()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_and_who_goes_leaves_the_line() {
        let connections = connections(1, 1);
        let backend = backend(1, Limits::default());
        let _held = connections.grant(&backend, Class::Login).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(connections.grant(&backend, Class::Login).await.map(drop).unwrap_err(), LeaseError::Waited);
        assert_eq!((begun.elapsed(), connections.queued(), backend.in_flight()), (WAIT, 0, 1));
        let gone = tokio::time::timeout(WAIT / 2, connections.grant(&backend, Class::Login)).await;
        assert!(gone.is_err());
        assert_eq!((connections.queued(), backend.in_flight()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_a_busy_process_holds_no_connection() {
        let connections = connections(2, 1);
        let [busy, free] = [backend(1, limits(1, 10)), backend(2, Limits::default())];
        let _held = connections.grant(&busy, Class::Login).await.unwrap();
        let waiters: Vec<Waiting> = (0..5).map(|_| waiting(&connections, &busy, Class::Login)).collect();
        yield_now().await;
        assert_eq!((busy.queued(), connections.open()), (5, 1));
        assert!(connections.grant(&free, Class::Sync).await.is_ok());
        waiters.into_iter().for_each(|waiter| waiter.abort());
    }
}
