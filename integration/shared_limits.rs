//! The limits of logins that edges share: a real Redis, which is stopped, hung and emptied, and the arithmetic of
//! Synapse's own limiter.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dendron::answer::login::limits::shared::{Away, Names, Shared};
use dendron::answer::login::limits::{Count, Key, Limited, Limits, Rule, Rules};
use dendron::secret::Secret;
use libtest_mimic::Failed;
use redis::Commands;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::Test;
use crate::harness::child::Child;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("shared_limits::every_answer_is_the_one_that_synapses_limiter_gave", |_| answers_are_synapses()),
    ("shared_limits::edges_refuse_the_same_attempt_together", |_| edges_refuse_together()),
    ("shared_limits::what_stands_in_redis_tells_nothing_and_goes", |_| what_stands_in_redis()),
    ("shared_limits::no_login_is_unlimited_while_redis_is_away", |_| redis_stops()),
    ("shared_limits::a_redis_that_hangs_delays_one_login_a_little", |_| redis_hangs()),
];

/// What Synapse's limiter answered, as the unit tests of the limits have it.
const VECTORS: &str = include_str!("../src/answer/login/limits/vectors.txt");
/// Longer than any answer that does not wait for Redis, and shorter than any that does for long.
const AT_ONCE: Duration = Duration::from_millis(200);
const SERVER: &str = "edge.test";
const ALICE: Key<'_> = Key::Account("@alice:edge.test");
/// Long enough that nothing leaks while a test runs.
const RULES: Rules = Rules {
    address: Rule { per_second: 0.0001, burst_count: 7 },
    account: Rule { per_second: 0.0001, burst_count: 5 },
    failed_attempts: Rule { per_second: 0.0001, burst_count: 3 },
};

/// A Redis of a test's own, on a socket.
pub struct Redis {
    folder: TempDir,
    process: Option<Child>,
}

impl Redis {
    /// Starts it.
    pub fn start() -> Result<Self, Failed> {
        let mut redis = Redis { folder: tempfile::tempdir()?, process: None };
        redis.begin()?;
        Ok(redis)
    }

    /// Starts it again, with nothing in it.
    pub fn begin(&mut self) -> Result<(), Failed> {
        let (socket, folder) = (self.socket().display().to_string(), self.folder.path().display().to_string());
        let arguments = ["--port", "0", "--unixsocket", &socket, "--dir", &folder, "--save", "", "--appendonly", "no"];
        let output = self.folder.path().join("redis.out");
        self.process = Some(Child::start("redis", Path::new("redis-server"), &arguments, &output)?);
        eventually(SOON, || Ok(redis::cmd("PING").exec(&mut self.client()?.get_connection()?)?))
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn client(&self) -> Result<redis::Client, Failed> {
        Ok(redis::Client::open(format!("redis+unix://{}", self.socket().display()))?)
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.process = None;
    }
}

/// What edges run on.
struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    fn new() -> Result<Self, Failed> {
        Ok(Runtime(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?))
    }

    /// Waits for an answer, and tells how long that took.
    fn time<T>(&self, answer: impl Future<Output = T>) -> (T, Duration) {
        let begun = Instant::now();
        (self.0.block_on(answer), begun.elapsed())
    }

    /// The limits of an edge, connected.
    fn edge(&self, redis: &Redis) -> Result<Limits, Failed> {
        let limits = Limits::new(RULES).sharing(self.shared(redis, SERVER)?);
        Ok(limits)
    }

    fn shared(&self, redis: &Redis, server_name: &str) -> Result<Arc<Shared>, Failed> {
        let names = Names::new(server_name, Some(&Secret::new("hunter2")));
        let shared = Arc::new(Shared::new(redis.client()?, names));
        let runs = Arc::clone(&shared);
        self.0.spawn(async move { runs.run().await });
        is_connected(&shared, true)?;
        Ok(shared)
    }

    /// Counts a login of Alice's; whether it is let through, and how long that took.
    fn log_in(&self, edge: &Limits) -> (bool, Duration) {
        let (answer, time) = self.time(edge.ask_shared(ALICE, Count::Yes, 100.0));
        (answer.is_ok(), time)
    }
}

