//! Files that go ahead of tasks and of results, as transfers of the data service.
//!
//! A transfer begins before the record that names it. It is among the strays,
//! on disk, until that record is there, and again in the commit after which no
//! record needs it: what is left of them at a start is cancelled. So no crash
//! leaves a transfer that nobody waits for.
//!
//! How a transfer ends is looked up, not told: whenever one has ended, at each
//! task that waits for its files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_files::{Direction, Ending, Transfer};
use pilot_identity::{Digest, NodeId};
use pilot_proto::tasks::{Attached, MAX_NOTE, TaskRefusal};
use pilot_proto::text::Text;
use pilot_proto::{TaskId, TransferId};
use pilot_store::{Batch, CommitError, ReadError};
use pilot_tasks::{Freight, ReceivedPhase, Work, WorkOutcome};
use pilot_tree::ScanOptions;

use super::calls::length;
use super::{Row, TasksService};
use crate::clock;
use crate::services::data::{Keep, NewTransfer, SendError, fresh_id};
use crate::store::bodies::{self, Kind, Side};
use crate::store::strays;

/// Pause before a look that failed is repeated.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Files that are to go ahead of a message about a task.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) task: TaskId,
    pub(super) to: NodeId,
    pub(super) paths: Vec<PathBuf>,
    pub(super) label: String,
}

/// Why files did not set out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Send(#[from] Box<SendError>),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the system gives no randomness")]
    Random,
}

/// Why it was not looked how transfers ended.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("what is there cannot be read")]
    Read(#[from] ReadError),
}

impl TasksService {
    /// Begins a transfer, which is a stray until a record answers for it.
    pub(super) async fn load(&self, load: Load) -> Result<Attached, LoadError> {
        let id = fresh_id(clock::now()).map_err(|_| LoadError::Random)?;
        let mut batch = self.store.batch();
        strays::put(&mut batch, id);
        self.store.commit(batch).await?;
        let new = NewTransfer {
            id: Some(id),
            to: load.to,
            paths: load.paths,
            label: Some(load.label),
            task: Some(load.task),
            limit: None,
            // Whoever works on it may remove or change it once it was taken.
            keep: Keep::Copy,
            options: ScanOptions::default(),
            expires: None,
        };
        match self.data.send(new).await {
            Ok(transfer) => Ok(attached(&transfer)),
            Err(error) => {
                self.unload(id).await;
                Err(Box::new(error).into())
            }
        }
    }

    /// Cancels a stray. If that fails, it is done at the next start.
    pub(super) async fn unload(&self, stray: TransferId) {
        if let Err(error) = self.data.cancel(stray).await {
            tracing::warn!(transfer = %stray, %error, "files that nobody waits for go on");
            return;
        }
        let mut batch = self.store.batch();
        strays::remove(&mut batch, stray);
        if let Err(error) = self.store.commit(batch).await {
            tracing::debug!(transfer = %stray, %error, "a stray is looked at once more");
        }
    }

    /// Cancels what the last run of this node left behind.
    pub(super) async fn unload_all(self: Arc<Self>, strays: Vec<TransferId>) {
        for stray in strays {
            tracing::info!(transfer = %stray, "files that nobody waits for are cancelled");
            self.unload(stray).await;
        }
    }

