//! A follower that runs inside of the test, and what it has told.

use std::sync::Arc;
use std::time::Duration;

use dendron::observe::Metrics;
use dendron::replication::follower::{Feed, Follower};
use dendron::replication::liveness::Times;
use dendron::replication::settings::Settings;
use dendron::replication::{Change, Concerns, Doubt, Event, State, Stream};
use dendron::token::TokenHasher;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;

use crate::harness::eventually::{SOON, eventually};
use crate::harness::stack::Stack;

/// Times that a test can wait for.
pub const TIMES: Times = Times {
    heartbeat: Duration::from_secs(4),
    silence: Duration::from_secs(4),
    answer: Duration::from_secs(3),
    settle: Duration::from_secs(3),
};

/// A running follower. Dropping it ends it.
pub struct Followed {
    feed: Feed,
    pub metrics: Arc<Metrics>,
    /// Everything that was told so far.
    pub events: Vec<Event>,
    // Last, so that the follower is still there while the rest is dropped.
    _runtime: Runtime,
}

/// What makes hashes of access tokens in tests.
pub fn hasher() -> TokenHasher {
    TokenHasher::with_key([0; 32])
}

/// How the Redis of a stack is reached, and who is expected there.
pub fn settings(stack: &Stack) -> Result<Settings, Failed> {
    let instance = |name: String| if name == "main" { "master".to_owned() } else { name };
    Ok(Settings {
        address: format!("unix:{}", stack.text(&["redis", "socket"])).parse()?,
        username: None,
        password: None,
        tls: None,
        server_name: stack.text(&["server_name"]),
        expected_instances: stack.synapse_processes().into_iter().map(instance).collect(),
        may_publish: true,
    })
}

impl Followed {
    /// Starts a follower.
    pub fn start(settings: Settings, times: Times) -> Result<Self, Failed> {
        let metrics = Arc::new(Metrics::new(0)?);
        let (follower, feed) = Follower::new(settings, times, Arc::new(hasher()), &metrics);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(follower.run());
        Ok(Followed { feed, metrics, events: Vec::new(), _runtime: runtime })
    }

    /// Waits until the follower is in a state.
    pub fn wait_for(&mut self, state: State) -> Result<(), Failed> {
        eventually(SOON, || {
            let found = *self.feed.state.borrow();
            if found == state { Ok(()) } else { Err(format!("it is {found:?}, not {state:?}").into()) }
        })
    }

    /// Waits until a change is told, counted from the event at `from`.
    pub fn expect(&mut self, from: usize, what: &str, is_it: impl Fn(&Change) -> bool) -> Result<Change, Failed> {
        eventually(SOON, || {
            self.read();
            let found = self.changes(from).find(|change| is_it(change)).cloned();
            found.ok_or_else(|| {
                let told: Vec<String> = self.changes(from).map(shown).collect();
                format!("{what}: no such change among\n{}", told.join("\n")).into()
            })
        })
    }

    /// Takes whatever was told in the meantime; returns how many events that makes in all.
    pub fn read(&mut self) -> usize {
        while let Ok(event) = self.feed.events.try_recv() {
            self.events.push(event);
        }
        self.events.len()
    }

    /// The changes from an event on.
    pub fn changes(&self, from: usize) -> impl Iterator<Item = &Change> {
        self.events[from..].iter().filter_map(|event| match event {
            Event::Change(change) => Some(change),
            Event::Live(_) | Event::Lost(_) => None,
        })
    }

    /// The changes from an event on that were taken to concern everybody.
    pub fn doubts(&self, from: usize) -> Vec<(Stream, Doubt)> {
        let doubt = |change: &Change| match change.concerns {
            Concerns::Everybody(doubt) => Some((change.stream, doubt)),
            _ => None,
        };
        self.changes(from).filter_map(doubt).collect()
    }

    /// What the metrics say.
    pub fn metrics(&self) -> Result<String, Failed> {
        Ok(String::from_utf8(self.metrics.text()?)?)
    }
}

/// A change in one line.
pub fn shown(change: &Change) -> String {
    let Change { stream, writer, after, position, concerns, .. } = change;
    format!("{} {writer} {after}..{position} {concerns:?}", stream.name())
}
