//! New tasks, and the files that go ahead of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_identity::{Digest, NodeId, Timestamp};
use pilot_proto::tasks::{Attached, ContentError, TaskBody};
use pilot_proto::{TaskId, TransferId};
use pilot_store::{CommitError, ReadError};
use pilot_tasks::{Plan, Submission, SubmitError, Submitted};

use super::calls::length;
use super::files::{Load, LoadError, answer_for, repeated};
use super::shelf::ShelfError;
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
    /// What is wanted beyond one offer; with a pool, `to` is this node itself.
    pub(crate) plan: Plan,
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
    /// What goes with it could not be copied.
    #[error(transparent)]
    Keep(#[from] ShelfError),
}

impl TasksService {
    /// Takes a task; it is on disk when this returns, with copies of its files.
    pub(crate) async fn submit(self: &Arc<Self>, new: NewTask) -> Result<Submitted, NewTaskError> {
        let id = new.id;
        let submitted = self.submit_all(vec![new]).await?;
        Ok(submitted.first().copied().unwrap_or(Submitted { id, new: false }))
    }

    /// Takes all of some tasks or none, in one commit.
    pub(crate) async fn submit_all(
        self: &Arc<Self>,
        news: Vec<NewTask>,
    ) -> Result<Vec<Submitted>, NewTaskError> {
        for new in &news {
            new.body.check()?;
        }
        self.store.room_for_new_work()?;
        if news.iter().all(|new| new.attach.is_empty()) {
            let entries = news.into_iter().map(|new| Entry { new, loaded: None });
            return self.enter(entries.collect()).await;
        }
        // Whoever asked may go away meanwhile.
        let service = Arc::clone(self);
        let submitting = self.tasks.spawn(async move { service.submit_with_files(news).await });
        submitting.await.unwrap_or(Err(CommitError::Closed.into()))
    }

    async fn submit_with_files(
        self: &Arc<Self>,
        news: Vec<NewTask>,
    ) -> Result<Vec<Submitted>, NewTaskError> {
        let mut turns = Vec::new();
        let mut ids: Vec<TaskId> = news.iter().map(|new| new.id).collect();
        // In one order, or two that ask for the same might wait for each other.
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            turns.push(self.loading.turn(id).await);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(news.len());
        let mut failed = None;
        for mut new in news {
            if !new.attach.is_empty() && failed.is_none() && !self.is_submitted(&new)? {
                match self.load_new(&mut new).await {
                    Ok(loaded) => entries.push(Entry { new, loaded }),
                    Err(error) => failed = Some(error),
                }
            } else {
                entries.push(Entry { new, loaded: None });
            }
        }
        let loaded: Vec<(TaskId, TransferId)> = entries
            .iter()
            .filter_map(|entry| Some((entry.new.id, entry.loaded?.transfer)))
            .collect();
        let entered = match failed {
            Some(error) => Err(error),
            None => self.enter(entries).await,
        };
        let is_new = |id: &TaskId| {
            let mut all = entered.iter().flatten();
            all.any(|submitted| submitted.id == *id && submitted.new)
        };
        for (id, transfer) in loaded {
            if is_new(&id) {
                self.loaded.notify_one();
            } else {
                self.unload(transfer).await;
            }
        }
        entered
    }

    /// Lets the files of a new task set out, or keeps them until its worker is
    /// known.
    async fn load_new(&self, new: &mut NewTask) -> Result<Option<Attached>, NewTaskError> {
        let paths = std::mem::take(&mut new.attach);
        if new.plan.pool.is_some() {
            self.shelves.put(Side::Submitted, new.id, paths).await?;
            new.plan.has_kept_files = true;
            return Ok(None);
        }
        let label = format!("files of task {}", new.id);
        Ok(Some(self.load(Load { task: new.id, to: new.to, paths, label }).await?))
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

    /// Enters tasks whose files are on their way; of those that were submitted
    /// before, they are so since then.
    async fn enter(self: &Arc<Self>, entries: Vec<Entry>) -> Result<Vec<Submitted>, NewTaskError> {
        let peers: BTreeSet<NodeId> = entries
            .iter()
            .filter(|entry| entry.new.plan.pool.is_none())
            .map(|entry| entry.new.to)
            .collect();
        let submitted = self
            .turn(|desk, batch, now| {
                let mut submissions = Vec::with_capacity(entries.len());
                let mut contents = BTreeMap::new();
                for Entry { mut new, loaded } in entries {
                    desk.fetch_submitted(&self.store, new.id)?;
                    desk.fetch_all(&self.store, &new.plan)?;
                    if let Some(key) = &new.idempotency_key {
                        desk.fetch_by_key(&self.store, key)?;
                    }
                    let has_files = loaded.is_some() || !new.attach.is_empty();
                    let known = desk.submitter.task(&new.id).map(|task| task.freight);
                    let (attached, digest) = if new.plan.pool.is_some() {
                        (None, None)
                    } else {
                        repeated(known, has_files, loaded)
                    };
                    new.body.attached = attached;
                    let body = Bytes::from(new.body.encode());
                    contents.insert(new.id, (body.clone(), attached));
                    submissions.push(new.submission(&body, digest, attached, now));
                }
                let submitted = desk.submitter.submit_all(submissions, now)?;
                for Submitted { id, .. } in submitted.iter().filter(|submitted| submitted.new) {
                    if let Some((body, attached)) = contents.remove(id) {
                        answer_for(batch, attached);
                        bodies::put(batch, Side::Submitted, Kind::Task, *id, body);
                    }
                }
                Ok::<_, NewTaskError>(submitted)
            })
            .await??;
        for to in peers {
            // It may have ended since the caller looked.
            let standing = self.trust.standing(to);
            if loss(standing).is_some() {
                self.trust_changed(to, standing).await;
            }
        }
        Ok(submitted)
    }
}

/// A new task and its files, if they are on their way.
struct Entry {
    new: NewTask,
    loaded: Option<Attached>,
}

impl NewTask {
    fn submission(
        self,
        body: &Bytes,
        digest: Option<Digest>,
        attached: Option<Attached>,
        now: Timestamp,
    ) -> Submission {
        Submission {
            id: self.id,
            to: self.to,
            priority: self.priority,
            deadline: self.deadline_in.map(|time| now.saturating_add(time)),
            queue_timeout: self.queue_timeout,
            run_timeout: self.run_timeout,
            summary: self.body.description,
            body_len: length(body),
            body_digest: digest.unwrap_or_else(|| Digest::of(body)),
            idempotency_key: self.idempotency_key,
            attached,
            plan: self.plan,
        }
    }
}
