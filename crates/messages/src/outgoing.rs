//! Messages as they go into the outbox and come out of it.

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::MessageId;

/// A message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// To whom.
    pub to: NodeId,
    /// Bytes of its text.
    pub bytes: u32,
    /// When it is not worth anything any more.
    pub expires: Timestamp,
}

/// A message that was not delivered when the program stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// As it was submitted.
    pub message: NewMessage,
    /// Its number.
    pub seq: u64,
    /// Whether it was handed to a stream.
    pub sent: bool,
}

/// What goes to a peer next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// See [`Deliver::epoch`](pilot_proto::messages::Deliver::epoch).
    pub epoch: u64,
    /// See [`Deliver::stamp`](pilot_proto::messages::Deliver::stamp).
    pub stamp: u64,
    /// Numbers and ids of its messages; none just asks.
    pub messages: Vec<(u64, MessageId)>,
}
