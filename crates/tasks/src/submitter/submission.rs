//! New tasks.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{Digest, NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::Attached;

use super::holding::without;
use super::{Submitter, SubmitterOutput};
use crate::freight::Freight;
use crate::history::History;
use crate::plan::{Cycle, Dependency, Plan, SubmittedExtras, Wait, in_order};
use crate::shelf::Record as _;
use crate::state::TaskState;
use crate::submitted::{SubmittedPhase, SubmittedTask};
use crate::terms::{Terms, summary_of};

/// A new task, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its id, unique; the same for the same request.
    pub id: TaskId,
    /// Who is to do it.
    pub to: NodeId,
    /// Higher is accepted first; 0 is usual.
    pub priority: i16,
    /// When it has to be over.
    pub deadline: Option<Timestamp>,
    /// How long it may wait to be accepted.
    pub queue_timeout: Option<Duration>,
    /// How long it may run once accepted.
    pub run_timeout: Option<Duration>,
    /// Of the description; cut to [`MAX_SUMMARY`](crate::MAX_SUMMARY) characters.
    pub summary: String,
    /// Bytes of the encoded body.
    pub body_len: u64,
    /// The digest of the encoded body.
    pub body_digest: Digest,
    /// Submitting again with the same key finds the first task.
    pub idempotency_key: Option<String>,
    /// The files that go ahead of it, as its body says; on their way already.
    pub attached: Option<Attached>,
    /// What is wanted beyond one offer; with a pool, `to` is this node itself.
    pub plan: Plan,
}

/// A task that was taken, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// Its id: with an idempotency key used before, that of the first task.
    pub id: TaskId,
    /// Whether it is new, so that its body has to be stored.
    pub new: bool,
}

/// Why a task was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The caller used the id of another task.
    #[error("a different task has the id {id}")]
    Conflict {
        /// The id.
        id: TaskId,
    },
    /// Too many tasks have not ended; the caller may try later.
    #[error("{limit} tasks have not ended, no more are taken")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// It comes after a task that was never submitted here.
    #[error("no task {id} was submitted here, and this one is to come after it")]
    NoSuchTask {
        /// Which.
        id: TaskId,
    },
    /// It would wait for itself.
    #[error(transparent)]
    Cycle(#[from] Cycle),
}

impl Submitter {
    /// Takes a task. The id may be told once this drain's commit is on disk.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Conflict`] if the id stands for a task of other content
    /// or for another peer; [`SubmitError::Full`] at the limit.
    pub fn submit(
        &mut self,
        submission: Submission,
        now: Timestamp,
    ) -> Result<Submitted, SubmitError> {
        let submitted = self.submit_all(vec![submission], now)?;
        submitted.first().copied().ok_or(SubmitError::Full { limit: self.max_tasks })
    }

    /// Takes all of some tasks, which may come after each other, or none. What
    /// is said of each is in the order in which they were given.
    ///
    /// # Errors
    ///
    /// As [`Submitter::submit`], of the first that cannot be taken;
    /// [`SubmitError::Cycle`] if some wait for each other.
    pub fn submit_all(
        &mut self,
        mut submissions: Vec<Submission>,
        now: Timestamp,
    ) -> Result<Vec<Submitted>, SubmitError> {
        self.resolve_keys(&mut submissions);
        // Those that are settled were restored for this input alone.
        let mut restored: Vec<TaskId> = Vec::new();
        for submission in &submissions {
            let key = submission.idempotency_key.as_ref();
            restored.extend(key.and_then(|key| self.keys.get(key)));
            restored.push(submission.id);
            restored.extend(submission.plan.after.iter().map(|known| known.id));
        }
        let taken = self.check_all(&submissions).and_then(|order| {
            let mut left: Vec<Option<Submission>> = submissions.into_iter().map(Some).collect();
            let mut taken: Vec<Option<Submitted>> = vec![None; left.len()];
            for place in order {
                let submission = left.get_mut(place).and_then(Option::take);
                if let (Some(submission), Some(slot)) = (submission, taken.get_mut(place)) {
                    *slot = Some(self.take(submission, now)?);
                }
            }
            Ok(taken.into_iter().flatten().collect())
        });
        for id in &restored {
            self.sweep(id);
        }
        taken
    }

    /// Lets those that come after a task which was submitted before, under
    /// another id, come after that.
    fn resolve_keys(&self, submissions: &mut [Submission]) {
        let known: BTreeMap<TaskId, TaskId> = submissions
            .iter()
            .filter_map(|submission| {
                let key = submission.idempotency_key.as_ref()?;
                Some((submission.id, *self.keys.get(key)?))
            })
            .collect();
        for submission in submissions {
            let plan = &mut submission.plan;
            let after = plan.after.iter_mut().map(|dependency| &mut dependency.id);
            for id in after.chain(&mut plan.inputs) {
                *id = known.get(id).copied().unwrap_or(*id);
            }
        }
    }

