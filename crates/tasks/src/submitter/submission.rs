//! New tasks.

use core::time::Duration;

use pilot_identity::{Digest, NodeId, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::Attached;

use super::{Submitter, SubmitterOutput};
use crate::freight::Freight;
use crate::history::History;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
                self.sweep(&id);
            }
            return known.map(|id| Submitted { id, new: false });
        }
        if self.shelf.len() >= self.max_tasks {
            return Err(SubmitError::Full { limit: self.max_tasks });
        }

        let task = SubmittedTask::new(submission, now);
        self.remember_key(&task);
        let revision = task.revision();
        self.outputs.push_back(SubmitterOutput::Persist(Box::new(task.clone())));
        self.outputs.push_back(SubmitterOutput::Changed { id, revision });
        self.shelf.insert(task);
        Ok(Submitted { id, new: true })
    }
}

impl SubmittedTask {
    /// Whether this is the task that `submission` asks for again.
    fn is_asked_by(&self, submission: &Submission) -> bool {
        self.peer == submission.to && self.terms.body_digest == submission.body_digest
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
        Self {
            terms,
            peer: submission.to,
            created: now,
            idempotency_key: submission.idempotency_key,
            revision: 1,
            phase: SubmittedPhase::Queued { trouble: None },
            percent: None,
            note: String::new(),
            heard: 0,
            cancel: None,
            history,
            freight: submission.attached.map(Freight::on_its_way),
        }
    }
}
