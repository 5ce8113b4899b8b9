//! What worker processes do with a task until they end it.

use pilot_identity::Timestamp;
use pilot_proto::TaskId;
use pilot_proto::tasks::MAX_NOTE;
use pilot_proto::text::Text;

use super::Worker;
use crate::received::ReceivedPhase;
use crate::state::TaskState;

/// Why nothing can be said of a task, and it cannot be given back: nobody
/// works on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAtWork {
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
    /// The worker process says how far it is. The first time, the task is
    /// running from then on. `None` leaves what was said before; a note is cut
    /// to [`MAX_NOTE`] bytes, a percentage to 100.
    ///
    /// # Errors
    ///
    /// [`NotAtWork`] if nobody is at work on such a task.
    pub fn progress(
        &mut self,
        id: &TaskId,
        percent: Option<u8>,
        note: Option<&str>,
        now: Timestamp,
    ) -> Result<(), NotAtWork> {
        let Some(task) = self.shelf.get_mut(id) else { return Err(NotAtWork::Unknown) };
        match &task.phase {
            ReceivedPhase::Queued => return Err(NotAtWork::NotAccepted),
            ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => {
                let state = task.state();
                self.sweep(id);
                return Err(NotAtWork::Ended { state });
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
