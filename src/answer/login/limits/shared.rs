//! Buckets that several edges share, in Synapse's Redis.
//!
//! A script of Redis's own, which nothing can come between, does the arithmetic; it is the one of `super::Bucket`, by
//! Redis's clock. Buckets that have drained go by themselves. Redis's own limit of memory bounds them.
//!
//! # While Redis is away
//!
//! Nobody waits for it: [`Shared::ask`] fails at once while there is no connection, and after [`PATIENCE`] when Redis
//! falls silent, which ends the connection. Then the memory of each edge decides, which has counted what its edge let
//! through all the time ([`super::Limits::ask_shared`]). So no login is ever unlimited: at worst each edge allows what
//! one would.
//!
//! # What stands in Redis
//!
//! A key is the homeserver's name, since several can have one Redis, and a hash of what the bucket is of, under a key
//! that all edges of a homeserver have and that is made of a secret that its processes share. Redis does not learn from
//! it who tries to log in from where. Without such a secret the hash hides an address from nobody who tries all there
//! are; but then anybody who reaches the main process's replication listener has the whole homeserver anyway.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError};
use tokio::sync::Notify;

use super::{Count, Key, Limited, Rule};
use crate::secret::Secret;

/// How long Redis may take for one answer. It takes a part of a millisecond while it is well.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How long a connection may take to be made, its first answer included.
const CONNECT: Duration = Duration::from_secs(2);
/// How long is waited between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// The script of one bucket.
const SCRIPT: &str = include_str!("bucket.lua");
/// What the script answers when a login is let through.
const LET_THROUGH: i64 = -1;

/// The shared buckets of one homeserver.
pub struct Shared {
    client: Client,
    names: Names,
    connection: ArcSwapOption<MultiplexedConnection>,
    /// Told when a connection turns out to be dead.
    lost: Notify,
    /// Whether an outage has been logged, so that it is only once.
    is_told: AtomicBool,
    alone: AtomicU64,
}

/// Redis did not answer; whoever asked has to decide alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis does not answer")]
pub struct Away;

/// Names the buckets.
pub struct Names {
    prefix: String,
    key: [u8; 32],
}

// === impl Shared ===

impl Shared {
    /// The buckets in the Redis of this client. Nothing is connected before [`Shared::run`].
    pub fn new(client: Client, names: Names) -> Self {
        Shared {
            client,
            names,
            connection: ArcSwapOption::empty(),
            lost: Notify::new(),
            is_told: AtomicBool::new(false),
            alone: AtomicU64::new(0),
        }
    }

    /// Keeps a connection up. Dropping the future ends that.
    pub async fn run(&self) {
        loop {
            match self.connect().await {
                Ok(connection) => {
                    self.connection.store(Some(Arc::new(connection)));
                    if self.is_told.swap(false, Ordering::Relaxed) {
                        tracing::info!("the limits of logins are shared through Redis again");
                    }
                    self.lost.notified().await;
                }
                Err(error) => {
                    self.tell(&error);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Asks the bucket of `key`. `at_seconds` stands in place of Redis's clock, for tests.
    ///
    /// # Errors
    ///
    /// [`Away`], at once or after [`PATIENCE`].
    pub async fn ask(
        &self,
        key: Key<'_>,
        rule: Rule,
        count: Count,
        at_seconds: Option<f64>,
    ) -> Result<Result<(), Limited>, Away> {
        let Some(connection) = self.connection.load_full() else {
            self.alone.fetch_add(1, Ordering::Relaxed);
            return Err(Away);
        };
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(1).arg(self.names.of(key));
        // Rust writes as many digits as tell one number from all others.
        command.arg(rule.per_second.to_string()).arg(rule.burst_count).arg(u8::from(count == Count::Yes));
        command.arg(at_seconds.map(|seconds| seconds.to_string()).unwrap_or_default());
        match command.query_async(&mut MultiplexedConnection::clone(&connection)).await {
            Ok(LET_THROUGH) => Ok(Ok(())),
            Ok(wait) => Ok(Err(Limited(Duration::from_millis(u64::try_from(wait).unwrap_or_default())))),
            Err(error) => {
                self.tell(&error);
                self.alone.fetch_add(1, Ordering::Relaxed);
                // Another one may be there already.
                let current = self.connection.compare_and_swap(&Some(Arc::clone(&connection)), None);
                if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                    self.lost.notify_one();
                }
                Err(Away)
            }
        }
    }

    /// Whether the buckets are shared at the moment.
    pub fn is_connected(&self) -> bool {
        self.connection.load().is_some()
    }

    /// How often an edge had to decide alone.
    pub fn alone(&self) -> u64 {
        self.alone.load(Ordering::Relaxed)
    }

    /// A connection on which Redis has answered.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(PATIENCE));
        let connect = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("PING").exec_async(&mut connection).await?;
            Ok(connection)
        };
        let silent = |_| RedisError::from((ErrorKind::Io, "it did not answer in time"));
        tokio::time::timeout(CONNECT, connect).await.map_err(silent)?
    }

    fn tell(&self, error: &RedisError) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            let reason = Reason(error);
            tracing::warn!(%reason, "Redis cannot be asked: until it can, each edge limits logins alone");
        }
    }
}

