//! Follows Synapse's replication stream: a connection kept, its lines sequenced, its state told.
//!
//! Each connection starts from nothing: whoever reads the events must take for changed whatever it knew before
//! [`Event::Live`]. Messages are read as fast as they come; a reader of events that does not keep up loses the connection
//! rather than memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::change::{Change, Doubt};
use super::command::{Command, REPLICATE};
use super::connection::{Publisher, Subscriber, client};
use super::counts::Counts;
use super::liveness::{Liveness, Times};
use super::positions::WriterPosition;
use super::sequencer::Sequencer;
use super::session::{End, Session};
use super::settings::Settings;
use super::stream::Stream;
use crate::observe::metrics::Metrics;
use crate::token::TokenHasher;

/// How many events may wait for their reader.
const EVENTS_MAX: usize = 65_536;
/// How many lines may wait to be published.
const OUTGOING_MAX: usize = 4096;
/// How long to wait before the first new connection, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What is told, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// Following begins: nothing that is published from now on is missed unnoticed. Where the writers are; what an answer
    /// of Synapse's must be at or past to be compared with the changes that follow.
    Live(Vec<WriterPosition>),
    /// Something has changed. Changes come before [`Event::Live`], too.
    Change(Change),
    /// Following has ended, and anything may have been missed since.
    Lost(Reason),
}

/// How the follower is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not followed yet, or not again.
    Connecting,
    /// It follows.
    Live,
    /// It does not.
    Degraded(Reason),
}

/// Why the follower does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no connection to Redis.
    Disconnected,
    /// Redis refuses the user.
    Refused,
    /// Redis, or every process of Synapse, is silent.
    Silent,
    /// Events came faster than they were read.
    Overflow,
}

/// Follows, once it is run.
pub struct Follower {
    settings: Settings,
    times: Times,
    hasher: Arc<TokenHasher>,
    counts: Counts,
    events: mpsc::Sender<Event>,
    state: watch::Sender<State>,
    outgoing: mpsc::Receiver<String>,
    may_publish: Arc<AtomicBool>,
    /// What was said already, so that each kind of doubt is said once and not with every row.
    said: HashSet<(Stream, Doubt)>,
}

/// The other end of a follower.
pub struct Feed {
    /// What happens, in order. It should be read without delay.
    pub events: mpsc::Receiver<Event>,
    /// How the follower is doing.
    pub state: watch::Receiver<State>,
    /// What is to be told to Synapse's processes.
    pub outbox: Outbox,
}

/// Sends commands to Synapse's processes.
#[derive(Clone)]
pub struct Outbox {
    lines: mpsc::Sender<String>,
    may_publish: Arc<AtomicBool>,
}

// === impl Follower ===

impl Follower {
    /// A follower that does nothing until it is run.
    pub fn new(settings: Settings, times: Times, hasher: Arc<TokenHasher>, metrics: &Metrics) -> (Follower, Feed) {
        let (events, events_read) = mpsc::channel(EVENTS_MAX);
        let (state, state_read) = watch::channel(State::Connecting);
        let (outgoing, outgoing_read) = mpsc::channel(OUTGOING_MAX);
        let may_publish = Arc::new(AtomicBool::new(settings.may_publish));
        let follower = Follower {
            settings,
            times,
            hasher,
            counts: Counts::new(metrics),
            events,
            state,
            outgoing: outgoing_read,
            may_publish: Arc::clone(&may_publish),
            said: HashSet::new(),
        };
        follower.set_state(State::Connecting);
        (follower, Feed { events: events_read, state: state_read, outbox: Outbox { lines: outgoing, may_publish } })
    }

