//! Files that go ahead of a task.

use pilot_identity::{Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::MAX_NOTE;
use pilot_proto::text::Text;

use super::Submitter;
use crate::submitted::{Ending, SubmittedPhase, SubmittedTask};

impl Submitter {
    /// All files of a task are in the worker's inbox: it is offered from now
    /// on. Said again, or of a task that waits for none, it changes nothing.
    pub fn handle_files_arrived(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id).filter(|task| task.is_held_back()) else {
            return self.sweep(id);
        };
        if let Some(freight) = &mut task.freight {
            freight.there = true;
        }
        task.history.note(now, task.state(), "its files are there");
        self.commit(id);
    }

    /// The files of a task will not get there: it ends, as if it were
    /// cancelled. `reason` says what became of them; it is cut to [`MAX_NOTE`]
    /// bytes. Of a task that waits for none, it changes nothing.
    pub fn handle_files_failed(&mut self, id: &TaskId, reason: &str, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id).filter(|task| task.is_held_back()) else {
            return self.sweep(id);
        };
        let reason = Text::<MAX_NOTE>::clipped(reason);
        if task.extras.plan.pool.is_some() {
            // Nobody has heard of it; another worker may have room for them.
            let (outcome, delivery) = (Outcome::Declined, None);
            let ending = Ending { outcome, at: now, reason: reason.into_string(), delivery };
            task.end_or_again(ending, false, "its files did not get to this worker");
        } else {
            task.end_by_daemon(Outcome::Cancelled, reason.as_str(), now);
        }
        self.commit(id);
        self.go_on(id, now);
    }
}

impl SubmittedTask {
    /// Whether it waits for its files, so that the worker has never heard of it.
    pub(super) fn is_held_back(&self) -> bool {
        let is_here =
            matches!(self.phase, SubmittedPhase::Queued { .. } | SubmittedPhase::Held { .. });
        is_here && self.awaits_files().is_some()
    }
}