    /// The order in which all of these can be taken.
    fn check_all(&self, submissions: &[Submission]) -> Result<Vec<usize>, SubmitError> {
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for submission in submissions {
            let key = submission.idempotency_key.as_ref();
            if !ids.insert(submission.id) || key.is_some_and(|key| !keys.insert(key)) {
                return Err(SubmitError::Conflict { id: submission.id });
            }
        }
        let mut new = 0;
        for submission in submissions {
            let key = submission.idempotency_key.as_ref();
            match self.shelf.get(&submission.id) {
                Some(task) if !task.is_asked_by(submission) => {
                    return Err(SubmitError::Conflict { id: submission.id });
                }
                Some(_) => {}
                None => new += usize::from(key.is_none_or(|key| !self.keys.contains_key(key))),
            }
            let mut after = submission.plan.after.iter().map(|known| known.id);
            let unknown = after.find(|id| !ids.contains(id) && !self.shelf.contains(id));
            if let Some(id) = unknown {
                return Err(SubmitError::NoSuchTask { id });
            }
        }
        if self.shelf.len().saturating_add(new) > self.max_tasks {
            return Err(SubmitError::Full { limit: self.max_tasks });
        }
        let after =
            |submission: &Submission| submission.plan.after.iter().map(|known| known.id).collect();
        let tasks: Vec<(TaskId, Vec<TaskId>)> =
            submissions.iter().map(|submission| (submission.id, after(submission))).collect();
        Ok(in_order(&tasks)?)
    }

    fn take(&mut self, submission: Submission, now: Timestamp) -> Result<Submitted, SubmitError> {
        let id = submission.id;
        let key = submission.idempotency_key.as_ref();
        let keyed = key.and_then(|key| self.keys.get(key)).copied();
        let known = match self.shelf.get(&id) {
            Some(task) if task.is_asked_by(&submission) => Some(Ok(id)),
            Some(_) => Some(Err(SubmitError::Conflict { id })),
            None => keyed.map(Ok),
        };
        if let Some(known) = known {
            for id in keyed.into_iter().chain([id]) {
                self.promise_again(&id);
            }
            return known.map(|id| Submitted { id, new: false });
        }
        if self.shelf.len() >= self.max_tasks {
            return Err(SubmitError::Full { limit: self.max_tasks });
        }

        let spoilt = self.dependencies(&submission)?;
        let mut task = SubmittedTask::new(submission, now);
        for (dependency, over) in task.extras.plan.after.iter_mut().zip(&spoilt.over) {
            dependency.over = *over;
        }
        self.remember_key(&task);
        let revision = task.revision();
        self.outputs.push_back(SubmitterOutput::Persist(Box::new(task.clone())));
        self.outputs.push_back(SubmitterOutput::Changed { id, revision });
        self.shelf.insert(task);
        self.enter(&id);
        if let Some(reason) = spoilt.by
            && let Some(task) = self.shelf.get_mut(&id)
        {
            task.end_by_daemon(Outcome::Cancelled, &reason, now);
            self.commit(&id);
        }
        self.advance(&id, now);
        Ok(Submitted { id, new: true })
    }

    /// What became of the tasks that a new one comes after. The shell has
    /// restored those that are settled.
    fn dependencies(&self, submission: &Submission) -> Result<Dependencies, SubmitError> {
        let mut found = Dependencies { over: Vec::new(), by: None };
        let plan = &submission.plan;
        for Dependency { id, .. } in &plan.after {
            if *id == submission.id {
                return Err(Cycle(vec![*id]).into());
            }
            let Some(task) = self.shelf.get(id) else {
                return Err(SubmitError::NoSuchTask { id: *id });
            };
            let outcome = task.ending().map(|ending| ending.outcome);
            found.over.push(outcome.is_some());
            let dispensable = plan.run_anyway && !plan.inputs.contains(id);
            match outcome {
                Some(outcome) if outcome != Outcome::Succeeded && !dispensable => {
                    found.by.get_or_insert_with(|| without(id, outcome));
                }
                Some(_) | None => {}
            }
        }
        Ok(found)
    }
}

/// How the tasks are that a new one comes after.
struct Dependencies {
    /// Whether each of them is over.
    over: Vec<bool>,
    /// Why the new one cannot be done, if one of them did not succeed.
    by: Option<String>,
}

impl SubmittedTask {
    /// Whether this is the task that `submission` asks for again.
    fn is_asked_by(&self, submission: &Submission) -> bool {
        let digest = self.extras.asked.unwrap_or(self.terms.body_digest);
        let pool = self.extras.plan.pool.as_ref();
        let to_same = match pool {
            Some(_) => pool == submission.plan.pool.as_ref(),
            None => submission.plan.pool.is_none() && self.peer == submission.to,
        };
        to_same && digest == submission.body_digest
    }

    fn new(submission: Submission, now: Timestamp) -> Self {
        let terms = Terms {
            id: submission.id,
            attempt: 1,
            priority: submission.priority,
            deadline: submission.deadline,
            queue_timeout: submission.queue_timeout,
            run_timeout: submission.run_timeout,
            summary: summary_of(&submission.summary),
            body_len: submission.body_len,
            body_digest: submission.body_digest,
        };
        let mut history = History::default();
        history.note(now, TaskState::Queued, "submitted");
        let phase = if submission.plan.is_plain() {
            SubmittedPhase::Queued { trouble: None }
        } else {
            SubmittedPhase::Held { since: now, wait: Wait::Pause { until: now } }
        };
        Self {
            terms,
            peer: submission.to,
            created: now,
            idempotency_key: submission.idempotency_key,
            revision: 1,
            phase,
            percent: None,
            note: String::new(),
            heard: 0,
            cancel: None,
            history,
            freight: submission.attached.map(Freight::on_its_way),
            extras: SubmittedExtras { plan: submission.plan, ..SubmittedExtras::default() },
        }
    }
}