    /// Looks at once, and whenever a transfer has ended or one may have before
    /// its task was there.
    pub(super) async fn watch_the_files(self: Arc<Self>) {
        loop {
            let failed = self.look_at_files().await.err();
            if let Some(error) = &failed {
                tracing::warn!(%error, "how files arrived is looked up again");
            }
            let again = async {
                match failed {
                    Some(_) => tokio::time::sleep(LOOK_AGAIN).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.data.task_files_ended().notified() => {}
                () = self.loaded.notified() => {}
                () = again => {}
            }
        }
    }

    async fn look_at_files(&self) -> Result<(), LookError> {
        let (submitted, received) = self.desk().awaiting_files();
        for (id, transfer) in submitted {
            let Some(arrived) = self.arrived(transfer)? else { continue };
            self.turn(|desk, _, now| match &arrived {
                // It may have gone on to another worker meanwhile.
                _ if !desk.awaits(&id, transfer) => {}
                Ok(()) => desk.submitter.handle_files_arrived(&id, now),
                Err(reason) => desk.submitter.handle_files_failed(&id, reason, now),
            })
            .await?;
        }
        for (id, transfer) in received {
            match self.arrived(transfer)? {
                None => {}
                Some(Ok(())) => {
                    self.turn(|desk, _, now| desk.worker.handle_files_arrived(&id, now)).await?;
                }
                Some(Err(reason)) => self.fail_result(id, &reason).await?,
            }
        }
        Ok(())
    }

    /// How a transfer ended, and if not well, why; none if it goes on.
    fn arrived(&self, id: TransferId) -> Result<Option<Result<(), String>>, ReadError> {
        let Some(transfer) = self.data.find(id)? else {
            return Ok(Some(Err("the transfer of its files is gone".to_owned())));
        };
        Ok(transfer.ended().map(|(_, ending)| match ending {
            Ending::Complete => Ok(()),
            Ending::Failed { reason, .. } => {
                Err(format!("its files did not get there: {}", reason.as_str()))
            }
            Ending::Cancelled => Err("the transfer of its files was cancelled".to_owned()),
            Ending::Expired => Err("its files did not get there in time".to_owned()),
        }))
    }

    /// A result without its files has failed; what else was in it is kept.
    async fn fail_result(&self, id: TaskId, why: &str) -> Result<(), LookError> {
        let mut body = self.result_body(Side::Received, id)?.unwrap_or_default();
        body.attached = None;
        body.reason = match body.reason.as_str() {
            "" => Text::clipped(why),
            reason => Text::clipped(&format!("{reason}; {why}")),
        };
        let bytes = Bytes::from(body.encode());
        let rest = Work {
            outcome: WorkOutcome::Failed,
            digest: Digest::of(&bytes),
            len: length(&bytes),
            reason: Text::<MAX_NOTE>::into_string(body.reason),
            attached: None,
        };
        self.turn(|desk, batch, now| {
            if desk.worker.handle_files_failed(&id, &rest, now) {
                bodies::put(batch, Side::Received, Kind::Result, id, bytes);
            }
        })
        .await?;
        Ok(())
    }

    /// Whether the files that a message of `peer` about a task names are here.
    pub(super) fn check_attached(
        &self,
        peer: NodeId,
        task: TaskId,
        attached: Option<&Attached>,
    ) -> Result<(), TaskRefusal> {
        let Some(attached) = attached else { return Ok(()) };
        let found = self.data.find(attached.transfer).map_err(|_| TaskRefusal::Internal)?;
        let is_it = |transfer: &Transfer| {
            transfer.direction == Direction::Received
                && transfer.peer == peer
                && transfer.task == Some(task)
                && self::attached(transfer) == *attached
        };
        match found.filter(is_it).as_ref().map(Transfer::ended) {
            Some(Some((_, Ending::Complete))) => Ok(()),
            // Its sender thinks that all of it is here, and is soon right.
            Some(None) => Err(TaskRefusal::Internal),
            Some(Some(_)) | None => Err(TaskRefusal::Invalid),
        }
    }

    /// Whether a task still needs what a transfer has brought or is to bring.
    pub(crate) async fn needs(&self, transfer: &Transfer) -> Result<bool, super::CallError> {
        let Some(task) = transfer.task else { return Ok(false) };
        Ok(match (self.row(task).await?, transfer.direction) {
            (Some(Row::Submitted(task)), _) => {
                task.peer == transfer.peer && task.ending().is_none()
            }
            (Some(Row::Received(task)), Direction::Sent) => {
                task.peer == transfer.peer && !task.is_settled()
            }
            (Some(Row::Received(task)), Direction::Received) => {
                let is_done = match task.phase {
                    ReceivedPhase::Queued
                    | ReceivedPhase::Accepted { .. }
                    | ReceivedPhase::Running { .. } => false,
                    ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => true,
                };
                task.peer == transfer.peer && !is_done
            }
            (None, _) => false,
        })
    }
}

/// A transfer as the message says it that comes after it.
pub(super) fn attached(transfer: &Transfer) -> Attached {
    Attached {
        transfer: transfer.id,
        manifest_hash: transfer.manifest.hash,
        files: transfer.totals.files.into(),
        bytes: transfer.totals.bytes,
    }
}

/// The files that a task or a result is said to have, and the digest of its
/// body if that is not the body's own.
///
/// Said again, it has the files it has had; and if it had some then and has
/// none now, or the other way round, it is another one: no body is empty, so
/// none has the digest of nothing.
pub(super) fn repeated(
    known: Option<Option<Freight>>,
    has_files: bool,
    loaded: Option<Attached>,
) -> (Option<Attached>, Option<Digest>) {
    match known {
        None => (loaded, None),
        Some(freight) if freight.is_some() == has_files => {
            (freight.map(|freight| freight.attached), None)
        }
        Some(_) => (None, Some(Digest::of(&[]))),
    }
}

/// From this commit on, a record answers for the transfer.
pub(super) fn answer_for(batch: &mut Batch, attached: Option<Attached>) {
    if let Some(attached) = attached {
        strays::remove(batch, attached.transfer);
    }
}

#[cfg(test)]
mod tests;
