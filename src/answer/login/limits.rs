//! Synapse's three limits on logins, with its arithmetic (`api/ratelimiting.py`) and its keys.
//!
//! A limit is a leaky bucket: it holds `burst_count` logins and leaks `per_second` of them. Each login that is let
//! through adds one; one that is refused adds nothing.
//!
//! # Logins that are forwarded
//!
//! Synapse counts a forwarded login in buckets of its own. The edge counts every login in its address buckets, answered
//! or forwarded, before it decides; those that reach Synapse are some of those that the edge has let through, so a
//! bucket of Synapse's is never fuller than the edge's bucket of the same address. Whom the edge lets through,
//! Synapse lets through, and together they allow what the rule allows, not twice as much and not half as much. Three
//! things stay outside:
//!
//! - Application services' logins are not counted here: Synapse limits only some of them, and knows which.
//! - Bodies that were not read, or not for certain, are counted, although Synapse would not count one without a type.
//! - The buckets of accounts and failures count what is answered here; a forwarded login is Synapse's to count there,
//!   since the edge does not know how it ends. At most twice as many failures as one rule allows come of that, each
//!   still counted by address.

mod buckets;
pub mod shared;

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use buckets::Buckets;
use shared::{Away, Shared};

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// How many logins a bucket leaks in a second.
    pub per_second: f64,
    /// How many logins a bucket holds.
    pub burst_count: u32,
}

/// `rc_login` of homeserver.yaml.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// All logins from an address.
    pub address: Rule,
    /// Successful logins to an account.
    pub account: Rule,
    /// Failed logins to an account, or to an e-mail address that nobody has.
    pub failed_attempts: Rule,
}

/// Where the buckets are kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In this process's memory.
    #[default]
    Memory,
    /// In Synapse's Redis, for several edges together; in this process's memory as well, for when Redis is away.
    Redis,
}

/// What a bucket is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// All logins from an address; clients without one share a bucket.
    Address(Option<IpAddr>),
    /// Successful logins to a user.
    Account(&'a str),
    /// Failed logins to a user.
    FailedUser(&'a str),
    /// Failed logins to an e-mail address that nobody has.
    FailedEmail(&'a str),
}

/// Whether a login is also counted, or only asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// It is counted if it is let through.
    Yes,
    /// Nothing changes.
    No,
}

/// A limit is reached, and this is how long a client should wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited(pub Duration);

/// The buckets of all three limits, in memory that is bounded whoever tries however often.
pub struct Limits {
    rules: Rules,
    addresses: Buckets,
    accounts: Buckets,
    failures: Buckets,
    shared: Option<Arc<Shared>>,
}

/// A bucket as Synapse keeps it: when it was last empty, and how many logins were let through since.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    start_seconds: f64,
    count: u32,
}

/// How the tables are divided: a million addresses have room, and all tables together cost the process less than 64 MiB,
/// with what the allocator loses while they grow (a quarter more than they hold in the end).
const SHARDS_OF_ADDRESSES: usize = 48;
const SHARDS_OF_ACCOUNTS: usize = 6;

// === impl Rules ===

impl Default for Rules {
    /// The defaults of Synapse's `config/ratelimiting.py`.
    fn default() -> Self {
        let seldom = Rule { per_second: 0.003, burst_count: 5 };
        Rules { address: seldom, account: seldom, failed_attempts: Rule { per_second: 0.17, burst_count: 3 } }
    }
}

impl Rule {
    /// Whether Synapse could work with it: it divides by `per_second`.
    pub fn is_usable(&self) -> bool {
        self.per_second.is_finite() && self.per_second > 0.0
    }
}

// === impl Limits ===

impl Limits {
    /// Empty buckets.
    pub fn new(rules: Rules) -> Limits {
        Limits {
            rules,
            addresses: Buckets::new(SHARDS_OF_ADDRESSES),
            accounts: Buckets::new(SHARDS_OF_ACCOUNTS),
            failures: Buckets::new(SHARDS_OF_ACCOUNTS),
            shared: None,
        }
    }

