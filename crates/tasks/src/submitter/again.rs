//! Further attempts.

use pilot_identity::{Outcome, Timestamp};
use pilot_proto::TaskId;

use super::Submitter;
use crate::plan::{MAX_PAST, PastAttempt, Wait, pause};
use crate::state::TaskState;
use crate::submitted::{Ending, SubmittedTask};

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// There is no such task.
    #[error("no such task was submitted here")]
    Unknown,
    /// It is under way, or has succeeded.
    #[error("the task is {state}: only one that did not succeed is tried again")]
    NotFailed {
        /// How it is.
        state: TaskState,
    },
    /// Its worker was not told to stop yet.
    #[error("its worker has not confirmed that it stopped; try again when it has")]
    Stopping,
    /// Nothing can be done before its deadline any more.
    #[error("its deadline has passed")]
    TooLate,
    /// The task whose result is its input has none.
    #[error("task {id}, whose result is its input, did not succeed; try that one again first")]
    NoInput {
        /// Which.
        id: TaskId,
    },
    /// Its files would have to be copied again.
    #[error("its files never got to the worker and are not kept; submit it again")]
    NoFiles,
}

/// What follows an attempt that did not succeed.
enum Again {
    /// Another one, after a pause.
    Paused,
    /// Another worker of its pool.
    Elsewhere,
}

impl Submitter {
    /// Begins another attempt at a task that has ended otherwise than well.
    ///
    /// # Errors
    ///
    /// [`RetryError`] if it is not to be tried again.
    pub fn retry(&mut self, id: &TaskId, now: Timestamp) -> Result<(), RetryError> {
        let after = self.shelf.get(id).map(|task| task.extras.plan.after.clone());
        let checked = self.may_retry(id, now);
        match checked {
            Ok(()) => self.begin_by_hand(id, now),
            Err(_) => self.promise_again(id),
        }
        // Those that are settled were restored for this input alone.
        for dependency in after.into_iter().flatten() {
            self.sweep(&dependency.id);
        }
        self.sweep(id);
        checked
    }

    fn begin_by_hand(&mut self, id: &TaskId, now: Timestamp) {
        let over = self.are_over(id);
        let Some(task) = self.shelf.get_mut(id) else { return };
        let Some(ending) = task.ending().cloned() else { return };
        task.cancel = None;
        task.extras.dead = false;
        task.extras.declined_by.clear();
        // It does not wait again for what was over, however that went.
        for (dependency, is_over) in task.extras.plan.after.iter_mut().zip(over) {
            dependency.over = is_over;
        }
        task.begin_again(ending, Wait::Pause { until: now }, now, "tried again by hand");
        let task = task.clone();
        self.remember_key(&task);
        self.enter(id);
        self.forget_handed(id);
        self.commit(id);
        self.advance(id, now);
    }

    /// Whether each of the tasks is over that one comes after. The shell has
    /// restored those that are settled.
    fn are_over(&self, id: &TaskId) -> Vec<bool> {
        let after = self.shelf.get(id).map(|task| task.extras.plan.after.as_slice());
        let is_over = |id: &TaskId| self.shelf.get(id).is_none_or(|task| task.ending().is_some());
        after.unwrap_or_default().iter().map(|dependency| is_over(&dependency.id)).collect()
    }

    fn may_retry(&self, id: &TaskId, now: Timestamp) -> Result<(), RetryError> {
        let task = self.shelf.get(id).ok_or(RetryError::Unknown)?;
        match task.ending() {
            Some(ending) if ending.outcome != Outcome::Succeeded => {}
            Some(_) | None => return Err(RetryError::NotFailed { state: task.state() }),
        }
        if task.owes_cancel() {
            return Err(RetryError::Stopping);
        }
        if task.awaits_files().is_some() {
            return Err(RetryError::NoFiles);
        }
        let has_failed = |input: &&TaskId| {
            let ending = self.shelf.get(input).and_then(SubmittedTask::ending);
            ending.is_some_and(|ending| ending.outcome != Outcome::Succeeded)
        };
        if let Some(input) = task.extras.plan.inputs.iter().find(has_failed) {
            return Err(RetryError::NoInput { id: *input });
        }
        if task.terms.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(RetryError::TooLate);
        }
        Ok(())
    }
}

impl SubmittedTask {
    /// Ends it, or begins another attempt if one is left. `for_good` says that
    /// it makes no sense.
    pub(super) fn end_or_again(&mut self, ending: Ending, for_good: bool, cause: &str) {
        let now = ending.at;
        match self.again(&ending, for_good) {
            Some(Again::Paused) => {
                let left = self.extras.plan.retries_left;
                self.extras.plan.retries_left = left.saturating_sub(1);
                let attempt = self.terms.attempt.saturating_add(1);
                let until = now.saturating_add(pause(&self.terms.id, attempt));
                self.begin_again(ending, Wait::Pause { until }, now, cause);
            }
            Some(Again::Elsewhere) => {
                self.extras.declined_by.push(self.peer);
                self.begin_again(ending, Wait::Pause { until: now }, now, cause);
            }
            None => {
                let tried = self.terms.attempt > 1 || for_good;
                self.extras.dead = ending.outcome == Outcome::Failed && tried;
                self.end(ending, cause);
            }
        }
    }

    /// Looks for another worker of its pool; who was chosen has not declined.
    pub(super) fn go_elsewhere(&mut self, ending: Ending, cause: &str) {
        let now = ending.at;
        self.begin_again(ending, Wait::Pause { until: now }, now, cause);
    }

    /// Forgets who was chosen from its pool, and the files that are with it.
    pub(super) fn leave_worker(&mut self) {
        self.extras.placed = false;
        if self.extras.plan.pool.is_some() {
            let on_their_way = self.awaits_files().map(|files| files.transfer);
            self.extras.unload.extend(on_their_way);
            self.freight = None;
        }
    }

    fn again(&self, ending: &Ending, for_good: bool) -> Option<Again> {
        let deadline = self.terms.deadline;
        if self.cancel.is_some() || deadline.is_some_and(|deadline| deadline <= ending.at) {
            return None;
        }
        match ending.outcome {
            Outcome::Failed | Outcome::Expired => {
                (!for_good && self.extras.plan.retries_left > 0).then_some(Again::Paused)
            }
            Outcome::Declined => {
                let asked = self.extras.declined_by.len();
                (self.extras.plan.pool.is_some() && asked < crate::MAX_VERDICTS)
                    .then_some(Again::Elsewhere)
            }
            Outcome::Succeeded | Outcome::Cancelled => None,
        }
    }

    /// Puts the attempt aside, and holds the next one.
    fn begin_again(&mut self, ending: Ending, wait: Wait, now: Timestamp, cause: &str) {
        let Ending { outcome, at, reason, delivery } = ending;
        let (attempt, peer) = (self.terms.attempt, self.peer);
        self.history.note(now, TaskState::from(outcome), cause);
        if self.extras.past.len() >= MAX_PAST {
            self.extras.past.remove(0);
        }
        self.extras.past.push(PastAttempt { attempt, peer, outcome, at, reason, delivery });
        self.terms.attempt = attempt.saturating_add(1);
        self.leave_worker();
        (self.heard, self.percent) = (0, None);
        self.note.clear();
        let next = format!("attempt {} is made", self.terms.attempt);
        self.hold(wait, now, &next);
    }
}
