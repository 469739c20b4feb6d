//! A few connections that are kept up in the background. A request uses one that stands, at once, or is told at once
//! that none does; it never waits for one to be made.
//!
//! Questions are pipelined, so that two connections are many. The last one is for what may take long, which would hold up
//! everything behind it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;

use super::connect::{Driver, connect, describe};
use super::schema::{self, SchemaError};
use super::settings::Settings;
use super::users::Statements;

/// How many connections there are where nothing else is said.
pub const COUNT: usize = 2;
/// How long a question may take by the client's clock: a little more than by the server's, whose answer tells more.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a slow question may wait for the one before it.
const SLOW_WAIT: Duration = Duration::from_secs(1);
/// How often a standing connection's schema is looked at.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// How long is waited before a connection is made again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A connection that has stood for so long has proved itself: the next pause is a short one again.
const PROVED: Duration = Duration::from_secs(10);

/// Synapse's database.
#[derive(Debug)]
pub struct Database {
    settings: Settings,
    slots: Box<[ArcSwapOption<Live>]>,
    next: AtomicUsize,
    /// The permit of the one slow question that may be asked at a time.
    slow: Semaphore,
    state: ArcSwap<State>,
}

/// What is known of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection was made yet.
    Connecting,
    /// Questions are answered.
    Ready {
        /// The version of Synapse's schema.
        schema_version: i32,
    },
    /// They are not.
    Unavailable(Unavailable),
}

/// Why a question is not answered. Whoever asked does without the database.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unavailable {
    /// No connection was made yet.
    #[error("no connection was made yet")]
    Connecting,
    /// No connection can be made.
    #[error("it cannot be connected to: {0}")]
    NotConnected(String),
    /// The database is not one that may be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A question failed.
    #[error("a query failed: {0}")]
    Failed(String),
    /// A question was not answered in time.
    #[error("it did not answer in time")]
    Silent,
    /// Too many slow questions wait.
    #[error("it is busy")]
    Busy,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) client: tokio_postgres::Client,
    pub(super) statements: Statements,
    is_given_up: AtomicBool,
    given_up: Notify,
}

/// The connection that a question is asked on.
pub(super) type Asked = Arc<Live>;

// === impl Database ===

impl Database {
    /// A database that is not connected to yet; [`Database::run`] does that. At least one connection is kept.
    pub fn new(settings: Settings, connections: usize) -> Self {
        Database {
            settings,
            slots: (0..connections.max(1)).map(|_| ArcSwapOption::empty()).collect(),
            next: AtomicUsize::new(0),
            slow: Semaphore::new(1),
            state: ArcSwap::from_pointee(State::Connecting),
        }
    }

    /// What is known of the database.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// How many connections stand.
    pub fn live(&self) -> usize {
        self.slots.iter().filter(|slot| slot.load().as_deref().is_some_and(Live::is_good)).count()
    }

