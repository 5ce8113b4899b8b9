//! Requests ready for the wire, save for their bodies.

use bytes::Bytes;
use pilot_identity::{Outcome, SignedReceipt};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Cancel, Offer, TaskRequest, TaskResult, Update};

/// A [`TaskRequest`] to which the shell attaches the body it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Names this request when its answer comes or its link fails.
    pub key: OutgoingKey,
    /// Bytes of the body that belongs to it; 0 if it has none.
    pub body_len: u64,
    message: Message,
}

/// Names a request that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutgoingKey {
    /// About which task.
    pub id: TaskId,
    /// About which attempt.
    pub attempt: u32,
    /// What it asks.
    pub kind: OutgoingKind,
    /// The revision of the record from which it was made.
    pub revision: u64,
}

/// The kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutgoingKind {
    /// The submitter's offer. Needs the task's body.
    Offer,
    /// The submitter's cancellation.
    Cancel,
    /// The worker's word on how far it is.
    Update,
    /// The worker's result. Needs the result's body.
    Result,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// With an empty body.
    Offer(Offer),
    Cancel(Cancel),
    Update(Update),
    Result {
        outcome: Outcome,
        receipt: Box<SignedReceipt>,
    },
}

/// Counted for the fields of a request beside its body and its free text.
const REQUEST_OVERHEAD: u64 = 512;

impl Outgoing {
    pub(crate) fn new(key: OutgoingKey, body_len: u64, message: Message) -> Self {
        Self { key, body_len, message }
    }

    /// About how many bytes it takes on the wire, body included; never too few.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let text = match &self.message {
            Message::Offer(_) | Message::Result { .. } => 0,
            Message::Cancel(cancel) => cancel.reason.as_str().len(),
            Message::Update(update) => update.note.as_str().len(),
        };
        let text = u64::try_from(text).unwrap_or(u64::MAX);
        REQUEST_OVERHEAD.saturating_add(self.body_len).saturating_add(text)
    }

    /// The request for the wire. `body` is the encoded
    /// [`TaskBody`](pilot_proto::tasks::TaskBody) of an offer or
    /// [`ResultBody`](pilot_proto::tasks::ResultBody) of a result, as it was
    /// when its digest was taken; other kinds leave it aside.
    #[must_use]
    pub fn into_request(self, body: Bytes) -> TaskRequest {
        match self.message {
            Message::Offer(offer) => TaskRequest::Offer(Offer { body, ..offer }),
            Message::Cancel(cancel) => TaskRequest::Cancel(cancel),
            Message::Update(update) => TaskRequest::Update(update),
            Message::Result { outcome, receipt } => {
                let OutgoingKey { id, attempt, .. } = self.key;
                TaskRequest::Result(TaskResult { id, attempt, outcome, body, receipt: *receipt })
            }
        }
    }
}
