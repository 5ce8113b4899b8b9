//! Moments, as text.

use core::fmt;

use pilot_identity::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment in RFC 3339, UTC, with milliseconds: `2026-02-09T12:00:00.000Z`.
///
/// Sorts by time, as the form has a fixed width until the year 10000.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
pub struct Time(String);

impl From<Timestamp> for Time {
    fn from(moment: Timestamp) -> Self {
        Self(moment.to_string())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