fn is_connected(shared: &Shared, expected: bool) -> Result<(), Failed> {
    eventually(SOON, || {
        ensure_eq!(shared.is_connected(), expected, "is connected");
        Ok(())
    })
}

fn shared_of(edge: &Limits) -> Result<&Shared, Failed> {
    edge.shared().map(AsRef::as_ref).ok_or_else(|| "nothing is shared".into())
}

/// The same table by which the buckets in memory are held against Synapse's, at the same times.
fn answers_are_synapses() -> Result<(), Failed> {
    let (redis, runtime) = (Redis::start()?, Runtime::new()?);
    let mut rule = RULES.account;
    let (mut edges, mut refused) = (Vec::new(), 0);
    for (number, line) in VECTORS.lines().filter(|line| !line.starts_with('#')).enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "rule" {
            rule = Rule { per_second: words[1].parse()?, burst_count: words[2].parse()? };
            // Buckets of their own for each rule.
            let server_name = format!("rule{number}.test");
            edges = vec![runtime.shared(&redis, &server_name)?, runtime.shared(&redis, &server_name)?];
            continue;
        }
        let count = if words[2] == "y" { Count::Yes } else { Count::No };
        let edge = &edges[number % 2];
        let (answer, _) = runtime.time(edge.ask(Key::Account(words[0]), rule, count, Some(words[1].parse()?)));
        let expected = words[3].parse().map_or(Ok(()), |wait| Err(Limited(Duration::from_millis(wait))));
        ensure_eq!(answer, Ok(expected), "{rule:?} {line}");
        refused += usize::from(expected.is_err());
    }
    ensure!(refused > 50, "only {refused} were to be refused");
    Ok(())
}

fn edges_refuse_together() -> Result<(), Failed> {
    let (redis, runtime) = (Redis::start()?, Runtime::new()?);
    let (one, other, alone) = (runtime.edge(&redis)?, runtime.edge(&redis)?, Limits::new(RULES));
    for key in [Key::Address(None), ALICE, Key::FailedUser("@alice:edge.test"), Key::FailedEmail("a@example.org")] {
        for attempt in 0..10 {
            // Now the one edge, now the other, and twice the same.
            let edge = if [0, 3, 4, 7].contains(&attempt) { &one } else { &other };
            let together = runtime.time(edge.ask_shared(key, Count::Yes, 100.0)).0;
            let expected = alone.ask(key, Count::Yes, 100.0);
            ensure_eq!(together.is_ok(), expected.is_ok(), "{key:?}: attempt {attempt}");
            if let (Err(Limited(wait)), Err(Limited(expected))) = (together, expected) {
                // What leaks while the test runs is all that differs.
                let passed = expected.saturating_sub(wait);
                ensure!(wait <= expected && passed < Duration::from_secs(60), "{key:?}: {wait:?}, not {expected:?}");
            }
            // Who only asks changes nothing.
            let asked = runtime.time(one.ask_shared(key, Count::No, 100.0)).0;
            ensure_eq!(asked.is_ok(), alone.ask(key, Count::No, 100.0).is_ok(), "{key:?}: asked after {attempt}");
        }
    }
    // Many at once, over both: no two of them see the same bucket.
    let key = Key::Account("@bob:edge.test");
    let edges = [Arc::new(one), Arc::new(other)];
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let edge = Arc::clone(&edges[number % 2]);
        asks.spawn_on(async move { edge.ask_shared(key, Count::Yes, 100.0).await }, runtime.0.handle());
    }
    let answers = runtime.0.block_on(asks.join_all());
    ensure_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5, "let through of 40 at once");
    Ok(())
}

