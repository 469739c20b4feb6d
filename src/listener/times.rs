//! `timeouts.client` in dendron.yaml: how long a client may take, whatever it asks for.
//!
//! Not here: how long Synapse may take, which depends on the class (`route::rules`).

use std::time::Duration;

use serde::Deserialize;

/// How long a client may take for what is its own part.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTimes {
    /// For a whole request head, counted from its first byte, so that a byte now and then gains nothing; and for a TLS
    /// handshake.
    #[serde(with = "crate::duration")]
    pub head: Duration,
    /// Between two requests on one connection.
    #[serde(with = "crate::duration")]
    pub idle: Duration,
    /// Without a sign of life while it sends a body, or does not take what it is sent.
    #[serde(with = "crate::duration")]
    pub silence: Duration,
}

impl ClientTimes {
    /// The shortest time that the configuration takes: less is a slip of the pen, and nothing is what Pingora takes for
    /// no limit at all.
    pub const MIN: Duration = Duration::from_secs(1);

    /// [`ClientTimes::idle`] as Pingora takes it: in whole seconds, of which none would be without end.
    pub fn idle_seconds(&self) -> u64 {
        self.idle.as_secs().max(1)
    }
}

impl Default for ClientTimes {
    fn default() -> Self {
        ClientTimes { head: Duration::from_secs(10), idle: Duration::from_secs(300), silence: Duration::from_secs(60) }
    }
}
