//! `sync` in dendron.yaml.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::mode::Mode;

/// How quiet syncs are parked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct SyncSettings {
    /// Whether they are, at the start.
    pub park: Mode,
    /// For how long an answer of Synapse's may be given again before Synapse is asked.
    #[serde(with = "crate::duration")]
    pub renew_after: Duration,
    /// The share of users whose syncs are parked.
    pub share: Share,
    /// What becomes of a user who must not look offline where Synapse cannot be told that the user syncs.
    pub untold_presence: UntoldPresence,
}

/// A part of all users, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u8);

/// What is done where Synapse would take a parked user for gone.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum UntoldPresence {
    /// The user's syncs are forwarded.
    #[default]
    Forward,
    /// They are parked, but a sync is let through if the last one was [`REFRESH_AFTER`] ago.
    Refresh,
}

/// Shorter than the 30 s after which Synapse takes a client for gone whose last sync has ended
/// (`presence.sync_online_timeout`).
pub const REFRESH_AFTER: Duration = Duration::from_secs(25);

// === impl SyncSettings ===

impl Default for SyncSettings {
    fn default() -> Self {
        SyncSettings {
            park: Mode::On,
            renew_after: Duration::from_secs(120),
            share: Share::ALL,
            untold_presence: UntoldPresence::Forward,
        }
    }
}

// === impl Share ===

impl Share {
    /// Everybody.
    pub const ALL: Share = Share(100);

    /// Whether a user is in it: always the same ones, and with a larger share the same ones still.
    pub fn includes(self, user_id: &str) -> bool {
        xxhash_rust::xxh3::xxh3_64(user_id.as_bytes()) % 100 < u64::from(self.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Percent;
        impl Visitor<'_> for Percent {
            type Value = Share;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number of percent from 0 to 100")
            }

            fn visit_u64<E: Error>(self, percent: u64) -> Result<Share, E> {
                match u8::try_from(percent) {
                    Ok(percent @ 0..=100) => Ok(Share(percent)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(percent), &self)),
                }
            }
        }
        deserializer.deserialize_any(Percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written() {
        let read = |text: &str| serde_yaml::from_str::<SyncSettings>(text);
        assert_eq!(read("{}").unwrap(), SyncSettings::default());
        let all = read("{park: shadow, renew_after: 10m, share: 5, untold_presence: refresh}").unwrap();
        let expected = SyncSettings {
            park: Mode::Shadow,
            renew_after: Duration::from_secs(600),
            share: Share(5),
            untold_presence: UntoldPresence::Refresh,
        };
        assert_eq!(all, expected);
        assert_eq!(read("{park: off}").unwrap().park, Mode::Off);
        assert_eq!(read("{park: on}").unwrap().park, Mode::On);
        for wrong in ["{park: maybe}", "{share: 101}", "{share: -1}", "{share: 5%}", "{untold_presence: x}", "{r: 1}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_about_so_many_and_grows_by_adding() {
        let users: Vec<String> = (0..10_000).map(|number| format!("@user{number}:example.org")).collect();
        let mut last = Vec::new();
        for percent in [0, 1, 10, 50, 99, 100] {
            let in_it: Vec<&String> = users.iter().filter(|user| Share(percent).includes(user)).collect();
            assert!(in_it.len().abs_diff(usize::from(percent) * 100) <= 200, "{percent}: {}", in_it.len());
            assert!(last.iter().all(|user| in_it.contains(user)), "{percent}");
            last = in_it;
        }
        assert_eq!(last.len(), users.len());
    }
}
