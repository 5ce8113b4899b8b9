//! The states that people see.

use core::fmt;

use pilot_identity::Outcome;
use serde::{Deserialize, Serialize};

/// Where a task is.
///
/// The submitter uses all of them; the worker never says [`TaskState::Delivered`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// At the submitter: the peer has not confirmed it. At the worker: nobody took it.
    Queued,
    /// It is safe in the worker's queue.
    Delivered,
    /// A worker took it.
    Accepted,
    /// The worker said that it is at work.
    Running,
    /// The work was done.
    Succeeded,
    /// The work was tried and not done, or can never be delivered.
    Failed,
    /// The worker did not want it.
    Declined,
    /// The submitter took it back.
    Cancelled,
    /// A deadline or a time-out passed.
    Expired,
}

impl TaskState {
    /// The word of the command line and the local API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// How the task ended, if it has.
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Queued | Self::Delivered | Self::Accepted | Self::Running => None,
            Self::Succeeded => Some(Outcome::Succeeded),
            Self::Failed => Some(Outcome::Failed),
            Self::Declined => Some(Outcome::Declined),
            Self::Cancelled => Some(Outcome::Cancelled),
            Self::Expired => Some(Outcome::Expired),
        }
    }

    /// Whether nothing follows this state.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        self.outcome().is_some()
    }
}

impl From<Outcome> for TaskState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Declined => Self::Declined,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Expired => Self::Expired,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_a_terminal_state_and_back() {
        for outcome in [
            Outcome::Succeeded,
            Outcome::Failed,
            Outcome::Declined,
            Outcome::Cancelled,
            Outcome::Expired,
        ] {
            assert!(TaskState::from(outcome).is_terminal());
            assert_eq!(TaskState::from(outcome).outcome(), Some(outcome));
        }
        assert!(!TaskState::Running.is_terminal());
        assert_eq!(TaskState::Queued.to_string(), "queued");
    }
}
