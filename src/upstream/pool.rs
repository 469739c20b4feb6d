//! The processes of a class, and the choice among them.
//!
//! With a key the choice is rendezvous hashing: every process is ranked for the key, the highest one in service serves
//! it, so that a process that comes or goes moves only its own share. Without a key the process with the fewest requests
//! in flight serves it. If nobody is in service anybody is tried: a check that is wrong must not close a pool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::endpoint::Class;
use crate::route::Key;
use crate::route::rules::health_path;

use super::{Backend, ConnectionTimes, Connections, Fault, Granted, LeaseError, Limits, PoolSettings};

/// The processes of a class.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    backends: Vec<Arc<Backend>>,
    /// Where the search for the least busy process starts, so that equals take turns.
    turn: AtomicUsize,
}

/// Every pool. Cloning it clones handles.
#[derive(Clone, Debug)]
pub struct Pools {
    pools: Arc<[Pool]>,
    backends: Arc<[Arc<Backend>]>,
    connections: Arc<Connections>,
}

/// The processes that a request has failed at, whatever pool they were chosen from. Empty, and without any memory, for
/// nearly every request.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<Arc<Backend>>);

impl Tried {
    /// Whether the request has failed at this process.
    pub fn contains(&self, backend: &Arc<Backend>) -> bool {
        self.0.iter().any(|tried| Arc::ptr_eq(tried, backend))
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds a process.
    pub fn insert(&mut self, backend: &Arc<Backend>) {
        if !self.contains(backend) {
            self.0.push(Arc::clone(backend));
        }
    }
}

impl Pool {
    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its processes, in the configuration's order.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Chooses a process that is in service and was not tried yet. `None` when there is none.
    pub fn choose(&self, key: Option<Key>, tried: &Tried, now: Instant) -> Option<Arc<Backend>> {
        self.best(key, |backend| backend.is_in_service(now) && !tried.contains(backend))
    }

    /// Chooses a process that was not tried yet, in service or not. `None` when all were.
    pub fn choose_any(&self, key: Option<Key>, tried: &Tried) -> Option<Arc<Backend>> {
        self.best(key, |backend| !tried.contains(backend))
    }

    /// Whether the checks find any of its processes answering.
    pub fn is_healthy(&self) -> bool {
        self.backends.iter().any(|backend| backend.is_healthy())
    }

    fn best(&self, key: Option<Key>, may_serve: impl Fn(&Arc<Backend>) -> bool) -> Option<Arc<Backend>> {
        let best = match key {
            Some(key) => {
                let candidates = self.backends.iter().filter(|backend| may_serve(backend));
                candidates.max_by_key(|backend| key.rank(backend.seed()))
            }
            None => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.backends.len())?;
                let (before, from) = self.backends.split_at(turn);
                let candidates = from.iter().chain(before).filter(|backend| may_serve(backend));
                candidates.min_by_key(|backend| backend.in_flight())
            }
        };
        best.cloned()
    }
}

impl Pools {
    /// Builds the pools. A process that several pools name by one address is one process.
    pub fn new(settings: &[PoolSettings], times: ConnectionTimes, limits: Limits) -> Self {
        let mut known: BTreeMap<String, Arc<Backend>> = BTreeMap::new();
        let made = |backend, pool: &str| Backend::new(backend, times, limits).checked_at(health_path(pool));
        let pools = settings.iter().map(|pool| Pool {
            name: pool.name.as_str().into(),
            backends: pool
                .backends
                .iter()
                .map(|backend| {
                    let known = known.entry(backend.address.to_string());
                    Arc::clone(known.or_insert_with(|| Arc::new(made(backend, &pool.name))))
                })
                .collect(),
            turn: AtomicUsize::new(0),
        });
        let pools = pools.collect();
        let connections = Arc::new(Connections::new(Limits { in_flight: usize::MAX, ..limits }));
        Pools { pools, backends: known.into_values().collect(), connections }
    }

