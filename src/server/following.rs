//! Joins Synapse's replication stream with those who must know what it tells. Where homeserver.yaml has Redis, one
//! follower reads the stream, and every reader is shown each event, in order.
//!
//! Who is behind a token is told first: whoever reads after that finds a token that has ended forgotten already.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use tokio::sync::{mpsc, watch};

use super::redis;
use crate::config::Config;
use crate::config::homeserver::MASTER;
use crate::observe::Metrics;
use crate::replication::change::Device;
use crate::replication::follower::Feed;
use crate::replication::liveness::Times;
use crate::replication::{Concerns, Doubt, Event, Follower, Outbox, Settings, State, Stream};
use crate::token::{Callers, Forget, TokenHasher};

/// How long the stream is followed after dendron was told to stop.
const FAREWELL: Duration = Duration::from_secs(1);

/// Somebody who is shown each event. It holds everything up, so that it must be quick and wait for nobody.
pub type Reader = Box<dyn FnMut(&Event) + Send>;

/// The replication stream, followed once its background service runs.
pub struct Following {
    state: watch::Receiver<State>,
    outbox: Outbox,
    /// Taken by whoever reads, which is done once.
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    follower: Follower,
    events: mpsc::Receiver<Event>,
    readers: Vec<Reader>,
}

/// The background task that follows and reads.
pub(super) struct Reading {
    pub(super) following: Arc<Following>,
}

/// The stream of this homeserver, which nobody reads yet; `None` where it has no Redis.
pub(super) fn follow(config: &Config, hasher: Arc<TokenHasher>, metrics: &Metrics) -> Option<Following> {
    let homeserver = config.homeserver.as_ref()?;
    let workers = homeserver.workers.iter().map(|worker| worker.name.clone());
    let settings = Settings {
        expected_instances: [MASTER.to_owned()].into_iter().chain(workers).collect(),
        may_publish: true,
        ..redis::settings(homeserver)?
    };
    let (follower, feed) = Follower::new(settings, Times::default(), hasher, metrics);
    let Feed { events, state, outbox } = feed;
    let idle = Idle { follower, events, readers: Vec::new() };
    Some(Following { state, outbox, idle: Mutex::new(Some(idle)) })
}

/// Forgets the tokens of which the stream tells that they have ended.
pub(super) fn tells(callers: Arc<Callers>) -> Reader {
    Box::new(move |event| tell(&callers, event, Instant::now()))
}

fn tell(callers: &Callers, event: &Event, now: Instant) {
    let change = match event {
        Event::Live(_) => return callers.follow(true, now),
        Event::Lost(_) => return callers.follow(false, now),
        Event::Change(change) => change,
    };
    match &change.concerns {
        Concerns::TokenEnded(hash) => callers.forget(Forget::Token(*hash), now),
        Concerns::DeviceChanged(Device { user, device: Some(device) }) => {
            callers.forget(Forget::Device(user, device), now);
        }
        Concerns::DeviceChanged(Device { user, device: None }) | Concerns::AccountChanged(user) => {
            callers.forget(Forget::User(user), now);
        }
        Concerns::Everybody(doubt) if may_hide_an_end(change.stream, *doubt) => {
            callers.forget(Forget::Everything, now);
        }
        _ => {}
    }
}

/// Whether what was not understood, or not seen, may have told of a token that has ended. That is told on one stream
/// alone; but a process that lost rows of another stream may have lost some of that one, whose positions do not tell.
fn may_hide_an_end(stream: Stream, doubt: Doubt) -> bool {
    match doubt {
        Doubt::Gap(_) | Doubt::MalformedCommand | Doubt::TooManyWriters => true,
        Doubt::UnknownRow | Doubt::UnknownWriter => stream == Stream::Caches,
        Doubt::UnknownCommand | Doubt::UnknownStream => false,
    }
}

// === impl Following ===

impl Following {
    /// Adds a reader, who is shown each event after those before. Too late once it runs.
    pub fn read_by(&self, reader: Reader) {
        if let Some(idle) = &mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner) {
            idle.readers.push(reader);
        }
    }

    /// How it is doing.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What is to be told to Synapse's processes goes here.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    async fn run(&self) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Idle { follower, mut events, mut readers }) = idle else { return };
        let read = async {
            while let Some(event) = events.recv().await {
                readers.iter_mut().for_each(|read| read(&event));
            }
        };
        tokio::join!(follower.run(), read);
    }
}

#[async_trait]
impl BackgroundService for Reading {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.following.run() => {}
            // What is told to Synapse in the last moment is to be heard.
            () = async {
                let _ = shutdown.changed().await;
                tokio::time::sleep(FAREWELL).await;
            } => {}
        }
    }
}

#[cfg(test)]
mod tests;
