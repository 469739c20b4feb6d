//! `log:` in dendron.yaml.

use serde::Deserialize;

use super::access_log::Target;
use super::logging::{Format, Level};

/// What is logged, how and where.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How a line looks, the access log's included.
    pub format: Format,
    /// From which level on.
    pub level: Level,
    /// Where the line for each request goes.
    pub access: Target,
}
