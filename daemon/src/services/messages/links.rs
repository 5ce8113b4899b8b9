//! Sends what is owed to peers: one exchange at a time, so that it is in order.

use std::sync::Arc;
use std::time::Duration;

use pilot_identity::{NodeId, Timestamp};
use pilot_messages::{Batch, Note};
use pilot_overlay::Session;
use pilot_proto::messages::{
    Deliver, Letter, MAX_MESSAGE_ANSWER, MAX_MESSAGE_FRAME, MessageAnswer, MessageRefusal,
    MessageRequest,
};
use pilot_proto::text::Text;
use pilot_proto::{MessageId, Service, close};
use pilot_store::{CommitError, ReadError};
use pilot_transport::FramedError;
use tokio::sync::Notify;

use super::MessagesService;
use crate::clock;
use crate::services::links::{AFTER_FAILURE, Owing};
use crate::store::messages;

/// How long an answer may take: a batch of 256 KiB on a line of 5 kB/s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Stream(#[from] FramedError),
    #[error("the text of a message cannot be read")]
    Text(#[from] ReadError),
    #[error("the text of message {0} is missing")]
    NoText(MessageId),
    #[error("what goes to the peer cannot be written down")]
    Commit(#[from] CommitError),
    #[error("the peer does not answer")]
    Silent,
    #[error("the peer answers something else than it was asked")]
    Confused,
}

/// What goes to a peer next.
enum Next {
    Batch(Batch),
    Receipts(Vec<(MessageId, Note)>),
    Room,
}

impl Owing for MessagesService {
    const WHAT: &'static str = "messages";

    fn has_owed(&self, peer: &NodeId) -> bool {
        self.desk().has_owed(peer)
    }

    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, _wake: &Notify) -> usize {
        let mut ended = 0;
        loop {
            let exchanged = tokio::select! {
                () = self.stop.cancelled() => return ended,
                exchanged = self.exchange_next(peer, session) => exchanged,
            };
            match exchanged {
                Ok(true) => ended += 1,
                Ok(false) => return ended,
                Err(error) => {
                    tracing::debug!(peer = %peer.short(), %error, "exchange of messages failed");
                    if !session.connection().is_closed() {
                        tokio::time::sleep(AFTER_FAILURE).await;
                    }
                    return ended;
                }
            }
        }
    }
}

impl MessagesService {
    /// Lets the peer's driver look for something to send.
    pub(super) fn wake_link(self: &Arc<Self>, peer: NodeId) {
        if let Some(overlay) = self.overlay.get() {
            self.links.wake(self, overlay, peer);
        }
    }

    /// Sends what is next; false if there is nothing.
    async fn exchange_next(&self, peer: NodeId, session: &Session) -> Result<bool, ExchangeError> {
        let Some(next) = self.next(peer).await? else { return Ok(false) };
        let answered = self.exchange(peer, session, &next).await;
        let settled = self.begin(|desk, _, now| match (&next, &answered) {
            (Next::Batch(batch), Ok(answer)) => {
                desk.outbox.handle_answer(peer, batch.stamp, *answer, now);
            }
            (Next::Batch(batch), Err(_)) => desk.outbox.handle_link_failed(peer, batch.stamp),
            (Next::Receipts(notes), Ok(MessageAnswer::Noted)) => {
                desk.inbox.handle_noted(peer, notes);
            }
            (Next::Room, Ok(MessageAnswer::Noted)) => desk.inbox.handle_room_told(&peer),
            (Next::Receipts(_) | Next::Room, _) => {}
        });
        // Nobody is told of it: the next turn is written after it.
        drop(settled.await?);
        match (next, answered?) {
            (Next::Batch(_), MessageAnswer::Delivered { .. } | MessageAnswer::Refused(_))
            | (Next::Receipts(_) | Next::Room, MessageAnswer::Noted) => Ok(true),
            (Next::Batch(_), MessageAnswer::Noted)
            | (Next::Receipts(_) | Next::Room, MessageAnswer::Delivered { .. })
            | (Next::Receipts(_) | Next::Room, MessageAnswer::Refused(_)) => {
                Err(ExchangeError::Confused)
            }
        }
    }

    /// What is next. That a batch is about to be sent is on disk then: if this
    /// node dies, it knows that the peer may have it.
    async fn next(&self, peer: NodeId) -> Result<Option<Next>, ExchangeError> {
        {
            let desk = self.desk();
            let notes = desk.inbox.next_receipts(&peer);
            if !notes.is_empty() {
                return Ok(Some(Next::Receipts(notes)));
            }
            if desk.inbox.owes_room(&peer) {
                return Ok(Some(Next::Room));
            }
            if !desk.outbox.has_owed(&peer) {
                return Ok(None);
            }
        }
        let (batch, turn) = self.begin(|desk, _, now| desk.outbox.next_batch(&peer, now)).await?;
        let written = turn.done().await;
        if let (Err(_), Some(batch)) = (&written, &batch) {
            self.desk().outbox.handle_link_failed(peer, batch.stamp);
        }
        written?;
        Ok(batch.map(Next::Batch))
    }

    async fn exchange(
        &self,
        peer: NodeId,
        session: &Session,
        next: &Next,
    ) -> Result<MessageAnswer, ExchangeError> {
        let now = clock::now();
        let request = match next {
            Next::Batch(batch) => {
                self.data.give_way();
                MessageRequest::Deliver(self.with_texts(batch, now)?)
            }
            Next::Receipts(notes) => {
                let receipts = notes.iter().map(|(id, note)| note.into_receipt(*id, now));
                MessageRequest::Receipts(receipts.collect())
            }
            Next::Room => MessageRequest::Room,
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let opened = tokio::time::timeout_at(deadline, session.open(Service::Messages)).await;
        let mut stream = opened.map_err(|_elapsed| ExchangeError::Silent)??;
        let exchange = async {
            stream.send(&request, MAX_MESSAGE_FRAME).await?;
            stream.finish()?;
            stream.expect(MAX_MESSAGE_ANSWER).await
        };
        let answered = tokio::time::timeout_at(deadline, exchange).await;
        if !matches!(answered, Ok(Ok(_))) {
            // Its bytes are given up as well: on a slow line they would be in the
            // way of what comes next.
            stream.refuse(close::GOODBYE);
        }
        let answer = match answered.map_err(|_elapsed| ExchangeError::Silent)? {
            // A peer of an older version took nothing, and is not asked in a loop.
            Err(FramedError::Stopped { code: close::UNKNOWN_SERVICE }) => {
                MessageAnswer::Refused(MessageRefusal::Invalid)
            }
            answered => answered?,
        };
        tracing::trace!(peer = %peer.short(), ?answer, "messages exchanged");
        Ok(answer)
    }

    fn with_texts(&self, batch: &Batch, now: Timestamp) -> Result<Deliver, ExchangeError> {
        let Batch { epoch, stamp, messages } = batch;
        let mut letters = Vec::with_capacity(messages.len());
        for (seq, id) in messages {
            let found = self.store.read(|connection| messages::text(connection, *id))?;
            let (text, created) = found.ok_or(ExchangeError::NoText(*id))?;
            let text = Text::fitting(text).ok_or(ExchangeError::NoText(*id))?;
            let age_ms = u64::try_from(now.since(created).as_millis()).unwrap_or(u64::MAX);
            letters.push(Letter { seq: *seq, id: *id, age_ms, text });
        }
        Ok(Deliver { epoch: *epoch, stamp: *stamp, messages: letters })
    }
}
