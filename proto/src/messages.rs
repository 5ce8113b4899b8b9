//! The messages service: what two nodes say to each other about messages.
//!
//! An exchange opens a stream and sends one [`MessageRequest`] frame of at most
//! [`MAX_MESSAGE_FRAME`] bytes; the receiver answers with one [`MessageAnswer`]
//! frame of at most [`MAX_MESSAGE_ANSWER`] bytes once what it promises is on disk.
//!
//! **Order.** The sender numbers its messages to a peer from 1, and the peer
//! keeps the highest number that it has of the sender's epoch: a message is
//! stored once and in its order, however often it is sent. An epoch is random and
//! as old as the sender's disk.
//!
//! **Stamps.** Of a sender's [`Deliver`]s each has a higher stamp than all before
//! it, also over restarts of the sender. The receiver remembers the highest while
//! it runs and refuses others as [`MessageRefusal::Stale`]. So the answer to a
//! [`Deliver`], also to one without messages, says for good which messages of
//! earlier ones have arrived: what is late on a broken connection comes too late.

use serde::{Deserialize, Serialize};

use crate::MessageId;
use crate::list;
use crate::text::Text;

/// Bytes of a message's text; one has at least 1.
pub const MAX_MESSAGE_TEXT: usize = 64 * 1024;
/// Messages in one [`Deliver`].
pub const MAX_BATCH: usize = 256;
/// Bytes of text in one [`Deliver`] of a well-behaved sender, which is one
/// message at least.
pub const MAX_BATCH_TEXT: usize = 256 * 1024;
/// Receipts in one [`MessageRequest::Receipts`].
pub const MAX_RECEIPTS: usize = 1024;
/// Bytes of a [`MessageRequest`] frame: the text of a batch, and room for what
/// stands around it.
pub const MAX_MESSAGE_FRAME: usize = MAX_BATCH_TEXT + 64 * 1024;
/// Bytes of a [`MessageAnswer`] frame.
pub const MAX_MESSAGE_ANSWER: usize = 64;

/// From one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageRequest {
    /// Sender: please keep these.
    Deliver(Deliver),
    /// Receiver: these were read, or done with.
    Receipts(#[serde(deserialize_with = "list::at_most::<MAX_RECEIPTS, _, _>")] Vec<Receipt>),
    /// Receiver: the inbox was full, and has room again.
    Room,
}

/// The answer to a [`MessageRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageAnswer {
    /// To [`Deliver`]: what is safe on the receiver's disk, now and from before.
    Delivered {
        /// The highest number that is there of this epoch; 0 if none.
        upto: u64,
        /// Why the messages after that one were not taken, if they were not.
        refusal: Option<MessageRefusal>,
    },
    /// To receipts and [`MessageRequest::Room`]: it is on disk.
    Noted,
    /// Not done, nothing changed.
    Refused(MessageRefusal),
}

/// Messages of one sender, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// Since when the sender counts.
    pub epoch: u64,
    /// Higher than that of each earlier one.
    pub stamp: u64,
    /// The messages, numbers ascending; none just asks how far the receiver is.
    #[serde(deserialize_with = "list::at_most::<MAX_BATCH, _, _>")]
    pub messages: Vec<Letter>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its number among the messages of this epoch to this peer, from 1. Numbers
    /// may be left out: a message that expired is never sent.
    pub seq: u64,
    /// Its id.
    pub id: MessageId,
    /// How long ago it was handed to the sender's node, in milliseconds.
    pub age_ms: u64,
    /// What it says.
    pub text: Text<MAX_MESSAGE_TEXT>,
}

/// What became of a message at its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of which one.
    pub id: MessageId,
    /// How long ago it was read, in milliseconds.
    pub read_ms_ago: u64,
    /// How long ago it was acknowledged, if it was.
    pub acked_ms_ago: Option<u64>,
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageRefusal {
    /// The sender may not send messages here.
    NotAllowed,
    /// The receiver's inbox is full, or has too many of this sender; it says
    /// [`MessageRequest::Room`] when that changes.
    InboxFull,
    /// The receiver's disk is full; try later.
    DiskFull,
    /// The request breaks a rule.
    Invalid,
    /// A later one came before it.
    Stale,
    /// The receiver failed; try later.
    Internal,
}

impl Deliver {
    /// Whether its numbers ascend from 1 and no text is empty.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let mut last = 0;
        self.messages.iter().all(|letter| {
            let ascends = letter.seq > last;
            last = letter.seq;
            ascends && !letter.text.as_str().is_empty()
        })
    }
}