fn what_stands_in_redis() -> Result<(), Failed> {
    let (redis, runtime) = (Redis::start()?, Runtime::new()?);
    let shared = runtime.shared(&redis, SERVER)?;
    let address = Key::Address(Some("192.0.2.77".parse()?));
    let slow = Rule { per_second: 0.01, burst_count: 5 };
    let fast = Rule { per_second: 20.0, burst_count: 5 };
    for (key, rule) in [(address, slow), (ALICE, slow), (Key::FailedEmail("alice@example.org"), fast)] {
        ensure_eq!(runtime.time(shared.ask(key, rule, Count::Yes, None)).0, Ok(Ok(())), "{key:?}");
    }
    // What is only asked about leaves nothing.
    let _ = runtime.time(shared.ask(Key::FailedUser("@alice:edge.test"), slow, Count::No, None));
    let mut connection = redis.client()?.get_connection()?;
    let keys: Vec<String> = connection.keys("*")?;
    ensure_eq!(keys.len(), 3, "{keys:?}");
    for key in &keys {
        ensure!(key.starts_with("edge.test:dendron:logins:"), "{key}");
        ensure!(!["alice", "192", "example", "hunter2"].iter().any(|word| key.contains(word)), "{key}");
        let value: String = connection.get(key)?;
        ensure!(value.ends_with(" 1") && value.parse::<f64>().is_err(), "{key}: {value}");
        // A login leaks in 100 s, or in a twentieth of one; and a second stays.
        let left: i64 = connection.pttl(key)?;
        let most = if key.contains("failed-email") { 1_050 } else { 101_000 };
        ensure!((1..=most).contains(&left), "{key} goes in {left} ms");
    }
    eventually(SOON, || {
        let keys: Vec<String> = connection.keys("*failed-email*")?;
        ensure!(keys.is_empty(), "{keys:?} has drained");
        Ok(())
    })?;
    // What somebody else has put there is no bucket, and costs nobody a login.
    let _: () = connection.set(Names::new(SERVER, Some(&Secret::new("hunter2"))).of(ALICE), "no bucket")?;
    ensure_eq!(runtime.time(shared.ask(ALICE, slow, Count::Yes, None)).0, Ok(Ok(())), "after another's value");
    Ok(())
}

/// Redis goes mid-way and comes back with nothing in it.
fn redis_stops() -> Result<(), Failed> {
    let (mut redis, runtime) = (Redis::start()?, Runtime::new()?);
    let (one, other) = (runtime.edge(&redis)?, runtime.edge(&redis)?);
    // Three of five places are taken.
    for edge in [&one, &one, &other] {
        ensure!(runtime.log_in(edge).0, "before");
    }
    redis.end();
    // One has let two through itself and has three left, the other one and four: each allows five, and not five more.
    for (edge, left) in [(&one, 3), (&other, 4)] {
        for attempt in 0..8 {
            let (through, time) = runtime.log_in(edge);
            ensure_eq!(through, attempt < left, "attempt {attempt} without Redis");
            ensure!(time < AT_ONCE, "attempt {attempt} took {time:?}");
        }
        is_connected(shared_of(edge)?, false)?;
        // Who is refused by memory did not have to ask.
        ensure_eq!(shared_of(edge)?.alone(), left, "asked in vain");
    }
    redis.begin()?;
    for edge in [&one, &other] {
        is_connected(shared_of(edge)?, true)?;
        ensure!(!runtime.log_in(edge).0, "an empty Redis gives nobody a new start");
    }
    // It is shared again: a third edge, which has let nobody through, fills a bucket that the first then knows.
    let (third, bob) = (runtime.edge(&redis)?, Key::Account("@bob:edge.test"));
    for _ in 0..5 {
        ensure!(runtime.time(third.ask_shared(bob, Count::Yes, 100.0)).0.is_ok(), "at the third");
    }
    ensure!(runtime.time(one.ask_shared(bob, Count::Yes, 100.0)).0.is_err(), "it is not shared again");
    Ok(())
}

fn redis_hangs() -> Result<(), Failed> {
    let (mut redis, runtime) = (Redis::start()?, Runtime::new()?);
    let edge = runtime.edge(&redis)?;
    ensure!(runtime.log_in(&edge).0, "before");
    redis.signal(Signal::STOP);
    let (through, time) = runtime.log_in(&edge);
    ensure!(through && time < Duration::from_secs(1), "the first took {time:?}");
    for attempt in 0..6 {
        let (through, time) = runtime.log_in(&edge);
        ensure_eq!(through, attempt < 3, "attempt {attempt}");
        ensure!(time < AT_ONCE, "attempt {attempt} took {time:?}");
    }
    let away = runtime.time(shared_of(&edge)?.ask(ALICE, RULES.account, Count::No, None)).0;
    ensure_eq!(away, Err(Away), "Redis itself");
    redis.signal(Signal::CONT);
    is_connected(shared_of(&edge)?, true)
}
