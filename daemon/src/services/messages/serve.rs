//! What peers ask of the messages service: one request a stream.

use std::sync::{Arc, PoisonError};

use pilot_identity::{NodeId, Scope, Timestamp};
use pilot_messages::Note;
use pilot_proto::close;
use pilot_proto::messages::{
    Deliver, MAX_MESSAGE_ANSWER, MAX_MESSAGE_FRAME, MessageAnswer, MessageRefusal, MessageRequest,
    Receipt,
};
use pilot_store::CommitError;
use pilot_transport::{Budget, Framed, FramedError, next_frame_within};

use super::MessagesService;
use crate::store::inbox::{self, InboxRow};
use crate::store::messages;

impl MessagesService {
    /// Serves one stream of an admitted peer.
    pub(crate) async fn serve(self: Arc<Self>, peer: NodeId, mut framed: Framed) {
        if let Err(error) = self.serve_one(peer, &mut framed).await {
            tracing::debug!(peer = %peer.short(), %error, "stream of messages broke off");
            framed.refuse(close::PROTOCOL);
        }
    }

    async fn serve_one(&self, peer: NodeId, framed: &mut Framed) -> Result<(), FramedError> {
        let budget = self.budget_of(peer);
        let next = next_frame_within(&mut framed.recv, MAX_MESSAGE_FRAME, &budget).await?;
        // The share is kept until the texts are on disk.
        let (request, _share) = next.ok_or(FramedError::Ended)?;
        let decided = match request {
            MessageRequest::Deliver(deliver) => self.take(peer, deliver).await,
            MessageRequest::Receipts(receipts) => self.hear(peer, receipts).await,
            MessageRequest::Room => {
                let noted = self.turn(|desk, _, now| desk.outbox.handle_room(peer, now)).await;
                noted.map(|()| MessageAnswer::Noted)
            }
        };
        let answer = match decided {
            // The node stops: what is on disk then, nobody here knows any more. The
            // sender asks when this node is back.
            Err(CommitError::Closed) => {
                framed.refuse(close::GOODBYE);
                return Ok(());
            }
            decided => decided.unwrap_or_else(|error| MessageAnswer::Refused(refusal(&error))),
        };
        framed.send(&answer, MAX_MESSAGE_ANSWER).await?;
        framed.finish()
    }

    /// The peer's part of the memory for large frames: two of them at a time, so
    /// that no peer keeps the others waiting by sending its own slowly.
    fn budget_of(&self, peer: NodeId) -> Budget {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.entry(peer).or_insert_with(|| self.budget.part(2 * MAX_MESSAGE_FRAME)).clone()
    }

    /// Messages for this node.
    async fn take(&self, peer: NodeId, deliver: Deliver) -> Result<MessageAnswer, CommitError> {
        if !deliver.messages.is_empty() {
            self.store.room_for_new_work()?;
        }
        let may = self.trust.allows(peer, Scope::Messages);
        self.turn(|desk, batch, now| {
            let verdict = desk.inbox.handle_deliver(peer, &deliver, may);
            let mut letters = deliver.messages.into_iter().enumerate();
            for taken in verdict.taken {
                let Some((_, letter)) = letters.find(|(index, _)| *index == taken.index) else {
                    break;
                };
                self.data.give_way();
                desk.taken.push(taken.order);
                let written = now.as_millis().saturating_sub(letter.age_ms);
                let row = InboxRow {
                    order: taken.order,
                    id: letter.id,
                    from: peer,
                    text: letter.text.into_string(),
                    written: Timestamp::from_millis(written),
                    received: now,
                    read: None,
                    acked: None,
                };
                inbox::put(batch, row);
            }
            verdict.answer
        })
        .await
    }

    /// What became of messages of this node.
    async fn hear(
        &self,
        peer: NodeId,
        receipts: Vec<Receipt>,
    ) -> Result<MessageAnswer, CommitError> {
        self.turn(|desk, batch, now| {
            let note = |receipt: &Receipt| (receipt.id, Note::of_receipt(receipt, now));
            messages::receipts(batch, peer, receipts.iter().map(note).collect(), now);
            desk.heard_of.extend(receipts.iter().map(|receipt| receipt.id));
        })
        .await?;
        Ok(MessageAnswer::Noted)
    }
}

const fn refusal(error: &CommitError) -> MessageRefusal {
    match error {
        CommitError::DiskFull => MessageRefusal::DiskFull,
        CommitError::Stale | CommitError::Failed(_) | CommitError::Closed => {
            MessageRefusal::Internal
        }
    }
}
