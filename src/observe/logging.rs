//! What dendron says besides the access log: `tracing` events, as text or JSON lines on standard error.

use std::io::IsTerminal;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The form of log lines, the access log's included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object a line.
    Json,
    /// Words and `key=value` pairs.
    #[default]
    Text,
}

/// From which level on things are said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only what failed.
    Error,
    /// What somebody should look at.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Why logging could not be set up: somebody set it up before.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already")]
pub struct LoggingError(#[from] Box<dyn std::error::Error + Send + Sync>);

/// The crates that are heard only when something is wrong, and what is never heard: every error of `pingora_proxy` and of
/// `pingora_core::apps` that dendron does not tell itself is a client's doing, who left within a head or before its first
/// frame of HTTP/2.
const QUIET: &str = "pingora=error,pingora_core=error,pingora_core::apps=off,pingora_proxy=off,tokio_postgres=warn";

impl Level {
    /// The level as the configuration and `tracing` name it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// Sends this process's events to standard error. Pingora tells every connection error that a client causes; those lines
/// are the access log's to tell, so Pingora is heard from `error` on. It and the database's driver would also tell tokens
/// and the parameters of queries at their lower levels.
///
/// # Errors
///
/// [`LoggingError`] when it was called before.
pub fn start(level: Level, format: Format) -> Result<(), LoggingError> {
    let level = level.name();
    let filter = EnvFilter::new(format!("{level},{QUIET}"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal();
    match format {
        Format::Json => subscriber.json().try_init()?,
        Format::Text => subscriber.with_ansi(colours).try_init()?,
    }
    Ok(())
}
