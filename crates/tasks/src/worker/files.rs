//! Files that go ahead of a result.

use pilot_identity::{Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::MAX_NOTE;
use pilot_proto::text::Text;

use super::{Work, Worker};
use crate::received::{ReceivedTask, WorkEnding};

impl Worker {
    /// All files of a result are in the submitter's inbox: it is sent from now
    /// on. Said again, or of a task that waits for none, it changes nothing.
    pub fn handle_files_arrived(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id).filter(|task| task.awaits_files().is_some()) else {
            return self.sweep(id);
        };
        if let Some(freight) = &mut task.freight {
            freight.there = true;
        }
        task.history.note(now, task.state(), "its files are there");
        self.commit(id, None);
    }

    /// The files of a result will not get there: what is left of it, without
    /// them, is `rest`, and it has failed. True if it was so, and the body of
    /// `rest` has to be stored in this drain's commit; otherwise nothing changes.
    pub fn handle_files_failed(&mut self, id: &TaskId, rest: &Work, now: Timestamp) -> bool {
        let ending = self.shelf.get(id).filter(|task| task.awaits_files().is_some());
        let Some(ending) = ending.and_then(ReceivedTask::ending) else {
            self.sweep(id);
            return false;
        };
        let ending = WorkEnding {
            outcome: Outcome::Failed,
            at: now,
            accepted: ending.accepted,
            reason: Text::<MAX_NOTE>::clipped(&rest.reason).into_string(),
            digest: rest.digest,
            len: rest.len,
        };
        let Some(task) = self.shelf.get_mut(id) else { return false };
        task.freight = None;
        task.finish(ending, &self.key);
        self.commit(id, None);
        true
    }
}
