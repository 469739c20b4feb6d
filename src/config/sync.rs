//! Quiet syncs: the facts of Synapse's files → whether they can be parked, and with what.
//!
//! Not here: the parking itself (`quiet`), and what only time tells, such as whether Redis answers.

use std::fmt;
use std::time::Duration;

use super::Config;
use super::homeserver::Presence;
use super::key_path::KeyPath;
use super::login::readable;
use super::problem::{Places, Problems};
use crate::database;
use crate::quiet::declined::Against;

/// What parking takes.
#[derive(Debug)]
pub struct SyncPlan {
    /// Where users' rooms are.
    pub database: database::Settings,
    /// Whether Synapse finds out by itself who is online.
    pub presence: bool,
}

/// Why no sync is parked. It prints as `dendron check` tells it.
#[derive(Debug)]
pub struct Forwarded {
    /// All the reasons, at least one.
    pub reasons: Vec<Against>,
    /// Why the database cannot be read, where that is among them.
    database: Option<String>,
}

/// How long an answer may be given again, at least and at most. A shorter time parks nobody, and what an edge could miss
/// should not be late by more than an hour.
const RENEW_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// Decides it. `variable` reads the environment, in which libpq looks for what the database's arguments leave open.
///
/// # Errors
///
/// [`Forwarded`], with everything that speaks against it.
pub fn sync(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<SyncPlan, Forwarded> {
    let Some(homeserver) = &config.homeserver else {
        return Err(Forwarded { reasons: vec![Against::SynapseUnknown], database: None });
    };
    let (database, unusable) = readable(config, homeserver, variable);
    let Presence { enabled, tracked, has_router, .. } = homeserver.presence;
    let against = [
        (homeserver.redis.is_none(), Against::NoRedis),
        (database.is_none(), Against::NoPostgres),
        (enabled && has_router, Against::PresenceRouter),
    ];
    let reasons: Vec<Against> = against.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect();
    match database {
        Some(database) if reasons.is_empty() => Ok(SyncPlan { database, presence: enabled && tracked }),
        _ => Err(Forwarded { reasons, database: unusable }),
    }
}

/// Times that would not mean what they seem to.
pub(super) fn check(config: &Config, places: &dyn Places, problems: &mut Problems) {
    let (least, most) = RENEW_AFTER;
    if !(least..=most).contains(&config.sync.renew_after) {
        problems.error(places.place(&KeyPath::root().key("sync").key("renew_after")), "expected 1s to 1h");
    }
}

// === impl Forwarded ===

impl fmt::Display for Forwarded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, reason) in self.reasons.iter().enumerate() {
            formatter.write_str(if number == 0 { "" } else { "; " })?;
            match (reason, &self.database) {
                (Against::NoPostgres, Some(unusable)) => write!(formatter, "{unusable}")?,
                _ => formatter.write_str(reason.explanation())?,
            }
        }
        Ok(())
    }
}
