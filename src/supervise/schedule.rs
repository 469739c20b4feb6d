//! Which process is started, ended or killed when: a pure state machine that is handed the time.
//!
//! Main goes first; workers follow when main has been ready once. A worker is not touched when main dies later: Synapse's
//! workers connect again by themselves. No process is ended because it looks ill: who gets requests is decided by the
//! health checks of `upstream`, and ending a slow process would only add to the load.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// After this long without being ready a process is reported as slow, and no longer holds others back. It is generous
/// because Synapse's main process brings its database up to date before it listens.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The wait before the first restart; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest wait before a restart.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A process that ran this long was well: its next restart is a first one again.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// What a process is doing, as the status page and the metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// Not started yet: it waits for main, or for its turn.
    Waiting,
    /// Running, and not ready yet.
    Starting,
    /// Running, and serving requests by its own word and its health.
    Ready,
    /// It died, and waits to be started again.
    Backoff,
    /// Running, and ending.
    Stopping,
    /// Gone, and not started again.
    Stopped,
}

/// What is to be done to the process with this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start it.
    Start(usize),
    /// Ask it to end.
    Terminate(usize),
    /// It did not end in time: kill it.
    Kill(usize),
    /// It is not ready after [`START_TIMEOUT`]: tell the administrator.
    ReportSlow(usize),
}

/// The state of every process.
#[derive(Debug)]
pub(super) struct Schedule {
    entries: Vec<Entry>,
    /// How many processes may be starting at a time: each of them fills a core for seconds.
    starting_limit: usize,
    stop_timeout: Duration,
    /// Set when main has been ready once, and never taken back.
    workers_may_start: bool,
    stopping: bool,
}

#[derive(Debug)]
struct Entry {
    main: bool,
    phase: Phase,
    /// How often it died early in a row, which decides the next wait.
    failures: u32,
    restarts: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting,
    Starting {
        started: Instant,
        slow: bool,
    },
    Ready {
        started: Instant,
    },
    /// It said by itself that it is ending.
    Leaving {
        started: Instant,
    },
    Backoff {
        until: Instant,
    },
    /// It was asked to end.
    Ending {
        kill_at: Instant,
    },
    Killed,
    Stopped,
}

impl ProcessState {
    /// Every state, for the metrics.
    pub const ALL: [ProcessState; 6] = [
        ProcessState::Waiting,
        ProcessState::Starting,
        ProcessState::Ready,
        ProcessState::Backoff,
        ProcessState::Stopping,
        ProcessState::Stopped,
    ];

    /// The state's name in the status and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            ProcessState::Waiting => "waiting",
            ProcessState::Starting => "starting",
            ProcessState::Ready => "ready",
            ProcessState::Backoff => "backoff",
            ProcessState::Stopping => "stopping",
            ProcessState::Stopped => "stopped",
        }
    }
}

impl Schedule {
    /// A schedule in which nothing runs yet; `mains` says for each process whether it is a main process.
    pub(super) fn new(mains: impl IntoIterator<Item = bool>, starting_limit: usize, stop_timeout: Duration) -> Self {
        let entry = |main| Entry { main, phase: Phase::Waiting, failures: 0, restarts: 0 };
        let entries: Vec<Entry> = mains.into_iter().map(entry).collect();
        // Where Synapse's main process is run by somebody else there is nothing to wait for.
        let workers_may_start = !entries.iter().any(|entry| entry.main);
        Schedule { entries, starting_limit: starting_limit.max(1), stop_timeout, workers_may_start, stopping: false }
    }

