//! Cancellations, and peers that are no longer trusted.

use core::time::Duration;

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::tasks::{Cancel, TaskAnswer, TaskRefusal};

use super::Worker;
use crate::received::{CancelNotice, ReceivedPhase, ReceivedTask};

impl Worker {
    /// A submitter wants a task stopped. The answer may be sent once this
    /// drain's commit is on disk.
    ///
    /// A queued task ends at once; a worker process that has accepted one sees
    /// the wish and has the grace to end it itself. Of a task not known, a
    /// record is made that keeps a late offer from running; such records count
    /// as tasks of the peer (`QueueFull`).
    pub fn handle_cancel(&mut self, peer: NodeId, cancel: &Cancel, now: Timestamp) -> TaskAnswer {
        if !self.shelf.contains(&cancel.id) {
            return self.on_cancel_ahead(peer, cancel, now);
        }
        let answer = match self.on_cancel(peer, cancel, now) {
            Ok(()) => TaskAnswer::Cancelling,
            Err(refusal) => TaskAnswer::Refused(refusal),
        };
        self.sweep(&cancel.id);
        answer
    }

    /// The peer may not submit tasks here any more: what nobody has accepted
    /// is declined.
    pub fn handle_trust_lost(&mut self, peer: NodeId, now: Timestamp) {
        let queued: Vec<_> = self.queue.in_order(Some(&peer)).collect();
        for id in queued {
            self.end_by_daemon(&id, Outcome::Declined, "the submitter is no longer trusted", now);
        }
    }

    fn on_cancel_ahead(&mut self, peer: NodeId, cancel: &Cancel, now: Timestamp) -> TaskAnswer {
        if cancel.attempt == 0 {
            return TaskAnswer::Refused(TaskRefusal::Invalid);
        }
        if self.is_full_for(&peer) {
            return TaskAnswer::Refused(TaskRefusal::QueueFull);
        }
        self.shelf.insert(ReceivedTask::tombstone(cancel.id, cancel.attempt, peer, now));
        self.end_by_daemon(&cancel.id, Outcome::Cancelled, reason(cancel), now);
        TaskAnswer::Cancelling
    }

    fn on_cancel(
        &mut self,
        peer: NodeId,
        cancel: &Cancel,
        now: Timestamp,
    ) -> Result<(), TaskRefusal> {
        let task = self.shelf.get_mut(&cancel.id).filter(|task| task.peer == peer);
        let Some(task) = task else { return Err(TaskRefusal::Unknown) };
        if cancel.attempt < task.terms.attempt {
            return Err(TaskRefusal::Superseded);
        }
        if cancel.attempt > task.terms.attempt {
            return Err(TaskRefusal::Unknown);
        }
        match task.phase {
            ReceivedPhase::Queued => {
                self.end_by_daemon(&cancel.id, Outcome::Cancelled, reason(cancel), now);
            }
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. }
                if task.cancel.is_none() =>
            {
                let until = now.saturating_add(Duration::from_millis(cancel.grace_ms));
                let reason = cancel.reason.as_str().to_owned();
                task.cancel = Some(CancelNotice { at: now, until, reason });
                task.history.note(now, task.state(), "the submitter wants it stopped");
                self.commit(&cancel.id, None);
            }
            ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. }
            | ReceivedPhase::Finished { .. }
            | ReceivedPhase::Closed { .. } => self.promise_again(&cancel.id),
        }
        Ok(())
    }
}

fn reason(cancel: &Cancel) -> &str {
    match cancel.reason.as_str() {
        "" => "cancelled by the submitter",
        reason => reason,
    }
}
