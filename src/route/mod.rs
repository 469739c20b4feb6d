//! Endpoint and caller → pool, balancing key and patience.
//!
//! - [`rules`]: the table, one row a class.
//! - [`key`]: the balancing key.
//!
//! Not here: which process of the pool is taken (`upstream`), and anything that waits.

pub mod key;
pub mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::endpoint::Class;
use crate::query::query_value;

pub use key::Key;
pub use rules::{KeyKind, Patience, Rule};

/// Where the requests of each class go, resolved against the pools that exist.
#[derive(Clone, Debug)]
pub struct Routes {
    by_class: Vec<ClassRoute>,
}

/// One class's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassRoute {
    /// The class.
    pub class: Class,
    /// The pool's place among the pools that the routes were made for.
    pub pool: usize,
    /// What the class is balanced by.
    pub key: KeyKind,
    /// How long Synapse may take.
    pub patience: Patience,
    /// The place of `main`, where it may serve the class while nobody of the pool is alive.
    pub fallback: Option<usize>,
}

/// Why no routes can be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no pool \"main\"")]
pub struct NoMainPool;

impl Routes {
    /// Resolves the table of rules against the names of the pools that exist. `patience` replaces the table's for the
    /// classes that it names; for the classes of `main_lacks`, main has no listener and stands in for nobody.
    ///
    /// # Errors
    ///
    /// [`NoMainPool`], because every class may end there.
    pub fn new(
        pool_names: &[&str],
        patience: &BTreeMap<Class, Duration>,
        main_lacks: &BTreeSet<Class>,
    ) -> Result<Self, NoMainPool> {
        let place_of = |wanted: &&str| pool_names.iter().position(|name| name == wanted);
        let main = place_of(&rules::MAIN).ok_or(NoMainPool)?;
        let by_class = rules::RULES.iter().map(|rule| {
            let pool = rule.pools.iter().find_map(place_of).ok_or(NoMainPool)?;
            let patience = match (patience.get(&rule.class), rule.patience) {
                (None, patience) => patience,
                (Some(margin), Patience::Poll { .. }) => Patience::Poll { margin: *margin, least: *margin },
                (Some(silence), Patience::Silence(_)) => Patience::Silence(*silence),
            };
            let may_stand_in = rule.fallback && !main_lacks.contains(&rule.class);
            let fallback = (may_stand_in && pool != main).then_some(main);
            Ok(ClassRoute { class: rule.class, pool, key: rule.key, patience, fallback })
        });
        Ok(Routes { by_class: by_class.collect::<Result<_, _>>()? })
    }

    /// The way of a class.
    pub fn of(&self, class: Class) -> &ClassRoute {
        &self.by_class[class.index()]
    }

    /// Every class's way, in the order of [`Class::ALL`].
    pub fn all(&self) -> &[ClassRoute] {
        &self.by_class
    }
}

/// How long a sync asks to wait: its `timeout` parameter in milliseconds, bounded by [`rules::POLL_MAX`].
pub fn poll_timeout(query: Option<&str>) -> Option<Duration> {
    let value = query_value(query?, "timeout")?;
    let milliseconds: u64 = value.parse().ok()?;
    Some(Duration::from_millis(milliseconds).min(rules::POLL_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_of(pools: &[&'static str], class: Class) -> &'static str {
        let routes = Routes::new(pools, &BTreeMap::new(), &BTreeSet::new()).unwrap();
        pools[routes.of(class).pool]
    }

    #[test]
    fn a_class_goes_to_the_first_of_its_pools_that_exists() {
        let table = [
            (&["main"][..], Class::Sync, "main"),
            (&["main", "sync"], Class::Sync, "sync"),
            (&["main", "sync"], Class::InitialSync, "sync"),
            (&["main", "sync"], Class::EventSend, "main"),
            (&["generic", "main", "sync"], Class::EventSend, "generic"),
            (&["generic", "main"], Class::Typing, "main"),
            (&["generic", "main", "typing"], Class::Typing, "typing"),
            (&["generic", "main"], Class::FederationTransaction, "main"),
            (&["federation", "main"], Class::FederationTransaction, "federation"),
            (&["generic", "main"], Class::Main, "main"),
        ];
        for (pools, class, expected) in table {
            assert_eq!(pool_of(pools, class), expected, "{pools:?} {class:?}");
        }
    }

    #[test]
    fn a_class_falls_back_to_main_from_another_pool_if_it_may() {
        let main_lacks = BTreeSet::from([Class::FederationRead]);
        let pools = ["sync", "media", "main", "federation"];
        let routes = Routes::new(&pools, &BTreeMap::new(), &main_lacks).unwrap();
        let table = [
            (Class::Sync, Some(2)),
            (Class::Media, None),
            (Class::EventSend, None),
            (Class::Main, None),
            (Class::FederationRead, None),
            (Class::FederationTransaction, Some(2)),
        ];
        for (class, expected) in table {
            assert_eq!(routes.of(class).fallback, expected, "{class:?}");
        }
    }

    #[test]
    fn without_main_there_are_no_routes() {
        assert_eq!(Routes::new(&["sync"], &BTreeMap::new(), &BTreeSet::new()).unwrap_err(), NoMainPool);
    }

    #[test]
    fn a_poll_timeout_is_read_and_bounded() {
        let table = [
            (Some("timeout=30000&since=s1"), Some(Duration::from_secs(30))),
            (Some("since=s1"), None),
            (Some("timeout=-1"), None),
            (Some("timeout=99999999999999"), Some(rules::POLL_MAX)),
            (None, None),
        ];
        for (query, expected) in table {
            assert_eq!(poll_timeout(query), expected, "{query:?}");
        }
    }
}
