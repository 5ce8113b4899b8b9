//! How a task ends at its worker, and the receipt about it.

use pilot_identity::{Digest, NodeKey, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Attached, MAX_NOTE, ResultBody};
use pilot_proto::text::Text;

use super::Worker;
use crate::freight::Freight;
use crate::received::{ReceivedPhase, ReceivedTask, WorkEnding};
use crate::state::TaskState;

/// Whether the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkOutcome {
    /// It was.
    Succeeded,
    /// It was tried, and was not.
    Failed,
}

impl From<WorkOutcome> for Outcome {
    fn from(outcome: WorkOutcome) -> Self {
        match outcome {
            WorkOutcome::Succeeded => Self::Succeeded,
            WorkOutcome::Failed => Self::Failed,
        }
    }
}

/// What a worker process says came out of a task; its content is with the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Whether it was done.
    pub outcome: WorkOutcome,
    /// The digest of the encoded [`ResultBody`].
    pub digest: Digest,
    /// Bytes of the encoded [`ResultBody`].
    pub len: u64,
    /// The reason in it; cut to [`MAX_NOTE`] bytes.
    pub reason: String,
    /// The files that go ahead of it, as the body says; on their way already.
    pub attached: Option<Attached>,
}

/// A result that was taken, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How the task ended.
    pub state: TaskState,
    /// Whether it is new, so that its body has to be stored in this drain's commit.
    pub new: bool,
}

/// Why a result was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// There is no such task.
    #[error("no such task was received here")]
    Unknown,
    /// It has to be accepted first.
    #[error("the task was not accepted yet")]
    NotAccepted,
    /// Another result was given before, and stays.
    #[error("a different result was given before: {state}")]
    Conflict {
        /// How the task ended by the first result.
        state: TaskState,
    },
    /// It ended otherwise.
    #[error("the task has already ended: {state}")]
    Ended {
        /// How.
        state: TaskState,
    },
}

/// Why a task cannot be declined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeclineError {
    /// There is no such task.
    #[error("no such task was received here")]
    Unknown,
    /// Work on it has begun; it can only be finished, as failed if need be.
    #[error("the task is running; it can fail, but not be declined any more")]
    Running,
    /// It has ended.
    #[error("the task has already ended: {state}")]
    Ended {
        /// How.
        state: TaskState,
    },
}

impl Worker {
    /// A worker process gives its result. It may be confirmed once this
    /// drain's commit is on disk. The same result again is confirmed again.
    ///
    /// # Errors
    ///
    /// [`FinishError`] if the task was not accepted or has ended otherwise.
    pub fn finish(
        &mut self,
        id: &TaskId,
        work: &Work,
        now: Timestamp,
    ) -> Result<Finished, FinishError> {
        let outcome = Outcome::from(work.outcome);
        let Some(task) = self.shelf.get_mut(id) else { return Err(FinishError::Unknown) };
        match &task.phase {
            ReceivedPhase::Queued => return Err(FinishError::NotAccepted),
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {}
            ReceivedPhase::Finished { ending, .. } | ReceivedPhase::Closed { ending, .. } => {
                let answer = finished_again(ending, outcome, &work.digest);
                self.promise_again(id);
                self.sweep(id);
                return answer;
            }
        }
        let ending = WorkEnding {
            outcome,
            at: now,
            accepted: task.accepted_at(),
            reason: Text::<MAX_NOTE>::clipped(&work.reason).into_string(),
            digest: work.digest,
            len: work.len,
        };
        task.freight = work.attached.map(Freight::on_its_way);
        task.finish(ending, &self.key);
        let state = task.state();
        self.commit(id, None);
        Ok(Finished { state, new: true })
    }

    /// A worker process, or the operator, does not want a task. Declining
    /// again is harmless.
    ///
    /// # Errors
    ///
    /// [`DeclineError`] if work on it has begun or it has ended otherwise.
    pub fn decline(
        &mut self,
        id: &TaskId,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), DeclineError> {
        let Some(task) = self.shelf.get(id) else { return Err(DeclineError::Unknown) };
        match &task.phase {
            ReceivedPhase::Queued | ReceivedPhase::Accepted { .. } => {
                self.end_by_daemon(id, Outcome::Declined, reason, now);
                Ok(())
            }
            ReceivedPhase::Running { .. } => Err(DeclineError::Running),
            ReceivedPhase::Finished { ending, .. } | ReceivedPhase::Closed { ending, .. } => {
                let outcome = ending.outcome;
                self.promise_again(id);
                self.sweep(id);
                if outcome == Outcome::Declined {
                    Ok(())
                } else {
                    Err(DeclineError::Ended { state: outcome.into() })
                }
            }
        }
    }

    /// Ends a task without a result of a worker process; its result is `reason`.
    pub(super) fn end_by_daemon(
        &mut self,
        id: &TaskId,
        outcome: Outcome,
        reason: &str,
        now: Timestamp,
    ) {
        let body = ResultBody { reason: Text::clipped(reason), ..ResultBody::default() };
        self.end_with(id, outcome, body, now);
    }

    /// The same with a result that says more than why.
    pub(super) fn end_with(
        &mut self,
        id: &TaskId,
        outcome: Outcome,
        result: ResultBody,
        now: Timestamp,
    ) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        let body = result.encode();
        let ending = WorkEnding {
            outcome,
            at: now,
            accepted: task.accepted_at(),
            reason: result.reason.into_string(),
            digest: Digest::of(&body),
            len: u64::try_from(body.len()).unwrap_or(u64::MAX),
        };
        task.finish(ending, &self.key);
        self.commit(id, Some(body));
    }
}

fn finished_again(
    ending: &WorkEnding,
    outcome: Outcome,
    digest: &Digest,
) -> Result<Finished, FinishError> {
    let state = TaskState::from(ending.outcome);
    match ending.outcome {
        Outcome::Declined | Outcome::Cancelled | Outcome::Expired => {
            Err(FinishError::Ended { state })
        }
        Outcome::Succeeded | Outcome::Failed
            if ending.outcome == outcome && ending.digest == *digest =>
        {
            Ok(Finished { state, new: false })
        }
        Outcome::Succeeded | Outcome::Failed => Err(FinishError::Conflict { state }),
    }
}

impl ReceivedTask {
    pub(super) fn finish(&mut self, ending: WorkEnding, key: &NodeKey) {
        let receipt = Box::new(self.receipt(key.id(), &ending).sign(key));
        let (at, cause) = (ending.at, ending.reason.clone());
        let cause = if cause.is_empty() { "the result was given".to_owned() } else { cause };
        self.enter(ReceivedPhase::Finished { ending, receipt, hold: None }, at, &cause);
    }
}
