//! What is logged.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

/// A filter in the notation of `tracing`: `info`, `pilot_overlay=debug,warn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a log filter is a level (error, warn, info, debug, trace) or module=level: {reason}")]
pub struct LogFilterError {
    /// What the parser of filters said.
    pub reason: String,
}

impl LogFilter {
    /// The filter as text; [`EnvFilter`] takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a user would notice.
impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(LogFilterError { reason: error.to_string() }),
        }
    }
}

impl<'de> Deserialize<'de> for LogFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
