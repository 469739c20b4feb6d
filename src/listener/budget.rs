//! How many connections the limit of open descriptors allows, so that descriptors never run out.
//!
//! A client's connection needs a descriptor, and another one while Synapse answers it. What everything else needs is set
//! aside first; half of the rest is the bound on clients. What they leave is the bound on requests, of which an HTTP/2
//! client has many at once, each with a connection to Synapse. Pure: the limit is passed in.

use std::time::Duration;

/// A limit below this is worth a warning: each client's app holds a connection or two.
pub const COMFORTABLE_LIMIT: u64 = 4096;
/// The fewest clients that dendron serves, however low the limit.
pub const CONNECTIONS_MIN: usize = 16;
/// The most clients that can connect to the admin listener at once.
pub const ADMIN_CONNECTIONS: usize = 32;
/// The most connections that are accepted beyond those that will get a place, until they are told that there is none.
pub const ARRIVED_MAX: usize = 32;
/// How long a connection waits for a place.
pub const WAIT: Duration = Duration::from_secs(2);

/// The standard streams, the access log, files that are being read, and name look-ups.
const PROGRAM: usize = 40;
/// A listener's socket, and its service's event queue.
const PER_LISTENER: usize = 8;
/// A process's health check.
const PER_PROCESS: usize = 2;
/// The pipes of a process that dendron started, its socket, and the checks of its readiness.
const PER_SUPERVISED: usize = 8;
/// The most connections that wait for a place.
const WAITING_MAX: usize = 64;
/// The most idle connections to Synapse, of all listeners together.
const IDLE_MAX: usize = 4096;
/// The part of the limit that idle connections to Synapse may take: an eighth.
const IDLE_SHARE: usize = 8;

/// What has descriptors besides the clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Listeners, the admin listener among them.
    pub listeners: usize,
    /// Processes of Synapse that are checked.
    pub processes: usize,
    /// Processes that dendron starts.
    pub supervised: usize,
}

/// How the descriptors are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most connections of clients.
    pub connections: usize,
    /// The most further ones that wait for a place.
    pub waiting: usize,
    /// The most idle connections to Synapse.
    pub idle: usize,
    /// The most requests that have a connection to Synapse at once.
    pub requests: usize,
}

impl Budget {
    /// Divides `limit` descriptors. `max` is the administrator's own bound, which can only lower the derived one.
    pub fn new(limit: u64, needs: Needs, max: Option<usize>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let idle = (limit / IDLE_SHARE).clamp(1, IDLE_MAX);
        let waiting = (limit / 32).clamp(1, WAITING_MAX);
        let rest = limit.saturating_sub(fixed(needs) + idle + waiting);
        let derived = rest / 2;
        let connections =
            max.map_or(derived, |max| max.min(derived)).max(CONNECTIONS_MIN.min(max.unwrap_or(usize::MAX)));
        let requests = rest.saturating_sub(connections).max(CONNECTIONS_MIN);
        Budget { connections, waiting, idle, requests }
    }
}

fn fixed(needs: Needs) -> usize {
    let parts = [
        PROGRAM + ADMIN_CONNECTIONS + 2 * ARRIVED_MAX,
        needs.listeners * PER_LISTENER,
        needs.processes * PER_PROCESS,
        needs.supervised * PER_SUPERVISED,
    ];
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs { listeners: 3, processes: 10, supervised: 10 };

    #[test]
    fn the_bound_follows_from_the_limit() {
        let table = [
            // (limit, the administrator's bound, expected)
            (1024, None, Budget { connections: 302, waiting: 32, idle: 128, requests: 302 }),
            // Fewer clients may have more requests each.
            (1024, Some(100), Budget { connections: 100, waiting: 32, idle: 128, requests: 504 }),
            (1024, Some(5), Budget { connections: 5, waiting: 32, idle: 128, requests: 599 }),
            // The administrator cannot have more than there is.
            (1024, Some(100_000), Budget { connections: 302, waiting: 32, idle: 128, requests: 302 }),
            (65_536, None, Budget { connections: 30_558, waiting: 64, idle: 4096, requests: 30_558 }),
            // A few are served even where nothing is left.
            (64, None, Budget { connections: CONNECTIONS_MIN, waiting: 2, idle: 8, requests: CONNECTIONS_MIN }),
            (0, None, Budget { connections: CONNECTIONS_MIN, waiting: 1, idle: 1, requests: CONNECTIONS_MIN }),
        ];
        for (limit, max, expected) in table {
            assert_eq!(Budget::new(limit, NEEDS, max), expected, "{limit} {max:?}");
        }
        assert!(Budget::new(u64::MAX, NEEDS, None).connections > 1 << 40);
    }

    #[test]
    fn all_together_stay_below_the_limit() {
        let limits = [512, 1000, 1024, 4096, 65_536, 1_048_576];
        for (limit, max) in limits.into_iter().flat_map(|limit| [(limit, None), (limit, Some(50))]) {
            let budget = Budget::new(limit, NEEDS, max);
            let all = fixed(NEEDS) + budget.idle + budget.waiting + budget.connections + budget.requests;
            assert!(all as u64 <= limit, "{all} of {limit}");
        }
    }
}
