//! The life of a message: the sender's half and the receiver's half.
//!
//! Two pure machines, [`Outbox`] and [`Inbox`], each with the doors `handle_*`,
//! `handle_timeout`, `next_deadline` and `poll_output` as far as they need them.
//! What people ask for (`submit`, `read`, `ack`) are inputs that answer at once.
//! Texts are never held here, only their lengths: the shell keeps them beside the
//! records and attaches them when it sends.
//!
//! # What the shell owes the machines
//!
//! 1. After every input, drain `poll_output` and execute the outputs in order.
//!    What is to be written of one drain is one commit, with the texts that came
//!    with the input. Nobody is told what the input answered, and nothing of
//!    [`Outbox::next_batch`] is sent, before that commit is on disk. Commits happen
//!    in the order of their drains.
//! 2. What [`Inbox::handle_deliver`] takes is shown to nobody before its commit is
//!    on disk; then say so by [`Inbox::handle_persisted`].
//! 3. Every batch, and every [`Inbox::next_receipts`], comes back exactly once: by
//!    its answer or by `handle_link_failed`.
//! 4. At start, `restore` everything that is live. An [`Outbox`] is given a first
//!    stamp that is higher than any of an earlier run of its epoch.
//! 5. When a commit fails, throw both machines away and restore new ones.

mod inbox;
mod lane;
mod limits;
mod outbox;
mod outgoing;
mod receipts;
mod state;
mod verdict;

pub use inbox::{Filter, Inbox, InboxOutput, Kept};
pub use limits::{InboxLimits, OutboxLimits};
pub use outbox::{MAX_TIME_TO_LIVE, Outbox, OutboxOutput, SubmitError};
pub use outgoing::{Batch, NewMessage, Waiting};
pub use receipts::{MAX_RECEIPTS_KEPT, MAX_RECEIPTS_KEPT_PER_PEER, Note};
pub use state::{MessageState, MessageStateError, Times, Trouble};
pub use verdict::{Taken, Verdict};
