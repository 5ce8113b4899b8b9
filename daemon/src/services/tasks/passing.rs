//! Results that this node gives to the worker of the next task: as the worker
//! that has them, or as the submitter that has them or knows where they are.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use pilot_files::{Ending, Transfer};
use pilot_identity::{Digest, NodeId, SignedPass, Timestamp};
use pilot_proto::tasks::{Attached, Fetch, Passed, ResultBody, TaskAnswer, TaskRefusal};
use pilot_proto::{TaskId, TransferId};
use pilot_store::ReadError;
use pilot_tasks::{ReceivedTask, SubmittedTask};

use super::TasksService;
use super::fetching::Miss;
use super::files::Load;
use crate::clock;
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks as rows;

/// Transfers of files of results that were begun and may be asked for again.
const BEGUN: usize = 1_024;

/// Transfers of the files of one result to one node: one for each task whose
/// input it is, and one for the submitter.
const TO_ONE: usize = 64;

/// The transfers of files of a result, each for one node and one task.
pub(super) type Begun = Vec<((TaskId, NodeId, Option<TaskId>), TransferId)>;

/// A result of a task that this node gave.
#[derive(Debug, Clone)]
pub(crate) struct GivenResult {
    /// It, encoded.
    pub(crate) body: Bytes,
    /// Who did it.
    pub(crate) from: NodeId,
    /// Its files, if they came, or come, on a transfer.
    pub(crate) attached: Option<Attached>,
}

impl TasksService {
    /// Answers a node that asks for a result.
    pub(super) async fn give(self: &Arc<Self>, peer: NodeId, fetch: &Fetch) -> TaskAnswer {
        let given = match self.give_as_worker(peer, fetch).await {
            Ok(Err(Miss::Gone)) => self.give_as_submitter(peer, fetch).await,
            given => given,
        };
        match given {
            Ok(Ok(passed)) => TaskAnswer::Passed(Box::new(passed)),
            Ok(Err(Miss::Gone)) => TaskAnswer::Refused(TaskRefusal::Unknown),
            Ok(Err(Miss::Later)) => TaskAnswer::Refused(TaskRefusal::Internal),
            Err(error) => {
                tracing::warn!(%error, "a result could not be given to who asked for it");
                TaskAnswer::Refused(TaskRefusal::Internal)
            }
        }
    }

    /// A result that stays here because this node did the task.
    async fn give_as_worker(
        &self,
        peer: NodeId,
        fetch: &Fetch,
    ) -> Result<Result<Passed, Miss>, ReadError> {
        let us = self.key.id();
        let record = self.store.read(|connection| rows::received(connection, fetch.task))?;
        let may = |task: &ReceivedTask| {
            let pass = fetch.pass.as_ref();
            task.peer == peer
                || pass.is_some_and(|pass| permits(pass, fetch, task.peer, us, peer, clock::now()))
        };
        if record.filter(may).is_none() {
            return Ok(Err(Miss::Gone));
        }
        let Some(body) = self.left(fetch.task, fetch.attempt, None)? else {
            return Ok(Err(Miss::Gone));
        };
        let Ok(paths) = self.shelves.get(Side::Received, fetch.task) else {
            return Ok(Err(Miss::Later));
        };
        Ok(self.with_files(peer, fetch, body, paths).await)
    }

    /// A result that is here because this node gave the task, for the worker
    /// of one whose input it is.
    async fn give_as_submitter(
        self: &Arc<Self>,
        peer: NodeId,
        fetch: &Fetch,
    ) -> Result<Result<Passed, Miss>, ReadError> {
        let Some(for_task) = fetch.for_task else { return Ok(Err(Miss::Gone)) };
        let next = self.store.read(|connection| rows::submitted(connection, for_task))?;
        let is_input = |task: &SubmittedTask| {
            task.worker() == Some(peer)
                && task.ending().is_none()
                && task.extras.plan.inputs.contains(&fetch.task)
        };
        if next.filter(is_input).is_none() || !self.trust.is_mutual(&peer) {
            return Ok(Err(Miss::Gone));
        }
        let GivenResult { body, from, attached } = match self.result_here(fetch.task).await? {
            Ok(given) => given,
            Err(miss) => return Ok(Err(miss)),
        };
        let Some(attached) = attached else {
            return Ok(Ok(Passed { body, attached: None }));
        };
        let transfer = self.data.find(attached.transfer)?;
        let transfer = transfer.filter(|transfer| transfer.peer == from);
        let folder = transfer.as_ref().and_then(|transfer| self.data.folder(transfer));
        match (transfer.as_ref().map(Transfer::ended), folder) {
            (_, Some(folder)) => match entries(folder) {
                Ok(paths) => Ok(self.with_files(peer, fetch, body, paths).await),
                Err(_) => Ok(Err(Miss::Later)),
            },
            // They are on their way here; of one that is not known yet, too.
            (None | Some(None), None) => Ok(Err(Miss::Later)),
            (Some(Some(_)), None) => Ok(Err(Miss::Gone)),
        }
    }

