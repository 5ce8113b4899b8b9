//! Results that go to the worker of the next task: from the worker that has
//! them where the two trust each other, else from the submitter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_files::{Ending, Transfer};
use pilot_identity::{Digest, NodeId, Outcome, SignedPass, Timestamp};
use pilot_proto::tasks::{
    Attached, Fetch, InputRef, MAX_TASK_FRAME, Passed, ResultBody, TaskAnswer, TaskRefusal,
    TaskRequest,
};
use pilot_proto::{Service, TaskId, TransferId};
use pilot_store::ReadError;
use pilot_tasks::{ReceivedTask, SubmittedTask};
use pilot_transport::{next_frame, send_frame};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::TasksService;
use super::files::Load;
use crate::clock;
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks as rows;

/// How long one node may take to give a result.
const PATIENCE: Duration = Duration::from_secs(20);

/// Transfers of files of results that were begun and may be asked for again.
const BEGUN: usize = 1_024;

/// Transfers of the files of one result to one node: one for each task whose
/// input it is, and one for the submitter.
const TO_ONE: usize = 64;

/// Bytes of all inputs of a task together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// An input as its worker keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Of which task it is the result.
    pub(crate) task: TaskId,
    /// Who gave it; this node itself, if it did that task.
    pub(crate) from: NodeId,
    /// The encoded result.
    pub(crate) body: Bytes,
    /// Its files, if they came on a transfer.
    pub(crate) attached: Option<Attached>,
}

/// An input for the store.
pub(super) fn encode(input: &Input) -> Bytes {
    // Plain bytes and numbers: there is no failure for those.
    postcard::to_allocvec(input).unwrap_or_default().into()
}

/// The transfers of files of a result, each for one node and one task.
pub(super) type Begun = Vec<((TaskId, NodeId, Option<TaskId>), TransferId)>;

impl TasksService {
    /// The inputs of a task that was offered, all of them here.
    pub(super) async fn fetch_inputs(
        &self,
        submitter: NodeId,
        id: TaskId,
        inputs: &[InputRef],
    ) -> Result<Vec<Input>, TaskRefusal> {
        let (mut here, mut bytes) = (Vec::with_capacity(inputs.len()), 0_usize);
        for input in inputs {
            let fetched = self.fetch_input(submitter, id, input).await;
            let fetched = fetched.ok_or(TaskRefusal::Inputs)?;
            bytes = bytes.saturating_add(fetched.body.len());
            if bytes > MAX_BYTES {
                return Err(TaskRefusal::Invalid);
            }
            here.push(fetched);
        }
        Ok(here)
    }

    async fn fetch_input(
        &self,
        submitter: NodeId,
        for_task: TaskId,
        input: &InputRef,
    ) -> Option<Input> {
        let us = self.key.id();
        let task = input.task;
        if input.worker == us {
            let body = self.left(task, input.attempt).ok()?;
            if let Some(body) = body.filter(|body| is_it(input, body)) {
                return Some(Input { task, from: us, body, attached: None });
            }
        }
        let pass = input.pass.as_ref().and_then(|pass| postcard::from_bytes(pass).ok());
        let fetch = |pass| Fetch { task, attempt: input.attempt, pass, for_task: Some(for_task) };
        let mut sources = Vec::new();
        if input.worker != us && self.trust.is_mutual(&input.worker) {
            sources.push((input.worker, fetch(pass)));
        }
        sources.push((submitter, fetch(None)));
        for (from, fetch) in sources {
            let Some(Passed { body, attached }) = self.fetch_from(from, fetch).await else {
                continue;
            };
            if !is_it(input, &body) {
                tracing::warn!(%task, from = %from.short(), "was given another result than asked");
                continue;
            }
            // Its files follow; the offer is made again meanwhile.
            self.check_attached(from, for_task, attached.as_ref()).ok()?;
            return Some(Input { task, from, body, attached });
        }
        None
    }

