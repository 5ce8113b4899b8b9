//! New tasks, and the files that go ahead of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_identity::{Digest, NodeId};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Attached, ContentError, TaskBody};
use pilot_store::{CommitError, ReadError};
use pilot_tasks::{Submission, SubmitError, Submitted};

use super::calls::length;
use super::files::{Load, LoadError, answer_for, repeated};
use super::{TasksService, loss};
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks as rows;

/// A task to be submitted.
#[derive(Debug)]
pub(crate) struct NewTask {
    pub(crate) id: TaskId,
    pub(crate) to: NodeId,
    pub(crate) body: TaskBody,
    pub(crate) priority: i16,
    pub(crate) deadline_in: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
    /// Files and folders that go ahead of it.
    pub(crate) attach: Vec<PathBuf>,
}

/// Why a task was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewTaskError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("tasks cannot be read")]
    Read(#[from] ReadError),
}

impl TasksService {
    /// Takes a task; it is on disk when this returns, with copies of its files.
    pub(crate) async fn submit(self: &Arc<Self>, new: NewTask) -> Result<Submitted, NewTaskError> {
        new.body.check()?;
        self.store.room_for_new_work()?;
        if new.attach.is_empty() {
            return self.enter(new, None).await;
        }
        // Whoever asked may go away meanwhile.
        let service = Arc::clone(self);
        let submitting = self.tasks.spawn(async move { service.submit_with_files(new).await });
        submitting.await.unwrap_or(Err(CommitError::Closed.into()))
    }

    async fn submit_with_files(
        self: &Arc<Self>,
        mut new: NewTask,
    ) -> Result<Submitted, NewTaskError> {
        let _turn = self.loading.turn(new.id).await;
        if self.is_submitted(&new)? {
            return self.enter(new, None).await;
        }
        let load = Load {
            task: new.id,
            to: new.to,
            paths: std::mem::take(&mut new.attach),
            label: format!("files of task {}", new.id),
        };
        let attached = self.load(load).await?;
        let entered = self.enter(new, Some(attached)).await;
        if entered.as_ref().is_ok_and(|submitted| submitted.new) {
            self.loaded.notify_one();
        } else {
            self.unload(attached.transfer).await;
        }
        entered
    }

    /// Whether the task was submitted before, under its id or its key.
    fn is_submitted(&self, new: &NewTask) -> Result<bool, ReadError> {
        let key = new.idempotency_key.as_deref();
        let in_memory = {
            let desk = self.desk();
            desk.submitter.knows(&new.id) || key.is_some_and(|key| desk.submitter.knows_key(key))
        };
        if in_memory {
            return Ok(true);
        }
        self.store.read(|connection| {
            let by_key = match key {
                Some(key) => rows::submitted_by_key(connection, key)?,
                None => None,
            };
            Ok(by_key.is_some() || rows::submitted(connection, new.id)?.is_some())
        })
    }

    /// Enters a task whose files are on their way; of one that was submitted
    /// before, they are so since then.
    async fn enter(
        self: &Arc<Self>,
        mut new: NewTask,
        loaded: Option<Attached>,
    ) -> Result<Submitted, NewTaskError> {
        let (to, has_files) = (new.to, loaded.is_some() || !new.attach.is_empty());
        let submitted = self
            .turn(|desk, batch, now| {
                desk.fetch_submitted(&self.store, new.id)?;
                if let Some(key) = &new.idempotency_key {
                    desk.fetch_by_key(&self.store, key)?;
                }
                let known = desk.submitter.task(&new.id).map(|task| task.freight);
                let (attached, digest) = repeated(known, has_files, loaded);
                new.body.attached = attached;
                let body = Bytes::from(new.body.encode());
                let submission = Submission {
                    id: new.id,
                    to: new.to,
                    priority: new.priority,
                    deadline: new.deadline_in.map(|time| now.saturating_add(time)),
                    queue_timeout: new.queue_timeout,
                    run_timeout: new.run_timeout,
                    summary: new.body.description,
                    body_len: length(&body),
                    body_digest: digest.unwrap_or_else(|| Digest::of(&body)),
                    idempotency_key: new.idempotency_key,
                    attached,
                };
                let submitted = desk.submitter.submit(submission, now)?;
                if submitted.new {
                    answer_for(batch, attached);
                    bodies::put(batch, Side::Submitted, Kind::Task, submitted.id, body);
                }
                Ok::<_, NewTaskError>(submitted)
            })
            .await??;
        // It may have ended since the caller looked.
        let standing = self.trust.standing(to);
        if loss(standing).is_some() {
            self.trust_changed(to, standing).await;
        }
        Ok(submitted)
    }
}
