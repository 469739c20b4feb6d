//! Whether the listener is of use, found out without doing anything.

use std::fmt;

use http::StatusCode;

use super::super::Question;
use super::{Devices, transaction};
use crate::secret::Secret;

/// What is known of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Nothing yet.
    Unchecked,
    /// It registers devices.
    Ready {
        /// Whether it asks for the secret.
        protected: bool,
    },
    /// It does not.
    Unready(Unready),
}

/// Why the listener registers no devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// It could not be asked.
    Unreachable(String),
    /// It is another listener: it has no such route.
    NoRoute,
    /// It does not know the secret.
    WrongSecret,
    /// The secret cannot stand in a header.
    SecretUnwritable,
    /// It answered with this status, which says nothing.
    Strange(u16),
}

impl Listener {
    /// Whether devices can be registered.
    pub const fn is_ready(&self) -> bool {
        matches!(self, Listener::Ready { .. })
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unready::Unreachable(reason) => formatter.write_str(reason),
            Unready::NoRoute => {
                formatter.write_str("it is no listener of the main process with the resource replication")
            }
            Unready::WrongSecret => formatter.write_str("it does not accept worker_replication_secret"),
            Unready::SecretUnwritable => formatter.write_str("worker_replication_secret cannot stand in a header"),
            Unready::Strange(status) => write!(formatter, "it answered a check with status {status}"),
        }
    }
}

/// How the main process took a body that is no JSON.
enum Reaction {
    /// It read the body, which it does only for those who know the secret.
    Accepted,
    /// It failed: this is how it refuses a wrong secret.
    Failed,
    Other(Unready),
}

impl Devices {
    /// Checks the listener once.
    pub async fn check(&self) -> Listener {
        let protected_before = matches!(**self.listener.load(), Listener::Ready { protected: true });
        let listener = match self.react(self.secret.as_ref()).await {
            Reaction::Other(reason) => Listener::Unready(reason),
            Reaction::Failed => Listener::Unready(Unready::WrongSecret),
            Reaction::Accepted => Listener::Ready { protected: protected_before || self.is_protected().await },
        };
        self.set(listener.clone());
        listener
    }

    /// Whether a wrong secret is refused. Synapse logs an exception when it is, so this is asked seldom.
    async fn is_protected(&self) -> bool {
        let Some(wrong) = self.secret.is_some().then(transaction).flatten() else { return false };
        !matches!(self.react(Some(&Secret::new(wrong))).await, Reaction::Accepted)
    }

    async fn react(&self, secret: Option<&Secret>) -> Reaction {
        let (Some(headers), Some(transaction)) = (Self::headers(secret), transaction()) else {
            return Reaction::Other(Unready::SecretUnwritable);
        };
        let Some(peer) = self.target.peer().await else {
            return Reaction::Other(Unready::Unreachable("the host name is not resolved".to_owned()));
        };
        let question = Question::post(Self::path("@dendron:check", &transaction), headers, "this is no JSON");
        match self.client.ask(&peer, &question, self.patience).await {
            Err(error) => Reaction::Other(Unready::Unreachable(error.to_string())),
            Ok(answer) => match answer.status {
                StatusCode::BAD_REQUEST => Reaction::Accepted,
                StatusCode::INTERNAL_SERVER_ERROR => Reaction::Failed,
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Reaction::Other(Unready::NoRoute),
                status => Reaction::Other(Unready::Strange(status.as_u16())),
            },
        }
    }
}
