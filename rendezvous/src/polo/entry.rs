//! What is durable of polo, one row each.

use pilot_identity::{NodeId, Outcome, Receipt, Timestamp};
use pilot_proto::registry::PoloCounts;
use uuid::Uuid;

/// Who gave the work, and who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Both {
    /// Who did it: first, so that the pairs of a worker are neighbours.
    pub worker: NodeId,
    /// Who gave it.
    pub submitter: NodeId,
}

impl Both {
    /// The two that a receipt names.
    #[must_use]
    pub const fn of(receipt: &Receipt) -> Self {
        Self { worker: receipt.worker, submitter: receipt.submitter }
    }
}

/// All that counts of the receipts of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// How many there were, ever; each stays at the most that its type holds.
    pub counts: PoloCounts,
    /// The sum of their values, faded as of `at`.
    pub sum: f64,
    /// When the sum was touched last.
    pub at: Timestamp,
    /// The promptness of those that succeeded, added up.
    pub promptness: f64,
    /// When the newest ended.
    pub newest: Timestamp,
    /// What ended then or before is not counted any more.
    pub floor: Timestamp,
}

/// A receipt that has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// When its task ended: first, since the oldest goes first.
    pub finished: Timestamp,
    /// The task.
    pub task: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// Whether it was counted as a success, of which a task has one.
    pub succeeded: bool,
}

impl Counted {
    /// What is remembered of `receipt`.
    #[must_use]
    pub const fn of(receipt: &Receipt) -> Self {
        let Receipt { task, attempt, times, outcome, .. } = receipt;
        let succeeded = matches!(outcome, Outcome::Succeeded);
        Self { finished: times.finished, task: *task, attempt: *attempt, succeeded }
    }
}

/// A change of what is durable. The same entries in the same order make the
/// same book.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The totals of a pair are these.
    Totals(Both, Totals),
    /// A receipt has been counted.
    Counted(Both, Counted),
    /// Nothing is remembered of receipts of this pair up to this time.
    Forgotten(Both, Timestamp),
    /// The receipts of a pair on a day; days before the last ninety go.
    Day(Both, u32, PoloCounts),
    /// How long a kind of work usually takes a worker: the logarithm of
    /// milliseconds, and when that was used last.
    Kind(NodeId, u64, f64, Timestamp),
    /// Nothing is known of a kind any more.
    KindForgotten(NodeId, u64),
    /// Nothing is known of a pair any more; of its worker neither, if that was the last.
    PairForgotten(Both),
}
