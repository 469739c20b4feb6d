//! A device and its tokens for a user whose password is right, by the main process: the call that every one of Synapse's
//! workers makes for a login (Synapse, `replication/http/login.py`).
//!
//! The main process does all writes, so that device lists, expiry, refresh tokens and the limit of users stay Synapse's.
//! It offers the call on a listener with the resource `replication` alone. What is asked there can make a token for
//! anybody: the secret goes to that one address and into no log.
//!
//! Before it is used, and again after it has failed, the listener is tried with a body that is no JSON. Synapse looks at
//! the secret first and reads the body second (`replication/http/_base.py`, `_check_auth_and_handle`), so that the
//! answer tells whether the route exists and the secret is right, and nothing is done.

mod probe;
mod register;
#[cfg(test)]
mod tests;

pub use probe::{Listener, Unready};
pub use register::{Device, DeviceRequest, RegisterError};

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::watch;

use super::{Client, Target};
use crate::secret::Secret;

/// How long the main process may take for one try.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often the listener is tried while it is of no use.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What `urllib.parse.quote` leaves as it is, with no further safe characters.
const UNQUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The listener of the main process that registers devices.
pub struct Devices {
    client: Arc<Client>,
    target: Target,
    /// What the processes show each other; `None` if Synapse has none.
    secret: Option<Secret>,
    patience: Duration,
    listener: ArcSwap<Listener>,
    /// Told when a call has failed in a way that a check should look at.
    failed: watch::Sender<()>,
}

impl Devices {
    /// The listener at `target`. Nothing is asked yet.
    pub fn new(client: Arc<Client>, target: Target, secret: Option<Secret>) -> Self {
        Devices {
            client,
            target,
            secret,
            patience: PATIENCE,
            listener: ArcSwap::from_pointee(Listener::Unchecked),
            failed: watch::Sender::new(()),
        }
    }

    /// The same with another patience for each try.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the last check found.
    pub fn listener(&self) -> Arc<Listener> {
        self.listener.load_full()
    }

    /// Checks the listener now, then whenever a call has failed, until it is of use again. While it is not, nothing else
    /// tries it. Dropping the future ends it.
    pub async fn watch(&self) {
        let mut failures = self.failed.subscribe();
        loop {
            failures.mark_unchanged();
            if self.check().await.is_ready() {
                // The sender is in `self`, so that this never fails.
                let _ = failures.changed().await;
            } else {
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
        }
    }

    /// Takes note of what the listener is like; a change is told once.
    fn set(&self, listener: Listener) {
        let before = self.listener.swap(Arc::new(listener.clone()));
        if *before == listener {
            return;
        }
        let address = self.target.address();
        match listener {
            Listener::Unchecked => {}
            Listener::Ready { protected: true } => tracing::info!(%address, "the main process registers devices"),
            Listener::Ready { protected: false } => tracing::warn!(
                %address,
                "the main process registers devices for anybody who reaches it: set worker_replication_secret"
            ),
            Listener::Unready(reason) => tracing::warn!(%address, %reason, "the main process registers no devices"),
        }
    }

    /// The path of a call. Synapse keeps its answer under `transaction` alone for half an hour.
    fn path(user_id: &str, transaction: &str) -> String {
        let user_id = utf8_percent_encode(user_id, UNQUOTED);
        format!("/_synapse/replication/device_check_registered/{user_id}/{transaction}")
    }

    fn headers(secret: Option<&Secret>) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = secret {
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose())).ok()?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Some(headers)
    }
}

/// A name for a call that nobody else has: 128 random bits.
fn transaction() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