    /// Asks one node for a result.
    pub(super) async fn fetch_from(&self, from: NodeId, fetch: Fetch) -> Option<Passed> {
        let asked = async {
            let session = self.overlay.get()?.session(from).await.ok()?;
            let mut stream = session.open(Service::Tasks).await.ok()?;
            let request = TaskRequest::Fetch(fetch);
            send_frame(&mut stream.send, &request, MAX_TASK_FRAME).await.ok()?;
            stream.send.finish().ok()?;
            match next_frame(&mut stream.recv, MAX_TASK_FRAME).await.ok()?? {
                TaskAnswer::Passed(passed) => Some(*passed),
                TaskAnswer::Offered
                | TaskAnswer::Cancelling
                | TaskAnswer::Updated
                | TaskAnswer::Receipt(_)
                | TaskAnswer::Refused(_)
                | TaskAnswer::Load(_)
                | TaskAnswer::Logged { .. } => None,
            }
        };
        timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Answers a node that asks for a result.
    pub(super) async fn give(self: &Arc<Self>, peer: NodeId, fetch: &Fetch) -> TaskAnswer {
        let given = match self.give_as_worker(peer, fetch).await {
            Ok(None) => self.give_as_submitter(peer, fetch).await,
            given => given,
        };
        match given {
            Ok(Some(passed)) => TaskAnswer::Passed(Box::new(passed)),
            Ok(None) => TaskAnswer::Refused(TaskRefusal::Unknown),
            Err(error) => {
                tracing::warn!(%error, "a result could not be given to who asked for it");
                TaskAnswer::Refused(TaskRefusal::Internal)
            }
        }
    }

    /// A result that is here because this node did the task.
    async fn give_as_worker(
        &self,
        peer: NodeId,
        fetch: &Fetch,
    ) -> Result<Option<Passed>, ReadError> {
        let us = self.key.id();
        let record = self.store.read(|connection| rows::received(connection, fetch.task))?;
        let may = |task: &ReceivedTask| {
            task.peer == peer
                || fetch
                    .pass
                    .as_ref()
                    .is_some_and(|pass| permits(pass, fetch, task.peer, us, peer, clock::now()))
        };
        if record.filter(may).is_none() {
            return Ok(None);
        }
        let Some(body) = self.left(fetch.task, fetch.attempt)? else { return Ok(None) };
        let paths = self.shelves.get(Side::Received, fetch.task);
        Ok(self.with_files(peer, fetch, body, paths).await)
    }

    /// A result that is here because this node gave the task, for the worker
    /// of one whose input it is.
    async fn give_as_submitter(
        self: &Arc<Self>,
        peer: NodeId,
        fetch: &Fetch,
    ) -> Result<Option<Passed>, ReadError> {
        let Some(for_task) = fetch.for_task else { return Ok(None) };
        let next = self.store.read(|connection| rows::submitted(connection, for_task))?;
        let is_input = |task: &SubmittedTask| {
            task.worker() == Some(peer)
                && task.ending().is_none()
                && task.extras.plan.inputs.contains(&fetch.task)
        };
        if next.filter(is_input).is_none() || !self.trust.is_mutual(&peer) {
            return Ok(None);
        }
        let Some(GivenResult { body, from, attached }) = self.result_here(fetch.task).await? else {
            return Ok(None);
        };
        let transfer = match attached {
            Some(attached) => self.data.find(attached.transfer)?,
            None => None,
        };
        let folder = transfer.filter(|transfer| transfer.peer == from);
        let folder = folder.and_then(|transfer| self.data.folder(&transfer));
        let paths = folder.map(entries).unwrap_or_default();
        Ok(self.with_files(peer, fetch, body, paths).await)
    }

    /// The result of a task that this node gave, from its worker if it stays
    /// there; none if it is not to be had now.
    pub(crate) async fn result_here(&self, id: TaskId) -> Result<Option<GivenResult>, ReadError> {
        let record = self.store.read(|connection| rows::submitted(connection, id))?;
        let Some(record) = record else { return Ok(None) };
        let (from, attempt) = (record.peer, record.terms.attempt);
        let body = self
            .store
            .read(|connection| bodies::get(connection, Side::Submitted, Kind::Result, id))?;
        let Some(body) = body else { return Ok(None) };
        let Ok(decoded) = ResultBody::decode(&body) else { return Ok(None) };
        if !decoded.extras.left {
            return Ok(Some(GivenResult { body, from, attached: decoded.attached }));
        }
        let fetch = Fetch { task: id, attempt, pass: None, for_task: None };
        let passed = self.fetch_from(from, fetch).await;
        let signed = record.delivery().map(|delivery| delivery.digest);
        let passed = passed.filter(|passed| Some(Digest::of(&passed.body)) == signed);
        Ok(passed.map(|Passed { body, attached }| GivenResult { body, from, attached }))
    }

    /// Sends the files that go with a result, once for each who asks.
    async fn with_files(
        &self,
        peer: NodeId,
        fetch: &Fetch,
        body: Bytes,
        paths: Vec<PathBuf>,
    ) -> Option<Passed> {
        if paths.is_empty() {
            return Some(Passed { body, attached: None });
        }
        let task = fetch.for_task.unwrap_or(fetch.task);
        let key = (fetch.task, peer, fetch.for_task);
        let _turn = self.loading.turn(fetch.task).await;
        let known = self.begun().iter().find(|(known, _)| *known == key).map(|(_, id)| *id);
        let known = known.and_then(|id| self.data.find(id).ok().flatten());
        let goes_well = |transfer: &Transfer| match transfer.ended() {
            None | Some((_, Ending::Complete)) => true,
            Some((_, Ending::Failed { .. } | Ending::Cancelled | Ending::Expired)) => false,
        };
        if let Some(transfer) = known.filter(goes_well) {
            return Some(Passed { body, attached: Some(super::files::attached(&transfer)) });
        }
        let of_both =
            |(task, to, _): &(TaskId, NodeId, Option<TaskId>)| *task == fetch.task && *to == peer;
        if self.begun().iter().filter(|(known, _)| of_both(known)).count() >= TO_ONE {
            tracing::warn!(task = %fetch.task, to = %peer.short(), "asks for files too often");
            return None;
        }
        let label = format!("result of task {}", fetch.task);
        let attached = self.load(Load { task, to: peer, paths, label }).await.ok()?;
        let mut begun = self.begun();
        if begun.len() >= BEGUN {
            begun.remove(0);
        }
        begun.push((key, attached.transfer));
        Some(Passed { body, attached: Some(attached) })
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The encoded result of a task that this node did, if it is kept.
    fn left(&self, id: TaskId, attempt: u32) -> Result<Option<Bytes>, ReadError> {
        self.store.read(|connection| {
            let record = rows::received(connection, id)?;
            let is_it = |task: &ReceivedTask| {
                let succeeded =
                    task.ending().is_some_and(|ending| ending.outcome == Outcome::Succeeded);
                task.terms.attempt == attempt && succeeded
            };
            match record.filter(is_it) {
                Some(_) => bodies::get(connection, Side::Received, Kind::Result, id),
                None => Ok(None),
            }
        })
    }

    /// The inputs of a task that was received, in their order.
    pub(crate) fn inputs(&self, id: TaskId) -> Result<Vec<Input>, ReadError> {
        self.store.read(|connection| {
            let stored = bodies::inputs(connection, id)?;
            let decode = |bytes: &Bytes| {
                postcard::from_bytes(bytes).map_err(|error| crate::store::undecodable(0, error))
            };
            stored.iter().map(decode).collect()
        })
    }

    /// The folder with the files of a result that stays here, if it has any.
    pub(crate) fn left_folder(&self, id: TaskId) -> Option<PathBuf> {
        self.shelves.is_here(Side::Received, id)
    }
}

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

fn is_it(input: &InputRef, body: &[u8]) -> bool {
    *Digest::of(body).as_bytes() == input.digest
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

fn entries(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}
