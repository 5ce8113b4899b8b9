//! What the local API asks about messages of this node.

use std::time::{Duration, Instant};

use pilot_identity::{Digest, NodeId};
use pilot_messages::{MAX_TIME_TO_LIVE, MessageState, NewMessage, SubmitError, Trouble};
use pilot_proto::MessageId;
use pilot_proto::text::Text;
use pilot_store::{CommitError, ReadError};

use super::MessagesService;
use crate::services::ledger::Turn;
use crate::store::messages::{self, NewRow, SentRow};

/// Bytes of the text that are shown of a message of this node.
const PREVIEW: usize = 200;

/// A message to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) id: MessageId,
    pub(crate) to: NodeId,
    /// Of 1 to `MAX_MESSAGE_TEXT` bytes.
    pub(crate) text: String,
    /// How long it may take to be delivered; at most `MAX_TIME_TO_LIVE`.
    pub(crate) time_to_live: Duration,
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("too much waits to be delivered: {0}")]
    Full(#[source] SubmitError),
    #[error("there is another message {0}")]
    Conflict(MessageId),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("messages cannot be read")]
    Read(#[from] ReadError),
}

/// How many messages are where.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Of this node, not delivered yet.
    pub(crate) queued: u64,
    /// To this node, read by nobody yet.
    pub(crate) unread: u64,
    /// To this node, not acknowledged yet.
    pub(crate) unacked: u64,
}

impl MessagesService {
    /// Takes messages, in this order; each that was taken is on disk when this
    /// returns. One that was taken before, under its id, is as it is by now.
    pub(crate) async fn send(&self, all: Vec<Outgoing>) -> Vec<Result<SentRow, SendError>> {
        let mut entered = Vec::with_capacity(all.len());
        for one in all {
            let expected = (one.id, one.to, *Digest::of(one.text.as_bytes()).as_bytes());
            entered.push((expected, self.enter(one).await));
        }
        let mut rows = Vec::with_capacity(entered.len());
        for ((id, to, digest), turn) in entered {
            rows.push(match turn {
                Ok(turn) => self.entered(id, to, &digest, turn).await,
                Err(error) => Err(error),
            });
        }
        rows
    }

    async fn enter(&self, new: Outgoing) -> Result<Turn, SendError> {
        self.store.room_for_new_work()?;
        let Outgoing { id, to, text, time_to_live } = new;
        let (entered, turn) = self
            .begin(|desk, batch, now| {
                let known = self.store.read(|connection| messages::get(connection, id))?.is_some();
                // One that expired at once may not even have come to the disk yet.
                if known || desk.expiring.contains(&id) {
                    return Ok(());
                }
                let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
                let expires = now.saturating_add(time_to_live.min(MAX_TIME_TO_LIVE));
                let message = NewMessage { id, to, bytes, expires };
                let seq = match desk.outbox.submit(&message) {
                    Ok(seq) => seq,
                    Err(SubmitError::Known { .. }) => return Ok(()),
                    Err(error) => return Err(SendError::Full(error)),
                };
                let digest = *Digest::of(text.as_bytes()).as_bytes();
                let preview = Text::<PREVIEW>::clipped(&text).into_string();
                messages::put(batch, NewRow { message, seq, text, digest, preview, created: now });
                Ok(())
            })
            .await?;
        entered.map(|()| turn)
    }

    async fn entered(
        &self,
        id: MessageId,
        to: NodeId,
        digest: &[u8; 32],
        turn: Turn,
    ) -> Result<SentRow, SendError> {
        turn.done().await?;
        let row = self.sent(id)?.ok_or(SendError::Commit(CommitError::Closed))?;
        if row.to != to || row.digest != *digest {
            return Err(SendError::Conflict(id));
        }
        Ok(row)
    }

    /// A message of this node, as it is on disk.
    pub(crate) fn sent(&self, id: MessageId) -> Result<Option<SentRow>, ReadError> {
        self.store.read(|connection| messages::get(connection, id))
    }

    /// The same, once it has come to `until` or cannot come there any more, its
    /// peer does not take it, or `patience` is over.
    ///
    /// Cancel safe: looking changes nothing.
    pub(crate) async fn sent_until(
        &self,
        id: MessageId,
        until: MessageState,
        patience: Duration,
    ) -> Result<Option<SentRow>, ReadError> {
        let deadline = Instant::now() + patience;
        // Changes from here on are not missed.
        let mut watch = self.watchers.watch(id);
        loop {
            let mut refused = std::pin::pin!(self.refused.notified());
            refused.as_mut().enable();
            let Some(row) = self.sent(id)? else { return Ok(None) };
            let state = row.times.state();
            let over = state.has_reached(until)
                || state.is_terminal()
                || (state < MessageState::Delivered && self.is_not_taken(&row.to));
            if over {
                return Ok(Some(row));
            }
            tokio::select! {
                () = watch.changed() => {}
                () = refused => {}
                () = self.stop.cancelled() => return Ok(Some(row)),
                () = tokio::time::sleep_until(deadline.into()) => return Ok(Some(row)),
            }
        }
    }

    fn is_not_taken(&self, peer: &NodeId) -> bool {
        matches!(self.trouble(peer), Some(Trouble::InboxFull | Trouble::NotAllowed))
    }

    /// The newest messages of this node.
    pub(crate) async fn list_sent(
        &self,
        state: Option<MessageState>,
        peer: Option<NodeId>,
        limit: usize,
    ) -> Result<Vec<SentRow>, ReadError> {
        self.store
            .read_blocking(move |connection| messages::list(connection, state, peer, limit))
            .await
    }

    /// Why messages to a peer wait, if it said so.
    pub(crate) fn trouble(&self, peer: &NodeId) -> Option<Trouble> {
        self.desk().outbox.trouble(peer)
    }

    /// How many messages are where.
    pub(crate) fn counts(&self) -> Counts {
        let desk = self.desk();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Counts {
            queued: count(desk.outbox.len()),
            unread: count(desk.inbox.unread()),
            unacked: count(desk.inbox.len()),
        }
    }
}
