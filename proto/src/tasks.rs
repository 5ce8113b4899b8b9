//! The tasks service: what submitter and worker say to each other.
//!
//! An exchange opens a stream and sends one or more [`TaskRequest`] frames,
//! each of at most [`MAX_TASK_FRAME`] bytes; the receiver answers each, in
//! order, with a [`TaskAnswer`] frame of at most [`MAX_ANSWER_FRAME`] bytes
//! once what it promises is on disk. Every request may be sent again after
//! any loss: handlers are idempotent on (submitter's key, id, attempt).

mod bodies;

use bytes::Bytes;
use pilot_identity::{Countersigned, Outcome, SignedPass, SignedReceipt};
use serde::{Deserialize, Serialize};

use crate::text::Text;
use crate::{TaskId, TransferId};

pub use bodies::{
    BodyError, ContentError, InlineFile, InputRef, MAX_EXCLUSIVE, MAX_INPUTS, MAX_PASS, ResultBody,
    ResultExtras, TaskBody, TaskExtras,
};

/// Bytes of a task's description.
pub const MAX_DESCRIPTION: usize = 1024 * 1024;
/// Parameters of a task.
pub const MAX_PARAMS: usize = 1000;
/// Bytes of a task's or a result's content that travel inside the message.
pub const MAX_INLINE: usize = 16 * 1024 * 1024;
/// Files in a task or a result.
pub const MAX_FILES: usize = 1000;
/// Bytes of the name of a file in a task or a result.
pub const MAX_FILE_NAME: usize = 255;
/// Bytes of a note, a reason or an error message.
pub const MAX_NOTE: usize = 4096;
/// Bytes of a piece of what a task's command wrote.
pub const MAX_LOG_PIECE: usize = 64 * 1024;
/// Bytes that an attempt may have written before a piece: more than any writes,
/// and far from the end of the numbers.
pub const MAX_LOG_OFFSET: u64 = 1 << 60;
/// Bytes of a [`TaskRequest`] frame: the inline content and some room for
/// the names and lengths around it.
pub const MAX_TASK_FRAME: usize = MAX_INLINE + 1024 * 1024;
/// Bytes of a [`TaskAnswer`] frame.
pub const MAX_ANSWER_FRAME: usize = 8 * 1024;
/// Requests in one exchange.
pub const MAX_REQUESTS: usize = 256;

/// From submitter to worker, or from worker to submitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskRequest {
    /// Submitter: please do this.
    Offer(Offer),
    /// Submitter: do not do it, or stop doing it.
    Cancel(Cancel),
    /// Worker: this is how far it is.
    Update(Update),
    /// Worker: it has ended, and this is the result.
    Result(TaskResult),
    /// Submitter: how much do you have to do?
    Ask,
    /// Worker of a later task, or the submitter: give me the result of this one.
    /// The last request of its exchange; the answer has up to [`MAX_TASK_FRAME`] bytes.
    Fetch(Fetch),
    /// Worker: this is what its command wrote.
    Logs(Logs),
}

/// The answer to each [`TaskRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskAnswer {
    /// The offer is safe in the worker's queue.
    Offered,
    /// The cancellation is on the worker's disk; a result will say how it ended.
    Cancelling,
    /// The update was noted, or was older than what is known.
    Updated,
    /// The result is on the submitter's disk: the worker may forget it.
    Receipt(Box<Countersigned>),
    /// Not done.
    Refused(TaskRefusal),
    /// How much the worker has to do.
    Load(Load),
    /// The result that was asked for.
    Passed(Box<Passed>),
    /// What the command wrote was noted, or was known.
    Logged {
        /// How many bytes of this attempt the submitter knows to have been
        /// written. A worker that has forgotten goes on from here.
        end: u64,
    },
}

/// How much a worker has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Worker processes: those that wait for a task and those that have one.
    pub hands: u32,
    /// Tasks of all submitters that are not over.
    pub tasks: u32,
}

/// See [`TaskRequest::Fetch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Of which task.
    pub task: TaskId,
    /// Of which attempt at it.
    pub attempt: u32,
    /// The submitter's permission; none is needed by the submitter itself, and
    /// by the worker of a task that has this one's result as its input.
    pub pass: Option<SignedPass>,
    /// For which task.
    pub for_task: Option<TaskId>,
}