/// What may be said of an error. Redis repeats a command that it does not know with its arguments, of which one can be a
/// password; so of what Redis says only the code is shown.
struct Reason<'error>(&'error RedisError);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.kind(), self.0.code()) {
            (ErrorKind::Io, _) => write!(formatter, "{}", self.0),
            (_, Some(code)) => write!(formatter, "Redis says {code}"),
            (kind, None) => write!(formatter, "{kind:?}"),
        }
    }
}

// === impl Names ===

impl Names {
    /// The names of a homeserver's buckets, for everybody who has the secret of its processes.
    pub fn new(server_name: &str, secret: Option<&Secret>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("dendron 2026-11 names of the buckets of logins in Redis");
        hasher.update(server_name.as_bytes());
        // A byte that no server's name has.
        hasher.update(b"\0");
        hasher.update(secret.map(Secret::expose).unwrap_or_default().as_bytes());
        Names { prefix: format!("{server_name}:dendron:logins:"), key: *hasher.finalize().as_bytes() }
    }

    /// The name of a bucket. Accounts are the same in any case, as in [`super::Limits`].
    pub fn of(&self, key: Key<'_>) -> String {
        let (kind, text) = match key {
            Key::Address(None) => ("address", String::new()),
            Key::Address(Some(address)) => ("address", address.to_string()),
            Key::Account(user) => ("account", user.to_lowercase()),
            Key::FailedUser(user) => ("failed-user", user.to_lowercase()),
            Key::FailedEmail(address) => ("failed-email", address.to_owned()),
        };
        let hash = blake3::keyed_hash(&self.key, format!("{kind} {text}").as_bytes());
        // Half of it: two that are the same by chance are not to be feared.
        format!("{}{kind}:{}", self.prefix, &hash.to_hex()[..32])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn buckets_have_names_of_their_own_that_tell_nothing() {
        let names = Names::new("edge.test", Some(&Secret::new("hunter2")));
        let keys = [
            Key::Address(None),
            Key::Address(Some("192.0.2.1".parse().unwrap())),
            Key::Address(Some("2001:db8::1".parse().unwrap())),
            Key::Account("@alice:edge.test"),
            Key::Account("@bob:edge.test"),
            Key::FailedUser("@alice:edge.test"),
            Key::FailedEmail("@alice:edge.test"),
            Key::FailedEmail("@ALICE:edge.test"),
        ];
        let all: HashSet<String> = keys.iter().map(|key| names.of(*key)).collect();
        assert_eq!(all.len(), keys.len());
        for name in all {
            assert!(name.starts_with("edge.test:dendron:logins:"), "{name}");
            let rest = &name["edge.test:dendron:logins:".len()..];
            let told =
                ["alice", "bob", "192", "2001", "edge", "hunter2", "@"].iter().find(|word| rest.contains(**word));
            assert_eq!(told, None, "{name}");
        }
    }

    #[test]
    fn one_user_has_one_bucket_in_any_case() {
        let names = Names::new("edge.test", None);
        assert_eq!(names.of(Key::Account("@ALICE:edge.test")), names.of(Key::Account("@alice:edge.test")));
        assert_eq!(names.of(Key::FailedUser("@Ärger:edge.test")), names.of(Key::FailedUser("@äRGER:edge.test")));
    }

    #[test]
    fn only_who_has_the_secret_finds_a_bucket() {
        let secret = |text: &str| Some(Secret::new(text));
        let of = |server_name: &str, secret: Option<Secret>| {
            Names::new(server_name, secret.as_ref()).of(Key::Account("@alice:edge.test"))
        };
        assert_eq!(of("edge.test", secret("one")), of("edge.test", secret("one")));
        let others = [of("edge.test", secret("other")), of("edge.test", None), of("edge.tes", secret("tone"))];
        for other in others {
            assert_ne!(of("edge.test", secret("one")).rsplit(':').next(), other.rsplit(':').next());
        }
    }

    #[tokio::test]
    async fn without_a_connection_nobody_waits() {
        // A port that nobody listens on; nothing is connected anyway.
        let shared = Shared::new(Client::open("redis://127.0.0.1:1/").unwrap(), Names::new("edge.test", None));
        let rule = Rule { per_second: 0.003, burst_count: 5 };
        let answer = shared.ask(Key::Address(None), rule, Count::Yes, None).await;
        assert_eq!((answer, shared.is_connected(), shared.alone()), (Err(Away), false, 1));
    }

    #[test]
    fn what_redis_says_is_not_repeated() {
        let said = "unknown command 'EVAL', with args beginning with: 'hunter2'";
        let error = RedisError::from((ErrorKind::AuthenticationFailed, "AUTH failed", said.to_owned()));
        assert!(!Reason(&error).to_string().contains("hunter2"));
        let silent = RedisError::from((ErrorKind::Io, "it did not answer in time"));
        assert!(Reason(&silent).to_string().contains("in time"));
    }
}
