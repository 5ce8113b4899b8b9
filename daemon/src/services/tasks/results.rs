//! Results that workers give, and the files that go ahead of them.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use pilot_identity::Digest;
use pilot_proto::TaskId;
use pilot_proto::tasks::{Attached, ResultBody};
use pilot_store::CommitError;
use pilot_tasks::{Work, WorkOutcome};

use super::TasksService;
use super::calls::{CallError, Row, length};
use super::files::{Load, answer_for, repeated};
use crate::store::bodies::{self, Kind, Side};

/// What came of some work.
#[derive(Debug)]
pub(crate) struct WorkGiven {
    pub(crate) outcome: WorkOutcome,
    pub(crate) body: ResultBody,
    /// Files and folders that go ahead of it.
    pub(crate) attach: Vec<PathBuf>,
}

impl TasksService {
    /// Ends a task with what the worker gave; on disk when this returns, with
    /// copies of its files.
    pub(crate) async fn finish(
        self: &Arc<Self>,
        id: TaskId,
        given: WorkGiven,
    ) -> Result<(), CallError> {
        given.body.check()?;
        if given.attach.is_empty() && self.shelves.is_here(Side::Received, id).is_none() {
            return self.end_with(id, given, None).await.map(drop);
        }
        // Whoever asked may go away meanwhile.
        let service = Arc::clone(self);
        let finishing = self.tasks.spawn(async move { service.finish_with_files(id, given).await });
        finishing.await.unwrap_or(Err(CommitError::Closed.into()))
    }

    async fn finish_with_files(
        self: &Arc<Self>,
        id: TaskId,
        mut given: WorkGiven,
    ) -> Result<(), CallError> {
        let _turn = self.loading.turn(id).await;
        let submitter = match self.row(id).await? {
            Some(Row::Received(task)) => {
                let stays = task.extras.leave_result && given.outcome == WorkOutcome::Succeeded;
                let is_at_work = task.ending().is_none() && task.accepted_at().is_some();
                if stays {
                    let paths = std::mem::take(&mut given.attach);
                    if is_at_work {
                        // What another attempt at it left goes, too.
                        self.shelves.remove(Side::Received, id);
                    }
                    if is_at_work && !paths.is_empty() {
                        self.shelves.put(Side::Received, id, paths).await?;
                    }
                    return self.end_with(id, given, None).await.map(drop);
                }
                is_at_work.then_some(task.peer)
            }
            Some(Row::Submitted(_)) | None => None,
        };
        let submitter = submitter.filter(|_| !given.attach.is_empty());
        let Some(to) = submitter else {
            // It says itself why not, or that it has this result already.
            return self.end_with(id, given, None).await.map(drop);
        };
        let load = Load {
            task: id,
            to,
            paths: std::mem::take(&mut given.attach),
            label: format!("result of task {id}"),
        };
        let attached = self.load(load).await?;
        let ended = self.end_with(id, given, Some(attached)).await;
        if matches!(ended, Ok(true)) {
            self.loaded.notify_one();
        } else {
            self.unload(attached.transfer).await;
        }
        ended.map(drop)
    }

    /// Ends a task with a result whose files are on their way; of one that was
    /// given before, they are so since then. Whether it is new.
    async fn end_with(
        &self,
        id: TaskId,
        mut given: WorkGiven,
        loaded: Option<Attached>,
    ) -> Result<bool, CallError> {
        let has_files = loaded.is_some() || !given.attach.is_empty();
        self.turn(|desk, batch, now| {
            desk.fetch_received(&self.store, id)?;
            let known = desk.worker.task(&id).filter(|task| task.ending().is_some());
            let (attached, digest) = repeated(known.map(|task| task.freight), has_files, loaded);
            given.body.attached = attached;
            let body = Bytes::from(given.body.encode());
            let work = Work {
                outcome: given.outcome,
                digest: digest.unwrap_or_else(|| Digest::of(&body)),
                len: length(&body),
                reason: given.body.reason.into_string(),
                attached,
            };
            let new = desk.worker.finish(&id, &work, now)?.new;
            if new {
                answer_for(batch, attached);
                bodies::put(batch, Side::Received, Kind::Result, id, body);
            }
            Ok(new)
        })
        .await?
    }
}