    /// Follows until nobody reads the events any more.
    pub async fn run(mut self) {
        let mut backoff = BACKOFF.0;
        loop {
            let (end, was_live) = self.follow().await;
            let (reason, error) = match end {
                End::Unread => return,
                End::MayNotPublish => {
                    tracing::warn!("replication: Redis lets nobody publish as this user; lost rows are noticed later");
                    self.may_publish.store(false, Ordering::Relaxed);
                    if !was_live {
                        continue;
                    }
                    (Reason::Refused, None)
                }
                End::Lost(reason, error) => (reason, error),
            };
            let is_news = *self.state.borrow() != State::Degraded(reason);
            self.set_state(State::Degraded(reason));
            if is_news {
                let why = error.map(|error| format!(": {error}")).unwrap_or_default();
                tracing::warn!("replication: no longer followed, {}{why}", reason.name());
            }
            // The connection is closed by now, so that nothing piles up while this waits for its place.
            if self.events.send(Event::Lost(reason)).await.is_err() {
                return;
            }
            if was_live {
                backoff = BACKOFF.0;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// One connection, from its beginning to its end; and whether it was ever live.
    async fn follow(&mut self) -> (End, bool) {
        let channel = self.settings.server_name.clone();
        let connected = async {
            let client = client(&self.settings)?;
            let subscriber = Subscriber::connect(&client, &channel).await?;
            let publisher = match self.may_publish.load(Ordering::Relaxed) {
                true => Some(Publisher::connect(&client, &channel).await?),
                false => None,
            };
            Ok((subscriber, publisher))
        };
        let (subscriber, publisher) = match connected.await {
            Ok(connected) => connected,
            Err(error) => return (End::of_error(error), false),
        };
        let (ask, asked) = mpsc::channel(1);
        let mut session = Session {
            expected: &self.settings.expected_instances,
            sequencer: Sequencer::new(Arc::clone(&self.hasher)),
            liveness: Liveness::new(self.times, Instant::now()),
            ask: publisher.as_ref().map(|_| ask),
            events: &self.events,
            state: &self.state,
            counts: &self.counts,
            said: &mut self.said,
            changes: Vec::new(),
            is_live: false,
        };
        if session.ask.is_none() {
            // Nothing was asked, so that nothing needs to be answered.
            session.liveness.heard(Instant::now());
        }
        let end = tokio::select! {
            end = session.listen(subscriber) => end,
            end = publish(publisher, asked, &mut self.outgoing) => end,
        };
        (end, session.is_live)
    }

    fn set_state(&self, state: State) {
        self.state.send_replace(state);
        self.counts.state(state);
    }
}

/// Publishes whatever is to be, beginning with the question for positions; returns only when that fails.
async fn publish(
    publisher: Option<Publisher>,
    mut asked: mpsc::Receiver<()>,
    outgoing: &mut mpsc::Receiver<String>,
) -> End {
    let Some(mut publisher) = publisher else { return std::future::pending().await };
    let mut line = REPLICATE.to_owned();
    loop {
        match publisher.publish(&line).await {
            Ok(()) => {}
            Err(error) if error.is_refusal() => return End::MayNotPublish,
            Err(error) => return End::of_error(error),
        }
        line = tokio::select! {
            Some(()) = asked.recv() => REPLICATE.to_owned(),
            Some(line) = outgoing.recv() => line,
            else => return std::future::pending().await,
        };
    }
}

// === impl Outbox ===

impl Outbox {
    /// Sends a command, and returns whether it will be tried: not if it is none that is ever sent, and not if too many
    /// wait. Without the permission to publish, they wait for ever.
    pub fn send(&self, command: &Command<'_>) -> bool {
        command.line().is_some_and(|line| !line.contains('\n') && self.lines.try_send(line).is_ok())
    }

    /// Whether Redis lets dendron publish, as far as it is known.
    pub fn may_publish(&self) -> bool {
        self.may_publish.load(Ordering::Relaxed)
    }
}

// === impl State ===

impl State {
    /// Every state's name.
    pub const NAMES: [&'static str; 6] = ["connecting", "live", "disconnected", "refused", "silent", "overflow"];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Live => "live",
            State::Degraded(reason) => reason.name(),
        }
    }
}

// === impl Reason ===

impl Reason {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Disconnected => "disconnected",
            Reason::Refused => "refused",
            Reason::Silent => "silent",
            Reason::Overflow => "overflow",
        }
    }
}
