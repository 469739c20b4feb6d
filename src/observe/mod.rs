//! What dendron tells about itself.
//!
//! - [`table`]: every metric, a row for each.
//! - [`metrics`]: their handles.
//! - [`access_log`]: one line a request.
//! - [`logging`]: everything else that is said, through `tracing`.
//! - [`settings`]: `log:` in dendron.yaml.
//!
//! Not here: the listener that shows the metrics (`admin`).

pub mod access_log;
pub mod logging;
pub mod metrics;
pub mod settings;
pub mod table;

pub use access_log::AccessLog;
pub use metrics::Metrics;
pub use settings::LogSettings;