    /// The same pools with a bound on the requests in flight at all processes together. Without it there is none.
    pub fn bounded(self, limits: Limits) -> Self {
        Pools { connections: Arc::new(Connections::new(limits)), ..self }
    }

    /// The same pools, which keep so many connections in all for questions that need no session.
    pub fn keeping(self, most: usize) -> Self {
        let each = most / self.backends.len().max(1);
        self.backends.iter().for_each(|backend| backend.limit_kept(each));
        self
    }

    /// The connections of all requests.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// A place at a process for a request of this class.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when none becomes free.
    pub async fn grant(&self, backend: &Arc<Backend>, class: Class) -> Result<Granted, LeaseError> {
        self.connections.grant(backend, class).await
    }

    /// The pool at a place of [`Pools::all`].
    pub fn at(&self, place: usize) -> Option<&Pool> {
        self.pools.get(place)
    }

    /// The pool of this name.
    pub fn named(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| &**pool.name() == name)
    }

    /// The pools in the order of their settings.
    pub fn all(&self) -> &[Pool] {
        &self.pools
    }

    /// Every process once.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Takes note that a request has failed at a process, and ejects the process if that was once too often, but never
    /// the last one in service of any pool that it is in.
    pub fn failed(&self, backend: &Arc<Backend>, fault: Fault, now: Instant) {
        if backend.failed(fault, now) && self.can_spare(backend, now) {
            backend.eject(now);
            let (process, address) = (backend.name(), backend.address());
            tracing::warn!(%process, %address, reason = fault.name(), "ejected");
        }
    }

    fn can_spare(&self, backend: &Arc<Backend>, now: Instant) -> bool {
        let own = self.pools.iter().filter(|pool| pool.backends.iter().any(|other| Arc::ptr_eq(other, backend)));
        let others_serve = |pool: &Pool| {
            let mut others = pool.backends.iter().filter(|other| !Arc::ptr_eq(other, backend));
            others.any(|other| other.is_in_service(now))
        };
        own.into_iter().all(others_serve)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, BackendSettings};
    use super::*;
    use crate::endpoint::Class;

    fn pool_of(ports: &[u16]) -> Pools {
        let backends = ports.iter().map(|port| BackendSettings {
            name: format!("worker{port}"),
            address: format!("127.0.0.1:{port}").parse().unwrap(),
        });
        let settings = PoolSettings { name: "sync".to_owned(), backends: backends.collect() };
        Pools::new(&[settings], ConnectionTimes::default(), Limits::default())
    }

    fn served_by(pools: &Pools, number: u32) -> String {
        let key = Key::of_bytes(&number.to_le_bytes());
        pools.all()[0].choose(Some(key), &Tried::default(), Instant::now()).unwrap().address().to_string()
    }

    #[test]
    fn a_process_that_goes_moves_only_its_own_share() {
        let (whole, less) = (pool_of(&[1, 2, 3, 4]), pool_of(&[1, 2, 4]));
        let mut moved = 0;
        for number in 0..2_000 {
            let (before, after) = (served_by(&whole, number), served_by(&less, number));
            if before == "127.0.0.1:3" {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((400..600).contains(&moved), "{moved} of 2000 keys were at the process that went");
    }

    #[test]
    fn the_order_of_a_pool_does_not_matter_to_its_keys() {
        let (one, other) = (pool_of(&[1, 2, 3]), pool_of(&[3, 1, 2]));
        assert!((0..100).all(|number| served_by(&one, number) == served_by(&other, number)));
    }

    #[test]
    fn who_is_out_of_service_is_passed_over() {
        let now = Instant::now();
        let takes_out: [fn(&Backend, Instant); 2] =
            [|backend, _| _ = backend.set_healthy(false), |backend, now| backend.eject(now)];
        for take_out in takes_out {
            let pools = pool_of(&[1, 2]);
            let pool = &pools.all()[0];
            take_out(&pool.backends()[0], now);
            for number in 0..50 {
                let key = Some(Key::of_bytes(&[number]));
                for key in [key, None] {
                    let chosen = pool.choose(key, &Tried::default(), now).unwrap();
                    assert_eq!(chosen.address().to_string(), "127.0.0.1:2");
                }
            }
            take_out(&pool.backends()[1], now);
            assert!(pool.choose(None, &Tried::default(), now).is_none());
            assert!(pool.choose_any(None, &Tried::default()).is_some());
        }
    }

    #[test]
    fn no_process_is_tried_twice() {
        let pools = pool_of(&[1, 2, 3]);
        let mut tried = Tried::default();
        let key = Some(Key::of_bytes(b"room"));
        let mut seen: Vec<String> = Vec::new();
        while let Some(backend) = pools.all()[0].choose(key, &tried, Instant::now()) {
            tried.insert(&backend);
            seen.push(backend.address().to_string());
        }
        assert!(pools.all()[0].choose_any(key, &tried).is_none());
        seen.sort();
        assert_eq!(seen, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
    }

    #[test]
    fn the_last_process_of_a_pool_is_never_ejected() {
        let backend = |port: u16| BackendSettings {
            name: format!("worker{port}"),
            address: format!("127.0.0.1:{port}").parse().unwrap(),
        };
        let pool = |name: &str, ports: &[u16]| PoolSettings {
            name: name.to_owned(),
            backends: ports.iter().map(|port| backend(*port)).collect(),
        };
        // The ports of two pools, those that fail one after the other, and those that are out in the end.
        let table = [
            (&[1][..], &[][..], &[1][..], &[][..]),
            (&[1, 2], &[], &[1], &[1]),
            (&[1, 2], &[], &[1, 2], &[1]),
            (&[1, 2, 3], &[], &[3, 2, 1], &[2, 3]),
            (&[1, 2], &[2], &[2, 1], &[1]),
        ];
        for (one, other, fail, expected) in table {
            let settings = [pool("sync", one), pool("generic", other)];
            let pools = Pools::new(&settings, ConnectionTimes::default(), Limits::default());
            let now = Instant::now();
            let at =
                |port: u16| pools.backends().iter().find(|known| known.address() == &backend(port).address).unwrap();
            for port in fail {
                (0..10).for_each(|_| pools.failed(at(*port), Fault::Refused, now));
            }
            let out = pools.backends().iter().filter(|known| !known.is_in_service(now));
            let expected: Vec<&Address> = expected.iter().map(|port| at(*port).address()).collect();
            assert_eq!(
                out.map(|known| known.address()).collect::<Vec<_>>(),
                expected,
                "{fail:?} of {one:?}, {other:?}"
            );
            let ejections: u64 = pools.backends().iter().map(|known| known.ejections()).sum();
            assert_eq!(ejections, expected.len() as u64, "{fail:?} of {one:?}, {other:?}");
        }
    }

    #[tokio::test]
    async fn without_a_key_the_least_busy_serves_and_equals_take_turns() {
        let pools = pool_of(&[1, 2]);
        let pool = &pools.all()[0];
        let busy = pool.backends()[0].lease(Class::Login).await.unwrap();
        let chosen = |pool: &Pool| pool.choose(None, &Tried::default(), Instant::now()).unwrap().address().to_string();
        assert_eq!((chosen(pool), chosen(pool)), ("127.0.0.1:2".to_owned(), "127.0.0.1:2".to_owned()));
        drop(busy);
        assert_ne!(chosen(pool), chosen(pool));
    }

    #[test]
    fn a_process_in_two_pools_is_one_process() {
        let backend = BackendSettings { name: "main".to_owned(), address: "127.0.0.1:1".parse().unwrap() };
        let named = |name: &str| PoolSettings { name: name.to_owned(), backends: vec![backend.clone()] };
        let pools = Pools::new(&[named("main"), named("media")], ConnectionTimes::default(), Limits::default());
        assert_eq!(pools.backends().len(), 1);
        assert!(Arc::ptr_eq(&pools.all()[0].backends()[0], &pools.all()[1].backends()[0]));
    }
}