/// See [`TaskAnswer::Passed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The encoded [`ResultBody`], whose digest is in the receipt.
    pub body: Bytes,
    /// Its files, if they are on their way on a transfer.
    pub attached: Option<Attached>,
}

/// A task as its submitter offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its id.
    pub id: TaskId,
    /// From 1; grows with each retry the submitter asked for.
    pub attempt: u32,
    /// Higher is accepted first; 0 is usual.
    pub priority: i16,
    /// Time left until the deadline, in milliseconds, when it was sent.
    pub deadline_ms: Option<u64>,
    /// Time left to be accepted.
    pub queue_timeout_ms: Option<u64>,
    /// How long it may run once accepted.
    pub run_timeout_ms: Option<u64>,
    /// A [`TaskBody`], as [`TaskBody::encode`] gives it.
    pub body: Bytes,
}

/// Files that came ahead of a task or a result, on a transfer of the data
/// service ([`crate::data`]). The message that names them is sent only once all
/// of them are in its receiver's inbox, so whoever has it has them, too.
///
/// The digest in the receipt is of the body that this stands in: the files are
/// signed for with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The transfer, from the node that sends this message to the one that gets it.
    pub transfer: TransferId,
    /// The BLAKE3 hash of the transfer's manifest.
    pub manifest_hash: [u8; 32],
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// See [`TaskRequest::Cancel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Of which task.
    pub id: TaskId,
    /// Of which attempt.
    pub attempt: u32,
    /// How long a running worker may take to stop.
    pub grace_ms: u64,
    /// Why.
    pub reason: Text<MAX_NOTE>,
}

/// See [`TaskRequest::Update`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Of which task.
    pub id: TaskId,
    /// Of which attempt.
    pub attempt: u32,
    /// Grows with every update of an attempt; an older one changes nothing.
    pub revision: u64,
    /// How far it is.
    pub state: WorkState,
    /// 0 to 100, if the worker said so.
    pub percent: Option<u8>,
    /// What the worker said of it.
    pub note: Text<MAX_NOTE>,
    /// How long ago it was accepted, by the worker's clock.
    pub accepted_ms_ago: Option<u64>,
}

/// The states of a live task that only its worker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkState {
    /// It went back to the queue.
    Queued,
    /// A worker took it.
    Accepted,
    /// The worker said that it is at work.
    Running,
}

/// See [`TaskRequest::Logs`]. Sent once or, after a loss, again; what is not
/// kept any more is left out, which the offsets show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Of which task.
    pub id: TaskId,
    /// Of which attempt.
    pub attempt: u32,
    /// How many bytes that attempt had written before; at most [`MAX_LOG_OFFSET`].
    pub offset: u64,
    /// What it wrote then, at most [`MAX_LOG_PIECE`]; nothing asks how much the
    /// submitter knows of.
    pub bytes: Bytes,
}

/// See [`TaskRequest::Result`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Of which task.
    pub id: TaskId,
    /// Of which attempt.
    pub attempt: u32,
    /// How it ended; the same as in the receipt.
    pub outcome: Outcome,
    /// A [`ResultBody`], as [`ResultBody::encode`] gives it; the receipt's digest is
    /// of these bytes.
    pub body: Bytes,
    /// The worker's signed statement.
    pub receipt: SignedReceipt,
}

/// Why a request is not done. None of them is retried by itself, save
/// [`TaskRefusal::QueueFull`], [`TaskRefusal::DiskFull`] and
/// [`TaskRefusal::Internal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskRefusal {
    /// The sender may not submit tasks here.
    NotAllowed,
    /// No such task between these two nodes.
    Unknown,
    /// The worker's queue is full; try later.
    QueueFull,
    /// The receiver's disk is full; try later.
    DiskFull,
    /// The content breaks a rule, or names files that are not there.
    Invalid,
    /// The result is of an attempt that is no longer wanted.
    Superseded,
    /// The receiver failed, or has not got all of its files yet; try later.
    Internal,
    /// The results that are its input are on their way, or cannot be had now; try later.
    Inputs,
    /// The results that are its input are no longer to be had.
    NoInputs,
}
