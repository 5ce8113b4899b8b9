//! What worker processes do with a task until they end it.

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::MAX_NOTE;
use pilot_proto::text::Text;

use super::{Worker, WorkerOutput};
use crate::received::ReceivedPhase;
use crate::shelf::Record as _;
use crate::state::TaskState;

/// Bytes of what an acceptor calls itself; longer names are cut.
const MAX_ACCEPTOR: usize = 128;

/// Why progress cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProgressError {
    /// There is no such task.
    #[error("no such task was received here")]
    Unknown,
    /// It has to be accepted first.
    #[error("the task was not accepted yet")]
    NotAccepted,
    /// It has ended.
    #[error("the task has already ended: {state}")]
    Ended {
        /// How.
        state: TaskState,
    },
}

impl Worker {
    /// Takes the task whose turn it is: highest priority, then the one that
    /// waits longest; with `from`, only tasks of that submitter. `acceptor`
    /// is what the worker process calls itself. Tasks whose time is over are
    /// passed by.
    ///
    /// The task may be handed out once this drain's commit is on disk.
    pub fn accept(
        &mut self,
        from: Option<NodeId>,
        acceptor: &str,
        now: Timestamp,
    ) -> Option<TaskId> {
        let live = |id: &TaskId| {
            self.shelf.get(id).is_some_and(|task| task.due().is_none_or(|due| due > now))
        };
        let id = self.queue.in_order(from.as_ref()).find(live)?;
        let task = self.shelf.get_mut(&id)?;
        let acceptor = Text::<MAX_ACCEPTOR>::clipped(acceptor).into_string();
        task.enter(ReceivedPhase::Accepted { at: now, acceptor }, now, "accepted");
        self.commit(&id, None);
        Some(id)
    }

    /// The task that `acceptor` accepted before, if nothing more was said of
    /// it: whoever got no answer to its accept asks again under the same name.
    /// From then on, releasing what was accepted first does nothing.
    ///
    /// It may be handed out again once this drain's commit is on disk.
    pub fn accept_again(&mut self, acceptor: &str) -> Option<TaskId> {
        let id = self.queue.taken_by(acceptor)?;
        self.commit(&id, None);
        Some(id)
    }

    /// Puts an accepted task back into the queue, in its old place: nobody
    /// ever heard that it was theirs. `revision` is the task's as it was
    /// accepted: does nothing if anything has happened to it since.
    pub fn release(&mut self, id: &TaskId, revision: u64, cause: &str, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        if task.revision != revision || !matches!(task.phase, ReceivedPhase::Accepted { .. }) {
            return;
        }
        if task.cancel.is_some() {
            self.end_by_daemon(id, Outcome::Cancelled, cause, now);
            return;
        }
        task.enter(ReceivedPhase::Queued, now, cause);
        self.commit(id, None);
        self.outputs.push_back(WorkerOutput::Ready);
    }

    /// The worker process says how far it is. The first time, the task is
    /// running from then on. `None` leaves what was said before; a note is cut
    /// to [`MAX_NOTE`] bytes, a percentage to 100.
    ///
    /// # Errors
    ///
    /// [`ProgressError`] if nobody is at work on such a task.
    pub fn progress(
        &mut self,
        id: &TaskId,
        percent: Option<u8>,
        note: Option<&str>,
        now: Timestamp,
    ) -> Result<(), ProgressError> {
        let Some(task) = self.shelf.get_mut(id) else { return Err(ProgressError::Unknown) };
        match &task.phase {
            ReceivedPhase::Queued => return Err(ProgressError::NotAccepted),
            ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => {
                let state = task.state();
                self.sweep(id);
                return Err(ProgressError::Ended { state });
            }
            ReceivedPhase::Accepted { at, acceptor } => {
                let (accepted, acceptor) = (*at, acceptor.clone());
                task.enter(ReceivedPhase::Running { accepted, acceptor }, now, "at work");
            }
            ReceivedPhase::Running { .. } => {}
        }
        if let Some(percent) = percent {
            task.percent = Some(percent.min(100));
        }
        if let Some(note) = note {
            task.note = Text::<MAX_NOTE>::clipped(note).into_string();
        }
        self.commit(id, None);
        Ok(())
    }
}
