//! What a task asks for, without its content.

use core::time::Duration;

use pilot_identity::{Digest, Timestamp};
use pilot_proto::TaskId;
use serde::{Deserialize, Serialize};

/// Characters of [`Terms::summary`].
pub const MAX_SUMMARY: usize = 120;

/// The part of a task's record that both ends have, and that does not change
/// during an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Its id.
    pub id: TaskId,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// Higher is accepted first; 0 is usual.
    pub priority: i16,
    /// When it has to be over, by this node's clock.
    pub deadline: Option<Timestamp>,
    /// How long it may wait to be accepted; at the worker, what was left of that.
    pub queue_timeout: Option<Duration>,
    /// How long it may run once accepted.
    pub run_timeout: Option<Duration>,
    /// The first [`MAX_SUMMARY`] characters of the description, for listings.
    pub summary: String,
    /// Bytes of the encoded body.
    pub body_len: u64,
    /// The digest of the encoded body.
    pub body_digest: Digest,
}

/// The first [`MAX_SUMMARY`] characters of a description.
#[must_use]
pub fn summary_of(description: &str) -> String {
    description.chars().take(MAX_SUMMARY).collect()
}

/// The time left until `end`, in milliseconds, as it goes over the wire.
pub(crate) fn left_ms(end: Timestamp, now: Timestamp) -> u64 {
    millis(end.since(now))
}

/// A duration in whole milliseconds, as it goes over the wire.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The earlier of two moments, where none means never.
pub(crate) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_characters() {
        assert_eq!(summary_of("short"), "short");
        assert_eq!(summary_of(&"ö".repeat(500)).chars().count(), MAX_SUMMARY);
    }

    #[test]
    fn never_is_later_than_any_moment() {
        let (one, two) = (Some(Timestamp::from_millis(1)), Some(Timestamp::from_millis(2)));

        assert_eq!(earlier(one, two), one);
        assert_eq!(earlier(None, two), two);
        assert_eq!(earlier(one, None), one);
        assert_eq!(earlier(None, None), None);
    }
}