    /// What is to be done now. Each action is given once, and is taken as done.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Action> {
        if self.stopping { self.stop_actions(now) } else { self.start_actions(now) }
    }

    /// When [`Self::poll`] has something to do next if nothing else happens before.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let deadlines = self.entries.iter().filter_map(|entry| match entry.phase {
            Phase::Starting { started, slow: false } if !self.stopping => Some(started + START_TIMEOUT),
            Phase::Backoff { until } => Some(until),
            Phase::Ending { kill_at } => Some(kill_at),
            _ => None,
        });
        // One that is past waits for its turn, and gets it by another's event.
        deadlines.filter(|deadline| *deadline > now).min()
    }

    /// The process serves requests.
    pub(super) fn ready(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index)
            && let Phase::Starting { started, .. } = entry.phase
        {
            entry.phase = Phase::Ready { started };
        }
        let main_is_ready = |entry: &Entry| !entry.main || matches!(entry.phase, Phase::Ready { .. });
        self.workers_may_start |= self.entries.iter().all(main_is_ready);
    }

    /// The process says that it is ending, without having been asked to by the supervisor.
    pub(super) fn leaving(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index)
            && let Phase::Starting { started, .. } | Phase::Ready { started } = entry.phase
        {
            entry.phase = Phase::Leaving { started };
        }
    }

    /// The process is gone, or could not be started. Says how long it waits until it is started again, if it is.
    pub(super) fn exited(&mut self, index: usize, now: Instant) -> Option<Duration> {
        let entry = self.entries.get_mut(index)?;
        if self.stopping {
            entry.phase = Phase::Stopped;
            return None;
        }
        let (Phase::Starting { started, .. } | Phase::Ready { started } | Phase::Leaving { started }) = entry.phase
        else {
            return None;
        };
        if now.saturating_duration_since(started) >= STEADY_AFTER {
            entry.failures = 0;
        }
        let delay = delay_after(entry.failures);
        entry.failures = entry.failures.saturating_add(1);
        entry.phase = Phase::Backoff { until: now + delay };
        Some(delay)
    }

    /// Everything is to end, and nothing is started any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for entry in &mut self.entries {
            if matches!(entry.phase, Phase::Waiting | Phase::Backoff { .. }) {
                entry.phase = Phase::Stopped;
            }
        }
    }

    /// Whether everything has been stopped, and is gone.
    pub(super) fn finished(&self) -> bool {
        self.stopping && self.entries.iter().all(|entry| matches!(entry.phase, Phase::Stopped))
    }

    /// What the process is doing.
    pub(super) fn state(&self, index: usize) -> ProcessState {
        match self.entries.get(index).map(|entry| entry.phase) {
            Some(Phase::Waiting) => ProcessState::Waiting,
            Some(Phase::Starting { .. }) => ProcessState::Starting,
            Some(Phase::Ready { .. }) => ProcessState::Ready,
            Some(Phase::Backoff { .. }) => ProcessState::Backoff,
            Some(Phase::Leaving { .. } | Phase::Ending { .. } | Phase::Killed) => ProcessState::Stopping,
            Some(Phase::Stopped) | None => ProcessState::Stopped,
        }
    }

    /// How often the process was started again.
    pub(super) fn restarts(&self, index: usize) -> u64 {
        self.entries.get(index).map_or(0, |entry| entry.restarts)
    }

    fn start_actions(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if let Phase::Starting { started, slow: slow @ false } = &mut entry.phase
                && *started + START_TIMEOUT <= now
            {
                *slow = true;
                actions.push(Action::ReportSlow(index));
            }
        }
        let is_starting = |entry: &&Entry| matches!(entry.phase, Phase::Starting { slow: false, .. });
        let mut starting = self.entries.iter().filter(is_starting).count();
        for main in [true, false] {
            for (index, entry) in self.entries.iter_mut().enumerate().filter(|(_, entry)| entry.main == main) {
                let due = match entry.phase {
                    Phase::Waiting => main || self.workers_may_start,
                    Phase::Backoff { until } => until <= now,
                    _ => false,
                };
                if due && (main || starting < self.starting_limit) {
                    entry.restarts += u64::from(matches!(entry.phase, Phase::Backoff { .. }));
                    entry.phase = Phase::Starting { started: now, slow: false };
                    starting += 1;
                    actions.push(Action::Start(index));
                }
            }
        }
        actions
    }

    fn stop_actions(&mut self, now: Instant) -> Vec<Action> {
        let workers_are_gone = self.entries.iter().all(|entry| entry.main || matches!(entry.phase, Phase::Stopped));
        let mut actions = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            match entry.phase {
                Phase::Starting { .. } | Phase::Ready { .. } | Phase::Leaving { .. }
                    if !entry.main || workers_are_gone =>
                {
                    entry.phase = Phase::Ending { kill_at: now + self.stop_timeout };
                    actions.push(Action::Terminate(index));
                }
                Phase::Ending { kill_at } if kill_at <= now => {
                    entry.phase = Phase::Killed;
                    actions.push(Action::Kill(index));
                }
                _ => {}
            }
        }
        actions
    }
}

/// The wait before a restart after this many early deaths.
fn delay_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
}
