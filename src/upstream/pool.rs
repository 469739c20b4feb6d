//! The processes of a class, and the choice among them.
//!
//! With a key the choice is rendezvous hashing: every process is ranked for the key, the highest healthy one serves it,
//! so that a process that comes or goes moves only its own share. Without a key the process with the fewest requests in
//! flight serves it. If no process is healthy all count as healthy: a check that is wrong must not close a pool.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::route::Key;

use super::{Backend, ConnectionTimes, Limits, PoolSettings};

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
}

/// The places, in a pool, of the processes that a request was already sent to. A pool's 65th process and those behind
/// it are never marked, and so may be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Tried {
    fn contains(self, place: usize) -> bool {
        place < 64 && self.0 & (1 << place) != 0
    }

    fn insert(&mut self, place: usize) {
        if place < 64 {
            self.0 |= 1 << place;
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

    /// Chooses a process that was not tried yet, and marks it as tried. `None` when all were.
    pub fn choose(&self, key: Option<Key>, tried: &mut Tried) -> Option<Arc<Backend>> {
        let place = self.best(key, |place| !tried.contains(place) && self.backends[place].is_healthy());
        let place = place.or_else(|| self.best(key, |place| !tried.contains(place)))?;
        tried.insert(place);
        Some(Arc::clone(&self.backends[place]))
    }

    fn best(&self, key: Option<Key>, may_serve: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.backends.len();
        match key {
            Some(key) => {
                let candidates = (0..count).filter(|place| may_serve(*place));
                candidates.max_by_key(|place| key.rank(self.backends[*place].seed()))
            }
            None => {
                let start = self.turn.fetch_add(1, Ordering::Relaxed);
                let candidates = (0..count).map(|step| (start.wrapping_add(step)) % count);
                candidates.filter(|place| may_serve(*place)).min_by_key(|place| self.backends[*place].in_flight())
            }
        }
    }
}

impl Pools {
    /// Builds the pools. A process that several pools name by one address is one process.
    pub fn new(settings: &[PoolSettings], times: ConnectionTimes, limits: Limits) -> Self {
        let mut known: BTreeMap<String, Arc<Backend>> = BTreeMap::new();
        let pools = settings.iter().map(|pool| Pool {
            name: pool.name.as_str().into(),
            backends: pool
                .backends
                .iter()
                .map(|backend| {
                    let known = known.entry(backend.address.to_string());
                    Arc::clone(known.or_insert_with(|| Arc::new(Backend::new(backend, times, limits))))
                })
                .collect(),
            turn: AtomicUsize::new(0),
        });
        let pools = pools.collect();
        Pools { pools, backends: known.into_values().collect() }
    }

    /// The pool at a place of [`Pools::all`].
    pub fn at(&self, place: usize) -> Option<&Pool> {
        self.pools.get(place)
    }

    /// The pools in the order of their settings.
    pub fn all(&self) -> &[Pool] {
        &self.pools
    }

    /// Every process once.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }
}

#[cfg(test)]
mod tests {
    use super::super::BackendSettings;
    use super::*;

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
        pools.all()[0].choose(Some(key), &mut Tried::default()).unwrap().address().to_string()
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
    fn an_unhealthy_process_is_passed_over_unless_all_are() {
        let pools = pool_of(&[1, 2]);
        let pool = &pools.all()[0];
        pool.backends()[0].set_healthy(false);
        for number in 0..50 {
            assert_eq!(served_by(&pools, number), "127.0.0.1:2");
            assert_eq!(pool.choose(None, &mut Tried::default()).unwrap().address().to_string(), "127.0.0.1:2");
        }
        pool.backends()[1].set_healthy(false);
        assert!(pool.choose(None, &mut Tried::default()).is_some());
    }

    #[test]
    fn no_process_is_tried_twice() {
        let pools = pool_of(&[1, 2, 3]);
        let mut tried = Tried::default();
        let key = Some(Key::of_bytes(b"room"));
        let mut seen: Vec<String> = Vec::new();
        while let Some(backend) = pools.all()[0].choose(key, &mut tried) {
            seen.push(backend.address().to_string());
        }
        seen.sort();
        assert_eq!(seen, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
    }

    #[tokio::test]
    async fn without_a_key_the_least_busy_serves_and_equals_take_turns() {
        let pools = pool_of(&[1, 2]);
        let pool = &pools.all()[0];
        let busy = pool.backends()[0].lease().await.unwrap();
        let chosen = |pool: &Pool| pool.choose(None, &mut Tried::default()).unwrap().address().to_string();
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
