//! Taking a task back, and peers that are no longer trusted.

use core::time::Duration;

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::MAX_NOTE;
use pilot_proto::text::Text;

use super::Submitter;
use super::sending::NOT_ALLOWED;
use crate::state::TaskState;
use crate::submitted::{CancelRequest, Ending, SubmittedPhase, SubmittedTask};

/// Whose doing it is that trust with a peer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustLoss {
    /// This node's.
    Here,
    /// The peer's, or of both by time.
    There,
    /// The peer's, which goes on trusting this node and allows it no tasks.
    Narrowed,
}

/// Why a task cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// There is no such task.
    #[error("no such task was submitted here")]
    Unknown,
    /// It has ended otherwise.
    #[error("the task has already ended: {state}")]
    Ended {
        /// How.
        state: TaskState,
    },
}

impl Submitter {
    /// Takes a task back, giving a running worker `grace` to stop.
    ///
    /// Answers with the state from now on: `Cancelled` if the worker never
    /// confirmed to have it (or it was cancelled before), otherwise the state
    /// it is in until the worker's result says how it ended.
    ///
    /// # Errors
    ///
    /// [`CancelError`] if there is no such task or it has ended otherwise.
    pub fn cancel(
        &mut self,
        id: &TaskId,
        grace: Duration,
        reason: &str,
        now: Timestamp,
    ) -> Result<TaskState, CancelError> {
        let Some(task) = self.shelf.get_mut(id) else { return Err(CancelError::Unknown) };
        let reason = Text::<MAX_NOTE>::clipped(reason).into_string();
        match &task.phase {
            SubmittedPhase::Queued { .. } => {
                // The worker may have it all the same: the answer may be lost.
                let owed = task.awaits_files().is_none();
                let request = CancelRequest { at: now, grace, reason: reason.clone(), owed };
                task.cancel = Some(request);
                let cause = if reason.is_empty() { "cancelled here" } else { reason.as_str() };
                let ending = Ending {
                    outcome: Outcome::Cancelled,
                    at: now,
                    reason: reason.clone(),
                    delivery: None,
                };
                task.end(ending, cause);
            }
            SubmittedPhase::Held { .. } => {
                let cause = if reason.is_empty() { "cancelled here" } else { reason.as_str() };
                let (outcome, delivery) = (Outcome::Cancelled, None);
                let ending = Ending { outcome, at: now, reason: reason.clone(), delivery };
                task.end(ending, cause);
            }
            SubmittedPhase::Delivered { .. }
            | SubmittedPhase::Accepted { .. }
            | SubmittedPhase::Running { .. } => {
                if task.cancel.is_some() {
                    let state = task.state();
                    self.promise_again(id);
                    return Ok(state);
                }
                task.history.note(now, task.state(), "cancel requested");
                task.cancel = Some(CancelRequest { at: now, grace, reason, owed: true });
            }
            SubmittedPhase::Ended(ending) => {
                let state = TaskState::from(ending.outcome);
                self.promise_again(id);
                self.sweep(id);
                return match state {
                    TaskState::Cancelled => Ok(state),
                    TaskState::Queued
                    | TaskState::Delivered
                    | TaskState::Accepted
                    | TaskState::Running
                    | TaskState::Succeeded
                    | TaskState::Failed
                    | TaskState::Declined
                    | TaskState::Expired => Err(CancelError::Ended { state }),
                };
            }
        }
        let state = task.state();
        self.commit(id);
        Ok(state)
    }

    /// There is no trust with `peer` any more. What no worker is known to have
    /// accepted ends: the peer declines it too. Accepted work goes on there,
    /// and its result comes if trust does.
    pub fn handle_trust_lost(&mut self, peer: NodeId, loss: TrustLoss, now: Timestamp) {
        let lost: Vec<TaskId> = self
            .shelf
            .iter()
            .filter(|task| task.peer == peer && task.ending().is_none())
            .map(|task| task.terms.id)
            .collect();
        for id in lost {
            let Some(task) = self.shelf.get_mut(&id) else { continue };
            match (&task.phase, loss) {
                (SubmittedPhase::Queued { .. } | SubmittedPhase::Delivered { .. }, _)
                    if task.extras.plan.pool.is_some() =>
                {
                    let reason = "trust with the worker has ended".to_owned();
                    let (outcome, delivery) = (Outcome::Declined, None);
                    let ending = Ending { outcome, at: now, reason, delivery };
                    task.go_elsewhere(ending, "trust with the worker has ended");
                    self.forget_handed(&id);
                    self.commit(&id);
                    self.advance(&id, now);
                    continue;
                }
                (SubmittedPhase::Held { .. }, _) if task.extras.plan.pool.is_some() => continue,
                (
                    SubmittedPhase::Held { .. }
                    | SubmittedPhase::Queued { .. }
                    | SubmittedPhase::Delivered { .. },
                    TrustLoss::Here,
                ) => task.end_by_daemon(
                    Outcome::Cancelled,
                    "this node has ended its trust with the peer",
                    now,
                ),
                (
                    SubmittedPhase::Held { .. }
                    | SubmittedPhase::Queued { .. }
                    | SubmittedPhase::Delivered { .. },
                    TrustLoss::There,
                ) => task.end_by_daemon(Outcome::Declined, "trust with the peer has ended", now),
                (
                    SubmittedPhase::Held { .. }
                    | SubmittedPhase::Queued { .. }
                    | SubmittedPhase::Delivered { .. },
                    TrustLoss::Narrowed,
                ) => task.end_by_daemon(Outcome::Declined, NOT_ALLOWED, now),
                (
                    SubmittedPhase::Accepted { .. }
                    | SubmittedPhase::Running { .. }
                    | SubmittedPhase::Ended(_),
                    _,
                ) => {
                    let note = "trust with the peer has ended; a result can come if it returns";
                    // Heard of before, as at the start of a daemon.
                    if task.history.changes().last().is_some_and(|last| last.cause == note) {
                        continue;
                    }
                    task.history.note(now, task.state(), note);
                }
            }
            self.commit(&id);
            self.schedule(&id);
        }
    }
}

impl SubmittedTask {
    /// Ends without a result of the worker.
    pub(super) fn end_by_daemon(&mut self, outcome: Outcome, reason: &str, now: Timestamp) {
        let ending = Ending { outcome, at: now, reason: reason.to_owned(), delivery: None };
        self.end(ending, reason);
    }
}
