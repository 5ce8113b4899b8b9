//! The state changes of a task, each with its time and cause.

use pilot_identity::Timestamp;
use pilot_proto::text::Text;
use serde::{Deserialize, Serialize};

use crate::TaskState;

/// Changes kept of a task. Beyond it the middle is dropped: how a task began
/// and how it ended are what people look for.
pub const MAX_CHANGES: usize = 64;

/// Bytes of a cause; longer ones are cut. The full reason is in the record,
/// the history only has to be readable.
const MAX_CAUSE: usize = 256;

/// One step in the life of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, by this node's clock.
    pub at: Timestamp,
    /// The state from then on.
    pub state: TaskState,
    /// Why, in words; at most 256 bytes.
    pub cause: String,
}

/// The first and the latest changes of a task, at most [`MAX_CHANGES`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History(Vec<Change>);

impl History {
    /// The changes, oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    pub(crate) fn note(&mut self, at: Timestamp, state: TaskState, cause: &str) {
        if self.0.len() >= MAX_CHANGES {
            self.0.remove(MAX_CHANGES / 2);
        }
        let cause = Text::<MAX_CAUSE>::clipped(cause).into_string();
        self.0.push(Change { at, state, cause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_dropped() {
        let mut history = History::default();

        for at in 0..1_000 {
            history.note(Timestamp::from_millis(at), TaskState::Queued, &"é".repeat(1_000));
        }

        let times: Vec<u64> =
            history.changes().iter().map(|change| change.at.as_millis()).collect();
        assert_eq!(times.len(), MAX_CHANGES);
        assert_eq!(times[..32], (0..32).collect::<Vec<_>>()[..]);
        assert_eq!(times[32..], (968..1_000).collect::<Vec<_>>()[..]);
        assert!(history.changes().iter().all(|change| change.cause.len() <= MAX_CAUSE));
    }
}