    /// The same, shared with other edges.
    pub fn sharing(self, shared: Arc<Shared>) -> Limits {
        Limits { shared: Some(shared), ..self }
    }

    /// What is shared with other edges, if anything is.
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    /// Asks a bucket of all edges, if there are such, and this edge's own. The time is as in [`Limits::ask`].
    ///
    /// The edge's own bucket holds some of what the shared one does, so that it refuses nobody whom that would let
    /// through; but it is there when the shared one is away, or has been lost.
    pub async fn ask_shared(&self, key: Key<'_>, count: Count, now_seconds: f64) -> Result<(), Limited> {
        let Some(shared) = &self.shared else { return self.ask(key, count, now_seconds) };
        self.ask(key, Count::No, now_seconds)?;
        match shared.ask(key, self.rule(key), count, None).await {
            Ok(answer) => answer?,
            Err(Away) => return self.ask(key, count, now_seconds),
        }
        // One that was let through in the meantime may have filled it, and is no reason to refuse this one any more.
        let _ = self.ask(key, count, now_seconds);
        Ok(())
    }

    /// Asks this edge's own bucket, at a time in seconds that never goes back.
    pub fn ask(&self, key: Key<'_>, count: Count, now_seconds: f64) -> Result<(), Limited> {
        let rule = self.rule(key);
        let buckets = match key {
            Key::Address(_) => &self.addresses,
            Key::Account(_) => &self.accounts,
            Key::FailedUser(_) | Key::FailedEmail(_) => &self.failures,
        };
        match key {
            Key::Address(address) => buckets.ask(&address, rule, count, now_seconds),
            Key::Account(user) => buckets.ask(&Folded::user(user), rule, count, now_seconds),
            Key::FailedUser(user) => buckets.ask(&Folded::user(user), rule, count, now_seconds),
            Key::FailedEmail(address) => buckets.ask(&Folded::Email(address), rule, count, now_seconds),
        }
    }

    fn rule(&self, key: Key<'_>) -> Rule {
        match key {
            Key::Address(_) => self.rules.address,
            Key::Account(_) => self.rules.account,
            Key::FailedUser(_) | Key::FailedEmail(_) => self.rules.failed_attempts,
        }
    }

    /// How many buckets are kept.
    pub fn bucket_count(&self) -> usize {
        self.addresses.len() + self.accounts.len() + self.failures.len()
    }

    /// How many bytes the buckets take.
    pub fn allocated_bytes(&self) -> usize {
        self.addresses.allocated_bytes() + self.accounts.allocated_bytes() + self.failures.allocated_bytes()
    }
}

/// A text as Synapse uses it as a key; a user and an e-mail address are never the same.
#[derive(Hash)]
enum Folded<'a> {
    User(String),
    Email(&'a str),
}

impl Folded<'_> {
    fn user(user: &str) -> Self {
        Folded::User(user.to_lowercase())
    }
}

// === impl Bucket ===

impl Bucket {
    /// An empty bucket.
    fn empty(now_seconds: f64) -> Bucket {
        Bucket { start_seconds: now_seconds, count: 0 }
    }

    /// When it is empty again.
    fn drained_seconds(&self, rule: Rule) -> f64 {
        self.start_seconds + f64::from(self.count) / rule.per_second
    }

    /// Lets one login through and becomes the bucket after it, or says how long to wait (`can_do_action`).
    fn admit(&mut self, rule: Rule, now_seconds: f64) -> Result<(), Limited> {
        let mut level = f64::from(self.count) - (now_seconds - self.start_seconds) * rule.per_second;
        if level < 0.0 {
            level = 0.0;
            *self = Bucket::empty(now_seconds);
        }
        let burst = f64::from(rule.burst_count);
        if level > burst - 1.0 {
            let allowed = self.start_seconds + (f64::from(self.count) - burst + 1.0) / rule.per_second;
            // The conversion cuts parts of a millisecond off, as Synapse does.
            return Err(Limited(Duration::from_millis((1000.0 * (allowed.max(now_seconds) - now_seconds)) as u64)));
        }
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
