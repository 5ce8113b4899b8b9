//! The life of a task: the submitter's half and the worker's half.
//!
//! Two pure machines, [`Submitter`] and [`Worker`], each with four doors:
//! `handle_*(input, now)`, `handle_timeout(now)`, `next_deadline()` and
//! `poll_output()`. What people ask for (`submit`, `cancel`, `accept`,
//! `progress`, `finish`, `decline`, `put_back`) are inputs that answer at once.
//!
//! **Time** is a [`Timestamp`](pilot_identity::Timestamp) everywhere, the wall
//! clock: deadlines are kept in records and must mean the same after a restart
//! of the program or of the machine. Between nodes they travel as remaining
//! time, so the clocks of two machines need not agree.
//!
//! **Content** (descriptions, parameters, files, results) is never held here,
//! only its length and digest. The shell keeps the bytes beside the records
//! and attaches them when it sends ([`Outgoing::into_request`]). Files of any
//! size travel beside it, on transfers of the shell's: a task or a result with
//! [`Freight`] is not sent before `handle_files_arrived`.
//!
//! # What the shell owes the machines
//!
//! 1. After every input, drain `poll_output` and execute the outputs in order.
//!    All `Persist` of one drain are one commit, with the body that came with
//!    the input; nothing that stands after them in the drain is done, and no
//!    answer of the input is told to anyone, before that commit is on disk.
//!    Commits happen in the order of their drains.
//! 2. After the commit, call `handle_persisted(id, revision)` for each
//!    `Persist` of it, and drain again. Only then is anything sent about the
//!    task, and only then does a task that has ended leave the memory.
//! 3. Before an input about an id for which `knows(id)` is false, load the
//!    record from disk, if there is one, and `restore` it. At start, restore
//!    all records whose `is_settled` is false.
//! 4. Every request handed out by `Send` comes back exactly once, by
//!    `handle_answer` or by `handle_link_failed`.
//! 5. At start, and whenever a transfer has ended: for each task that
//!    `awaits_files`, look how the transfer ended, and say so by
//!    `handle_files_arrived` or `handle_files_failed`. A transfer begins before
//!    the input that names it, and one that no record came to name is cancelled.
//! 6. From `Bound` until `Unbound`, watch the process, and say by
//!    `handle_process_gone` that it is gone, also if it was before.
//! 7. When a commit fails, throw the machine away, with everything not yet
//!    told, and restore a new one from disk.

mod freight;
mod history;
mod outbox;
mod outgoing;
mod placement;
mod plan;
mod received;
mod shelf;
mod state;
mod submitted;
mod submitter;
mod terms;
mod worker;

pub use freight::Freight;
pub use history::{Change, History, MAX_CHANGES};
pub use outgoing::{Outgoing, OutgoingKey, OutgoingKind};
pub use pilot_proto::record::RecordError;
pub use placement::{Candidate, Choice, MAX_VERDICTS, Pool, Preference, Verdict, choose};
pub use plan::{
    Cycle, Dependency, MAX_AFTER, MAX_INPUTS, MAX_PAST, MAX_RETRIES, PastAttempt, Plan,
    SubmittedExtras, Wait, in_order,
};
pub use received::{
    CancelNotice, Hold, Process, ReceivedExtras, ReceivedPhase, ReceivedTask, WorkEnding,
};
pub use state::TaskState;
pub use submitted::{CancelRequest, Delivery, Ending, SubmittedPhase, SubmittedTask};
pub use submitter::{
    CancelError, Keep, MAX_LIVE_TASKS, Placing, ResultFacts, ResultVerdict, RetryError, Submission,
    SubmitError, Submitted, Submitter, SubmitterOutput, TrustLoss,
};
pub use terms::{MAX_SUMMARY, Terms, summary_of};
pub use worker::{
    DeclineError, FinishError, Finished, MAX_LOST, NotAtWork, OfferFacts, OfferVerdict, Work,
    WorkOutcome, Worker, WorkerLimits, WorkerOutput,
};
