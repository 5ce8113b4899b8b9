//! What time alone does to a task.

use core::time::Duration;

use pilot_identity::{Outcome, Timestamp};
use pilot_proto::TaskId;

use super::{Worker, WorkerOutput};
use crate::received::ReceivedPhase;

/// Tasks that one call handles, so that one drain stays small; the next
/// deadline stays in the past until all are done.
const BATCH: usize = 1_000;

/// How long a worker process may take to stop once the time of its task is over.
const OVERTIME_GRACE: Duration = Duration::from_secs(10);

impl Worker {
    /// Ends what ran out of time or grace, and ends pauses. Handles a bounded
    /// number at a time: call it until [`Worker::next_deadline`] is in the
    /// future.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for to in self.outbox.end_pauses(now, BATCH) {
            self.outputs.push_back(WorkerOutput::Owed { to });
        }
        for id in self.shelf.due(now, BATCH) {
            self.on_due(&id, now);
        }
    }

    fn on_due(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get(id) else { return };
        let passed = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= now);
        let (outcome, reason) = match task.phase {
            ReceivedPhase::Queued if passed(task.terms.deadline) => {
                (Outcome::Expired, "the deadline passed before it was accepted")
            }
            ReceivedPhase::Queued if passed(task.queue_until()) => {
                (Outcome::Expired, "nobody accepted it before its queue timeout")
            }
            ReceivedPhase::Queued => return self.on_time_has_come(id),
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
                if let Some(cancel) = task.cancel.as_ref().filter(|cancel| cancel.until <= now) {
                    let reason = overdue(&cancel.reason);
                    let outcome = task.stopped_as();
                    return self.end_by_daemon(id, outcome, &reason, now);
                }
                if task.extras.bound.is_some() && task.cancel.is_none() {
                    // Its process is there, and may be at it as long as it has a grace.
                    return self.on_overtime(id, now);
                }
                if passed(task.terms.deadline) {
                    (Outcome::Expired, "the deadline passed while it was worked on")
                } else {
                    (Outcome::Expired, "it ran longer than its run timeout")
                }
            }
            ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => return,
        };
        self.end_by_daemon(id, outcome, reason, now);
    }

    /// The time of a task is over whose process is there: it is asked to stop.
    fn on_overtime(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        let at_deadline = task.terms.deadline.is_some_and(|deadline| deadline <= now);
        let reason = if at_deadline {
            "the deadline passed while it was worked on"
        } else {
            "it ran longer than its run timeout"
        };
        task.extras.overtime = true;
        self.ask_to_stop(id, OVERTIME_GRACE, reason, now);
    }

    /// It was put back for later, and that is now.
    fn on_time_has_come(&mut self, id: &TaskId) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        task.extras.not_before = None;
        self.commit(id, None);
    }
}

/// Why a task is cancelled whose worker did not stop within the grace.
fn overdue(reason: &str) -> String {
    let reason = if reason.is_empty() { "cancelled by the submitter" } else { reason };
    format!("{reason} (the worker did not stop within the grace)")
}
