//! What peers ask of the tasks service.
//!
//! Requests of one stream are decided as they come and answered in order, each
//! once it is on disk; meanwhile the next ones are read, so that they share
//! their commits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use pilot_identity::{Digest, NodeId, Scope};
use pilot_proto::close;
use pilot_proto::tasks::{
    Cancel, Load, MAX_ANSWER_FRAME, MAX_REQUESTS, MAX_TASK_FRAME, Offer, ResultBody, TaskAnswer,
    TaskBody, TaskRefusal, TaskRequest, TaskResult, Update,
};
use pilot_store::{Batch, CommitError};
use pilot_tasks::{Keep, OfferFacts, ResultFacts};
use pilot_transport::{
    Budget, Framed, FramedError, RecvStream, SendStream, Share, next_frame_within, send_frame,
};
use tokio::sync::mpsc;

use super::TasksService;
use crate::services::ledger::Turn;
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks as rows;

/// Requests of a stream that are decided and not yet answered. Beyond that
/// no more are read, which holds the peer by QUIC's flow control.
const UNDER_WAY: usize = 64;

/// A decided request: the answer, and the turn after which it may be given.
type Decided = (TaskAnswer, Option<Turn>);

impl TasksService {
    /// Serves one stream of an admitted peer.
    pub(crate) async fn serve(self: Arc<Self>, peer: NodeId, mut framed: Framed) {
        let (decided, answers) = mpsc::channel(UNDER_WAY);
        let served = tokio::try_join!(
            self.decide_all(peer, &mut framed.recv, decided),
            answer_all(&mut framed.send, answers),
        );
        if let Err(error) = served {
            tracing::debug!(peer = %peer.short(), %error, "stream of tasks broke off");
            framed.refuse(close::PROTOCOL);
        }
    }

    async fn decide_all(
        self: &Arc<Self>,
        peer: NodeId,
        recv: &mut RecvStream,
        decided: mpsc::Sender<Decided>,
    ) -> Result<(), FramedError> {
        let budget = self.budget_of(peer);
        for taken in 0.. {
            let next = next_frame_within(recv, MAX_TASK_FRAME, &budget).await?;
            let Some((request, share)) = next else { return Ok(()) };
            if taken == MAX_REQUESTS {
                break;
            }
            // The one request whose answer is large ends its exchange.
            let is_last = matches!(request, TaskRequest::Fetch(_));
            let decision = match self.decide(peer, request, share).await {
                Ok(decision) => decision,
                Err(refusal) => (TaskAnswer::Refused(refusal), None),
            };
            if decided.send(decision).await.is_err() {
                return Err(FramedError::Closed);
            }
            if is_last {
                return Ok(());
            }
        }
        Err(FramedError::Ended)
    }

    /// The peer's part of the memory for large frames: one of them at a time,
    /// so that no peer keeps the others waiting by sending its own slowly.
    fn budget_of(&self, peer: NodeId) -> Budget {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.entry(peer).or_insert_with(|| self.budget.part(MAX_TASK_FRAME)).clone()
    }

    async fn decide(
        self: &Arc<Self>,
        peer: NodeId,
        request: TaskRequest,
        share: Share,
    ) -> Result<Decided, TaskRefusal> {
        let (answer, turn) = match request {
            TaskRequest::Offer(offer) => self.decide_offer(peer, offer, share).await?,
            TaskRequest::Result(result) => self.decide_result(peer, result, share).await?,
            TaskRequest::Cancel(cancel) => self.decide_cancel(peer, cancel).await?,
            TaskRequest::Update(update) => self.decide_update(peer, &update).await?,
            TaskRequest::Logs(logs) => self.decide_logs(peer, logs).await?,
            TaskRequest::Ask => return Ok((TaskAnswer::Load(self.own_load()), None)),
            TaskRequest::Fetch(fetch) => return Ok((self.give(peer, &fetch).await, None)),
        };
        Ok((answer, Some(turn)))
    }

    async fn decide_update(
        &self,
        peer: NodeId,
        update: &Update,
    ) -> Result<(TaskAnswer, Turn), TaskRefusal> {
        let (answer, turn) = self
            .begin(|desk, _, now| {
                desk.fetch_submitted(&self.store, update.id).map_err(|_| TaskRefusal::Internal)?;
                Ok(desk.submitter.handle_update(peer, update, now))
            })
            .await
            .map_err(|error| refusal(&error))?;
        Ok((answer?, turn))
    }

    async fn decide_offer(
        &self,
        peer: NodeId,
        offer: Offer,
        share: Share,
    ) -> Result<(TaskAnswer, Turn), TaskRefusal> {
        let body = TaskBody::decode(&offer.body).map_err(|_| TaskRefusal::Invalid)?;
        body.check().map_err(|_| TaskRefusal::Invalid)?;
        self.store.room_for_new_work().map_err(|error| refusal(&error))?;
        let may_submit = self.trust.allows(peer, Scope::Tasks);
        let inputs = if may_submit && self.is_new(&offer)? {
            self.fetch_inputs(peer, offer.id, &body.extras.inputs).await?
        } else {
            Vec::new()
        };
        let facts = OfferFacts {
            digest: Digest::of(&offer.body),
            len: length(&offer.body),
            summary: pilot_tasks::summary_of(&body.description),
            files: self.check_attached(peer, offer.id, body.attached.as_ref()),
            exclusive: body.extras.exclusive,
            leave_result: body.extras.leave_result,
        };
        let (answer, turn) = self
            .begin(|desk, batch, now| {
                let id = offer.id;
                desk.fetch_received(&self.store, id).map_err(|_| TaskRefusal::Internal)?;
                let verdict = desk.worker.handle_offer(peer, &offer, &facts, may_submit, now);
                if verdict.keep_body {
                    bodies::put(batch, Side::Received, Kind::Task, id, offer.body);
                    bodies::forget_inputs(batch, id);
                    for (number, input) in (0..).zip(&inputs) {
                        let input = super::fetching::encode(input);
                        bodies::put(batch, Side::Received, Kind::Input(number), id, input);
                    }
                    keep_until_written(batch, share);
                }
                Ok(verdict.answer)
            })
            .await
            .map_err(|error| refusal(&error))?;
        Ok((answer?, turn))
    }

