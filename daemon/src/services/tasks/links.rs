//! Sends what is owed to peers: a few exchanges at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use pilot_identity::NodeId;
use pilot_overlay::Session;
use pilot_proto::Service;
use pilot_proto::tasks::{
    MAX_ANSWER_FRAME, MAX_REQUESTS, MAX_TASK_FRAME, ResultBody, ResultExtras, TaskAnswer,
    TaskRequest,
};
use pilot_store::ReadError;
use pilot_tasks::{Outgoing, OutgoingKey, OutgoingKind, ReceivedTask};
use pilot_transport::{FramedError, next_frame, send_frame};
use tokio::sync::Notify;

use super::TasksService;
use crate::clock;
use crate::services::links::{AFTER_FAILURE, Owing};
use crate::store::bodies::{self, Kind, Side};

/// Exchanges with one peer at once: enough that small ones do not wait for a
/// round trip, few enough that what is owed meanwhile is sent together.
const EXCHANGES: usize = 4;

/// How long an exchange may go without any answer, beside the time its
/// requests take on the slowest line that is allowed for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes a second of the slowest line, for one of several exchanges on it: a
/// result of 16 MiB must get through on less than a megabit in the end.
const SLOWEST: u64 = 16 * 1024;

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Stream(#[from] FramedError),
    #[error("the body of a request cannot be read")]
    Body(#[from] ReadError),
    #[error("the body of a request is missing")]
    NoBody,
    #[error("the peer does not answer")]
    Silent,
}

impl Owing for TasksService {
    const WHAT: &'static str = "tasks";

    fn has_owed(&self, peer: &NodeId) -> bool {
        self.desk().has_owed(peer)
    }

    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, wake: &Notify) -> usize {
        let mut answered = 0;
        let mut exchanges = FuturesUnordered::new();
        loop {
            while exchanges.len() < EXCHANGES {
                let max_bytes = u64::try_from(MAX_TASK_FRAME).unwrap_or(u64::MAX);
                let requests =
                    self.desk().take_requests(peer, MAX_REQUESTS / 2, max_bytes, clock::now());
                if requests.is_empty() {
                    break;
                }
                exchanges.push(self.exchange(peer, session, requests));
            }
            if exchanges.is_empty() {
                return answered;
            }
            let done = tokio::select! {
                () = self.stop.cancelled() => return answered,
                () = wake.notified() => continue,
                done = exchanges.next() => done,
            };
            if let Some(Err(error)) = done {
                tracing::debug!(peer = %peer.short(), %error, "exchange of tasks failed");
                // The others end the same way, and give back what they had.
                while exchanges.next().await.is_some() {}
                if !session.connection().is_closed() {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
                return answered;
            }
            answered += 1;
        }
    }
}

impl TasksService {
    /// Lets the peer's driver look for something to send.
    pub(super) fn wake_link(self: &Arc<Self>, peer: NodeId) {
        if let Some(overlay) = self.overlay.get() {
            self.links.wake(self, overlay, peer);
        }
    }

    /// Sends `requests` on one stream and takes their answers.
    async fn exchange(
        &self,
        peer: NodeId,
        session: &Session,
        requests: Vec<Outgoing>,
    ) -> Result<(), ExchangeError> {
        let keys: Vec<OutgoingKey> = requests.iter().map(|request| request.key).collect();
        let mut answered = 0;
        let exchanged = self.converse(peer, session, requests, &keys, &mut answered).await;
        let unanswered = keys.get(answered..).unwrap_or_default();
        if !unanswered.is_empty() {
            let mut desk = self.desk();
            desk.submitter.handle_link_failed(peer, unanswered);
            desk.worker.handle_link_failed(peer, unanswered);
        }
        exchanged
    }

    async fn converse(
        &self,
        peer: NodeId,
        session: &Session,
        requests: Vec<Outgoing>,
        keys: &[OutgoingKey],
        answered: &mut usize,
    ) -> Result<(), ExchangeError> {
        let stream = session.open(Service::Tasks).await?;
        let (mut send, mut recv) = (stream.send, stream.recv);
        let bytes: u64 = requests.iter().map(Outgoing::weight).sum();
        let patience = PATIENCE.saturating_add(Duration::from_secs(bytes / SLOWEST));
        let sending = async {
            for request in requests {
                let request = self.with_body(request)?;
                send_frame(&mut send, &request, MAX_TASK_FRAME).await?;
            }
            send.finish().map_err(|_| FramedError::Closed)?;
            Ok::<(), ExchangeError>(())
        };
        let receiving = async {
            for key in keys {
                let answer = next_frame::<TaskAnswer>(&mut recv, MAX_ANSWER_FRAME);
                let answer = tokio::time::timeout(patience, answer).await;
                let answer = answer.map_err(|_| ExchangeError::Silent)??;
                let answer = answer.ok_or(FramedError::Ended)?;
                self.settle(peer, key, &answer).await;
                *answered += 1;
            }
            Ok::<(), ExchangeError>(())
        };
        tokio::try_join!(sending, receiving)?;
        Ok(())
    }

    /// What the answer leads to is written soon; nobody waits for it here.
    async fn settle(&self, peer: NodeId, key: &OutgoingKey, answer: &TaskAnswer) {
        let begun = self.begin(|desk, _, now| match key.kind {
            OutgoingKind::Offer | OutgoingKind::Cancel => {
                desk.submitter.handle_answer(peer, key, answer, now);
            }
            OutgoingKind::Update | OutgoingKind::Result => {
                desk.worker.handle_answer(peer, key, answer, now);
            }
        });
        if let Err(error) = begun.await {
            tracing::debug!(%error, "an answer could not be entered");
        }
    }

    fn with_body(&self, request: Outgoing) -> Result<TaskRequest, ExchangeError> {
        let id = request.key.id;
        let place = match request.key.kind {
            OutgoingKind::Offer => Some((Side::Submitted, Kind::Task)),
            OutgoingKind::Result => Some((Side::Received, Kind::Result)),
            OutgoingKind::Cancel | OutgoingKind::Update => None,
        };
        let left = || self.desk().worker.task(&id).is_some_and(ReceivedTask::leaves_result);
        let body = match place {
            None => Bytes::new(),
            Some((Side::Received, _)) if left() => {
                // The result stays here; this says so.
                let extras = ResultExtras { left: true, ..ResultExtras::default() };
                ResultBody { extras, ..ResultBody::default() }.encode().into()
            }
            Some((side, kind)) => self
                .store
                .read(|connection| bodies::get(connection, side, kind, id))?
                .ok_or(ExchangeError::NoBody)?,
        };
        Ok(request.into_request(body))
    }
}