    /// Keeps the connections up for ever. Dropping the future ends them.
    pub async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        for index in 0..self.slots.len() {
            let database = Arc::clone(&self);
            tasks.spawn(async move { database.keep_up(index).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Asks a quick question.
    pub(super) async fn ask<T, F>(&self, question: impl FnOnce(Asked) -> F) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let last = self.slots.len() - 1;
        let first = self.next.fetch_add(1, Ordering::Relaxed) % last.max(1);
        let quick = (0..last).map(|place| (first + place) % last.max(1));
        self.ask_one_of(quick.chain([last]), question).await
    }

    /// Asks a question that may take long. One is asked at a time.
    pub(super) async fn ask_slowly<T, F>(&self, question: impl FnOnce(Asked) -> F) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let Ok(Ok(_permit)) = timeout(SLOW_WAIT, self.slow.acquire()).await else { return Err(Unavailable::Busy) };
        self.ask_one_of((0..self.slots.len()).rev(), question).await
    }

    async fn ask_one_of<T, F>(
        &self,
        mut slots: impl Iterator<Item = usize>,
        question: impl FnOnce(Asked) -> F,
    ) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let good = |index: usize| self.slots.get(index)?.load_full().filter(|live| live.is_good());
        let live = slots.find_map(good).ok_or_else(|| self.reason())?;
        match timeout(PATIENCE, question(Arc::clone(&live))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                // What took too long says nothing of the connection; after anything else it is looked at anew.
                if error.code() != Some(&SqlState::QUERY_CANCELED) {
                    live.give_up();
                }
                Err(Unavailable::Failed(describe(&error)))
            }
            Err(_) => {
                live.give_up();
                Err(Unavailable::Silent)
            }
        }
    }

    fn reason(&self) -> Unavailable {
        match &**self.state.load() {
            State::Unavailable(reason) => reason.clone(),
            State::Connecting => Unavailable::Connecting,
            // The connections broke just now.
            State::Ready { .. } => Unavailable::NotConnected("the connection was closed".to_owned()),
        }
    }

    /// Keeps one connection up.
    async fn keep_up(&self, index: usize) {
        let Some(slot) = self.slots.get(index) else { return };
        let mut pause = PAUSE.0;
        loop {
            let begun = Instant::now();
            let reason = match connect(&self.settings).await {
                Ok((client, statements, driver, schema_version)) => {
                    let live = Arc::new(Live::new(client, statements));
                    slot.store(Some(Arc::clone(&live)));
                    self.set(State::Ready { schema_version });
                    let reason = hold(&live, driver).await;
                    live.give_up();
                    slot.store(None);
                    reason
                }
                Err(reason) => reason,
            };
            self.lost(reason);
            pause = if begun.elapsed() >= PROVED { PAUSE.0 } else { pause };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Takes note of a connection that does not stand. What is wrong with the schema is wrong for all of them.
    fn lost(&self, reason: Unavailable) {
        if matches!(reason, Unavailable::Schema(_)) {
            self.slots.iter().filter_map(ArcSwapOption::load_full).for_each(|live| live.give_up());
        }
        if self.live() == 0 {
            self.set(State::Unavailable(reason));
        }
    }

    /// Takes note of what the database is like; a change is told once.
    fn set(&self, state: State) {
        let before = self.state.swap(Arc::new(state.clone()));
        if !state.is_news_after(&before) {
            return;
        }
        match state {
            State::Connecting => {}
            State::Ready { schema_version } => tracing::info!(schema_version, "Synapse's database is ready"),
            State::Unavailable(reason) => tracing::warn!(%reason, "Synapse's database is not used"),
        }
    }
}

/// Holds a connection until something is wrong with it; returns what.
async fn hold(live: &Live, mut driver: Driver) -> Unavailable {
    loop {
        tokio::select! {
            reason = driver.ended() => return Unavailable::NotConnected(reason),
            () = live.given_up.notified() => return Unavailable::NotConnected("the connection was given up".to_owned()),
            () = tokio::time::sleep(PROBE_INTERVAL) => {}
        }
        match timeout(PATIENCE, schema::probe(&live.client)).await {
            Ok(Ok(Ok(_))) => {}
            Ok(Ok(Err(reason))) => return reason.into(),
            Ok(Err(error)) => return Unavailable::Failed(describe(&error)),
            Err(_) => return Unavailable::Silent,
        }
    }
}

// === impl Live ===

impl Live {
    fn new(client: tokio_postgres::Client, statements: Statements) -> Self {
        Live { client, statements, is_given_up: AtomicBool::new(false), given_up: Notify::new() }
    }

    fn is_good(&self) -> bool {
        !self.is_given_up.load(Ordering::Relaxed) && !self.client.is_closed()
    }

    /// Lets nobody ask on this connection any more; its keeper makes another.
    fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.given_up.notify_one();
    }
}

// === impl State ===

impl State {
    /// Whether an administrator should hear of this. Every attempt to connect may fail in other words.
    fn is_news_after(&self, before: &State) -> bool {
        match (before, self) {
            (
                State::Unavailable(Unavailable::NotConnected(_) | Unavailable::Failed(_) | Unavailable::Silent),
                State::Unavailable(Unavailable::NotConnected(_) | Unavailable::Failed(_) | Unavailable::Silent),
            ) => false,
            (before, after) => before != after,
        }
    }
}

impl Unavailable {
    /// One word for a metric's label.
    pub const fn label(&self) -> &'static str {
        match self {
            Unavailable::Connecting | Unavailable::NotConnected(_) => "not_connected",
            Unavailable::Schema(_) => "schema",
            Unavailable::Failed(_) => "failed",
            Unavailable::Silent => "silent",
            Unavailable::Busy => "busy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::settings::Arguments;

    #[tokio::test]
    async fn a_question_is_told_at_once_that_there_is_no_database() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().to_str().unwrap().to_owned();
        let arguments = Arguments { named: [("host".to_owned(), host)].into(), ..Arguments::default() };
        let database = Arc::new(Database::new(Settings::read(&arguments, |_| None).unwrap(), COUNT));
        assert_eq!(database.user("@a:b").await, Err(Unavailable::Connecting));
        let running = tokio::spawn(Arc::clone(&database).run());
        while *database.state() == State::Connecting {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begun = Instant::now();
        let reason = database.user("@a:b").await.unwrap_err();
        assert!(matches!(reason, Unavailable::NotConnected(_)), "{reason}");
        assert!(begun.elapsed() < Duration::from_millis(50));
        assert_eq!(*database.state(), State::Unavailable(reason));
        assert_eq!(database.live(), 0);
        running.abort();
    }

    #[test]
    fn an_outage_is_told_once() {
        let unavailable = State::Unavailable;
        let refused = || unavailable(Unavailable::NotConnected("refused".to_owned()));
        let schema = |version| unavailable(Unavailable::Schema(SchemaError::Version { version }));
        let ready = || State::Ready { schema_version: 94 };
        let table = [
            (State::Connecting, ready(), true),
            (State::Connecting, refused(), true),
            (ready(), ready(), false),
            (ready(), refused(), true),
            (refused(), unavailable(Unavailable::NotConnected("starting up".to_owned())), false),
            (refused(), unavailable(Unavailable::Silent), false),
            (refused(), schema(95), true),
            (schema(95), schema(95), false),
            (schema(95), schema(96), true),
            (schema(95), ready(), true),
        ];
        for (before, after, expected) in table {
            assert_eq!(after.is_news_after(&before), expected, "{before:?} {after:?}");
        }
    }
}