    /// Whether an offer is not in the queue already, so that its inputs are needed.
    fn is_new(&self, offer: &Offer) -> Result<bool, TaskRefusal> {
        let known = self.desk().worker.task(&offer.id).map(|task| task.terms.attempt);
        let known = match known {
            Some(attempt) => Some(attempt),
            None => self
                .store
                .read(|connection| rows::received(connection, offer.id))
                .map_err(|_| TaskRefusal::Internal)?
                .map(|task| task.terms.attempt),
        };
        Ok(known.is_none_or(|attempt| attempt < offer.attempt))
    }

    /// How much there is to do here, for a submitter that has to choose.
    fn own_load(&self) -> Load {
        let counts = self.counts();
        let hands = self.waiting.load(Ordering::Relaxed).saturating_add(counts.received_leased);
        let tasks = counts.received_waiting.saturating_add(counts.received_leased);
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Load { hands: number(hands), tasks: number(tasks) }
    }

    async fn decide_cancel(
        &self,
        peer: NodeId,
        cancel: Cancel,
    ) -> Result<(TaskAnswer, Turn), TaskRefusal> {
        let may_submit = self.trust.allows(peer, Scope::Tasks);
        let (answer, turn) = self
            .begin(|desk, _, now| {
                let id = cancel.id;
                desk.fetch_received(&self.store, id).map_err(|_| TaskRefusal::Internal)?;
                // Whose offers are refused needs no record that keeps them from
                // running; what it submitted before it may always take back.
                if !may_submit && !desk.worker.knows(&id) {
                    return Err(TaskRefusal::Unknown);
                }
                Ok(desk.worker.handle_cancel(peer, &cancel, now))
            })
            .await
            .map_err(|error| refusal(&error))?;
        Ok((answer?, turn))
    }

    async fn decide_result(
        &self,
        peer: NodeId,
        result: TaskResult,
        share: Share,
    ) -> Result<(TaskAnswer, Turn), TaskRefusal> {
        let body = ResultBody::decode(&result.body).map_err(|_| TaskRefusal::Invalid)?;
        body.check().map_err(|_| TaskRefusal::Invalid)?;
        let facts = ResultFacts {
            digest: Digest::of(&result.body),
            len: length(&result.body),
            reason: body.reason.into_string(),
            files: self.check_attached(peer, result.id, body.attached.as_ref()),
            for_good: body.extras.no_retry || body.extras.lost,
            is_left: body.extras.left,
        };
        let (answer, turn) = self
            .begin(|desk, batch, now| {
                let id = result.id;
                desk.fetch_submitted(&self.store, id).map_err(|_| TaskRefusal::Internal)?;
                let verdict = desk.submitter.handle_result(peer, &result, &facts, now);
                if let Some(keep) = verdict.keep {
                    let kind = match keep {
                        Keep::Result => Kind::Result,
                        Keep::Attempt(attempt) => Kind::Attempt(attempt),
                    };
                    bodies::put(batch, Side::Submitted, kind, id, result.body);
                    keep_until_written(batch, share);
                }
                Ok(verdict.answer)
            })
            .await
            .map_err(|error| refusal(&error))?;
        Ok((answer?, turn))
    }
}

async fn answer_all(
    send: &mut SendStream,
    mut answers: mpsc::Receiver<Decided>,
) -> Result<(), FramedError> {
    while let Some((answer, turn)) = answers.recv().await {
        let written = match turn {
            Some(turn) => turn.done().await,
            None => Ok(()),
        };
        let answer = match written {
            Ok(()) => answer,
            Err(error) => TaskAnswer::Refused(refusal(&error)),
        };
        let limit = match &answer {
            TaskAnswer::Passed(_) => MAX_TASK_FRAME,
            TaskAnswer::Offered
            | TaskAnswer::Cancelling
            | TaskAnswer::Updated
            | TaskAnswer::Receipt(_)
            | TaskAnswer::Refused(_)
            | TaskAnswer::Load(_)
            | TaskAnswer::Logged { .. } => MAX_ANSWER_FRAME,
        };
        send_frame(send, &answer, limit).await?;
    }
    send.finish().map_err(|_| FramedError::Closed)
}

/// A body is in memory until it has been written, which may take longer than
/// its peer takes to send the next one.
fn keep_until_written(batch: &mut Batch, share: Share) {
    batch.write(move |_| {
        drop(share);
        Ok(())
    });
}

const fn refusal(error: &CommitError) -> TaskRefusal {
    match error {
        CommitError::DiskFull => TaskRefusal::DiskFull,
        CommitError::Stale | CommitError::Failed(_) | CommitError::Closed => TaskRefusal::Internal,
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
