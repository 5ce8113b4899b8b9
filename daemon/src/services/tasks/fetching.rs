//! Inputs of a task: its worker fetches them from the workers that have them
//! where the two trust each other, else from the submitter.

use std::time::Duration;

use bytes::Bytes;
use pilot_identity::{Digest, NodeId};
use pilot_proto::tasks::{
    Attached, Fetch, InputRef, MAX_TASK_FRAME, Passed, ResultBody, TaskAnswer, TaskRefusal,
    TaskRequest,
};
use pilot_proto::{Service, TaskId};
use pilot_store::ReadError;
use pilot_transport::{next_frame, send_frame};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::TasksService;
use crate::store::bodies;

/// How long one node may take to give a result.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of all inputs of a task together: as base64 in JSON they still fit an
/// answer of the local API.
const MAX_BYTES: usize = 40 * 1024 * 1024;

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

/// Why a result was not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// Not now: nobody answers, or its files are on their way.
    Later,
    /// It is not there any more, or never was.
    Gone,
}

/// An input for the store.
pub(super) fn encode(input: &Input) -> Bytes {
    // Plain bytes and numbers: there is no failure for those.
    postcard::to_allocvec(input).unwrap_or_default().into()
}

impl TasksService {
    /// The inputs of a task that was offered, all of them here.
    pub(super) async fn fetch_inputs(
        &self,
        submitter: NodeId,
        id: TaskId,
        inputs: &[InputRef],
    ) -> Result<Vec<Input>, TaskRefusal> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        // What is fetched is in memory until it is stored.
        let fetching = self.fetching.acquire().await;
        let _turn = fetching.map_err(|_| TaskRefusal::Internal)?;
        let (mut here, mut bytes) = (Vec::with_capacity(inputs.len()), 0_usize);
        for input in inputs {
            let fetched = self.fetch_input(submitter, id, input).await;
            let fetched = fetched.map_err(|miss| match miss {
                Miss::Later => TaskRefusal::Inputs,
                Miss::Gone => TaskRefusal::NoInputs,
            })?;
            let body = ResultBody::decode(&fetched.body).map_err(|_| TaskRefusal::Invalid)?;
            body.check().map_err(|_| TaskRefusal::Invalid)?;
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
    ) -> Result<Input, Miss> {
        let us = self.key.id();
        let (task, attempt) = (input.task, input.attempt);
        if input.worker == us {
            let body = self.left(task, attempt, Some(submitter)).map_err(|_| Miss::Later)?;
            if let Some(body) = body.filter(|body| is_it(input, body)) {
                return Ok(Input { task, from: us, body, attached: None });
            }
        }
        let pass = input.pass.as_ref().and_then(|pass| postcard::from_bytes(pass).ok());
        let fetch = |pass| Fetch { task, attempt, pass, for_task: Some(for_task) };
        let mut sources = Vec::new();
        if input.worker != us && self.trust.is_mutual(&input.worker) {
            sources.push((input.worker, fetch(pass)));
        }
        sources.push((submitter, fetch(None)));
        let mut missed = Miss::Gone;
        for (from, fetch) in sources {
            let Passed { body, attached } = match self.fetch_from(from, fetch).await {
                Ok(passed) => passed,
                Err(Miss::Gone) => continue,
                Err(Miss::Later) => {
                    missed = Miss::Later;
                    continue;
                }
            };
            if !is_it(input, &body) {
                tracing::warn!(%task, from = %from.short(), "was given another result than asked");
                continue;
            }
            match self.check_attached(from, for_task, attached.as_ref()) {
                Ok(()) => return Ok(Input { task, from, body, attached }),
                // Its files follow, or begin anew; the offer is made again meanwhile.
                Err(_) => missed = Miss::Later,
            }
        }
        Err(missed)
    }

    /// Asks one node for a result.
    pub(super) async fn fetch_from(&self, from: NodeId, fetch: Fetch) -> Result<Passed, Miss> {
        let asked = async {
            let session = self.overlay.get()?.session(from).await.ok()?;
            let mut stream = session.open(Service::Tasks).await.ok()?;
            let request = TaskRequest::Fetch(fetch);
            send_frame(&mut stream.send, &request, MAX_TASK_FRAME).await.ok()?;
            stream.send.finish().ok()?;
            next_frame(&mut stream.recv, MAX_TASK_FRAME).await.ok()?
        };
        match timeout(PATIENCE, asked).await.ok().flatten() {
            Some(TaskAnswer::Passed(passed)) => Ok(*passed),
            Some(TaskAnswer::Refused(TaskRefusal::Unknown)) => Err(Miss::Gone),
            Some(
                TaskAnswer::Offered
                | TaskAnswer::Cancelling
                | TaskAnswer::Updated
                | TaskAnswer::Receipt(_)
                | TaskAnswer::Refused(_)
                | TaskAnswer::Load(_)
                | TaskAnswer::Logged { .. },
            )
            | None => Err(Miss::Later),
        }
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
}

fn is_it(input: &InputRef, body: &[u8]) -> bool {
    *Digest::of(body).as_bytes() == input.digest
}