    /// The result of a task that this node gave, from its worker if it stays there.
    pub(super) async fn result_here(
        &self,
        id: TaskId,
    ) -> Result<Result<GivenResult, Miss>, ReadError> {
        let record = self.store.read(|connection| rows::submitted(connection, id))?;
        let Some(record) = record.filter(|task| task.delivery().is_some()) else {
            return Ok(Err(Miss::Gone));
        };
        let (from, attempt) = (record.peer, record.terms.attempt);
        let body = self
            .store
            .read(|connection| bodies::get(connection, Side::Submitted, Kind::Result, id))?;
        let decoded = body.as_ref().and_then(|body| ResultBody::decode(body).ok());
        let (Some(body), Some(decoded)) = (body, decoded) else { return Ok(Err(Miss::Gone)) };
        if !decoded.extras.left {
            return Ok(Ok(GivenResult { body, from, attached: decoded.attached }));
        }
        let fetch = Fetch { task: id, attempt, pass: None, for_task: None };
        let signed = record.delivery().map(|delivery| delivery.digest);
        Ok(match self.fetch_from(from, fetch).await {
            Ok(Passed { body, attached }) if Some(Digest::of(&body)) == signed => {
                Ok(GivenResult { body, from, attached })
            }
            Ok(_) => Err(Miss::Gone),
            Err(miss) => Err(miss),
        })
    }

    /// The same for who asks for it on this node.
    pub(crate) async fn left_result(&self, id: TaskId) -> Result<Option<GivenResult>, ReadError> {
        Ok(self.result_here(id).await?.ok())
    }

    /// Sends the files that go with a result, once for each who asks.
    async fn with_files(
        &self,
        peer: NodeId,
        fetch: &Fetch,
        body: Bytes,
        paths: Vec<PathBuf>,
    ) -> Result<Passed, Miss> {
        if paths.is_empty() {
            return Ok(Passed { body, attached: None });
        }
        let task = fetch.for_task.unwrap_or(fetch.task);
        let key = (fetch.task, peer, fetch.for_task);
        let _turn = self.loading.turn(fetch.task).await;
        let known = self.begun().iter().rfind(|(known, _)| *known == key).map(|(_, id)| *id);
        let known = known.and_then(|id| self.data.find(id).ok().flatten());
        let goes_well = |transfer: &Transfer| match transfer.ended() {
            None | Some((_, Ending::Complete)) => true,
            Some((_, Ending::Failed { .. } | Ending::Cancelled | Ending::Expired)) => false,
        };
        if let Some(transfer) = known.filter(goes_well) {
            return Ok(Passed { body, attached: Some(super::files::attached(&transfer)) });
        }
        let of_both =
            |(task, to, _): &(TaskId, NodeId, Option<TaskId>)| *task == fetch.task && *to == peer;
        if self.begun().iter().filter(|(known, _)| of_both(known)).count() >= TO_ONE {
            tracing::warn!(task = %fetch.task, to = %peer.short(), "asks for files too often");
            return Err(Miss::Gone);
        }
        let label = format!("result of task {}", fetch.task);
        let loaded = self.load(Load { task, to: peer, paths, label }).await;
        let attached = loaded.map_err(|_| Miss::Later)?;
        let mut begun = self.begun();
        if begun.len() >= BEGUN {
            begun.remove(0);
        }
        begun.push((key, attached.transfer));
        Ok(Passed { body, attached: Some(attached) })
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The encoded result of a task that this node did and that stays here; of
    /// that submitter's, if one is named.
    pub(super) fn left(
        &self,
        id: TaskId,
        attempt: u32,
        submitter: Option<NodeId>,
    ) -> Result<Option<Bytes>, ReadError> {
        self.store.read(|connection| {
            let is_it = |task: &ReceivedTask| {
                task.terms.attempt == attempt
                    && task.leaves_result()
                    && submitter.is_none_or(|submitter| task.peer == submitter)
            };
            match rows::received(connection, id)?.filter(is_it) {
                Some(_) => bodies::get(connection, Side::Received, Kind::Result, id),
                None => Ok(None),
            }
        })
    }

    /// The folder with the files of a result that stays here, if it has any.
    pub(crate) fn left_folder(&self, id: TaskId) -> Option<PathBuf> {
        self.shelves.is_here(Side::Received, id)
    }
}

/// Whether the submitter permits `peer` to have the result of `fetch` from us.
fn permits(
    pass: &SignedPass,
    fetch: &Fetch,
    submitter: NodeId,
    us: NodeId,
    peer: NodeId,
    now: Timestamp,
) -> bool {
    pass.verify().is_ok_and(|pass| {
        pass.task == fetch.task.uuid()
            && pass.attempt == fetch.attempt
            && pass.submitter == submitter
            && pass.worker == us
            && pass.to == peer
            && pass.expires > now
    })
}

/// What is in a folder, by its paths.
pub(super) fn entries(folder: PathBuf) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}
