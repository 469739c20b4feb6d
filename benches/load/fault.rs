//! What can go wrong with a run. A person reads it, and the run ends; nothing is done about it here.

use std::io;

/// Why the suite cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
}

pub(crate) type Outcome<T> = Result<T, Fault>;

/// Adds what was being done to what the system says.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Outcome<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Outcome<T> {
        self.map_err(|source| Fault::System { what: what.into(), source })
    }
}

/// A fault in words.
pub(crate) fn wrong(text: impl Into<String>) -> Fault {
    Fault::Wrong(text.into())
}
