//! What time alone does to a task.

use core::time::Duration;

use pilot_identity::{Outcome, Timestamp};
use pilot_proto::TaskId;

use super::{Submitter, SubmitterOutput};
use crate::plan::Wait;
use crate::submitted::{CancelRequest, Ending, SubmittedPhase};

/// Tasks that one call handles, so that one drain stays small; the next
/// deadline stays in the past until all are done.
const BATCH: usize = 1_000;

impl Submitter {
    /// Expires tasks and ends pauses. Handles a bounded number at a time: call
    /// it until [`Submitter::next_deadline`] is in the future.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for to in self.outbox.end_pauses(now, BATCH) {
            self.outputs.push_back(SubmitterOutput::Owed { to });
        }
        for id in self.shelf.due(now, BATCH) {
            self.expire(&id, now);
        }
    }

    fn expire(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        if let SubmittedPhase::Held { wait: Wait::Pause { until }, .. } = &task.phase
            && *until <= now
            && task.terms.deadline.is_none_or(|deadline| deadline > now)
        {
            return self.advance(id, now);
        }
        let at_deadline = task.terms.deadline.is_some_and(|deadline| deadline <= now);
        let lost = !at_deadline && task.accepted().is_some();
        let reason = if at_deadline {
            "the deadline passed"
        } else if lost {
            "its worker was not heard of, and its run timeout is over"
        } else {
            "the peer did not get it before its queue timeout"
        };
        let delivered = match task.phase {
            SubmittedPhase::Queued { .. } | SubmittedPhase::Held { .. } => false,
            SubmittedPhase::Delivered { .. }
            | SubmittedPhase::Accepted { .. }
            | SubmittedPhase::Running { .. } => true,
            SubmittedPhase::Ended(_) => return,
        };
        if delivered && !lost && task.cancel.is_none() {
            let (grace, reason) = (Duration::ZERO, reason.to_owned());
            task.cancel = Some(CancelRequest { at: now, grace, reason, owed: true });
        }
        let ending = Ending {
            outcome: Outcome::Expired,
            at: now,
            reason: reason.to_owned(),
            delivery: None,
        };
        if lost {
            task.end_or_again(ending, false, reason);
        } else {
            task.end(ending, reason);
        }
        self.commit(id);
    }
}
