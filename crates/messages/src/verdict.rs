//! What becomes of messages that a peer hands over.

use pilot_proto::messages::MessageAnswer;

/// A letter of a [`Deliver`](pilot_proto::messages::Deliver) that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Which of them.
    pub index: usize,
    /// See [`Kept::order`](crate::Kept).
    pub order: u64,
}

/// What is answered, and what is to be stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// To be given once everything is on disk.
    pub answer: MessageAnswer,
    /// In their order.
    pub taken: Vec<Taken>,
}
