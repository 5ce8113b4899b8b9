//! Which receipts of tasks the rendezvous is to count.
//!
//! The worker puts what it has worked on. The submitter puts only what a
//! worker could keep to itself: that it failed, or let the time pass.

use pilot_identity::{NodeKey, Outcome, Receipt};
use pilot_proto::registry::PutReceipt;
use pilot_store::Batch;
use pilot_tasks::{ReceivedPhase, ReceivedTask, SubmittedPhase, SubmittedTask};
use zeroize::Zeroizing;

use crate::store::receipts::{self, Owed, Role};

/// Adds what is owed to the rendezvous to the commit of the record it is in.
pub(super) struct Owing {
    /// Under which kinds of work are hashed, so that the rendezvous cannot
    /// try descriptions until one fits.
    secret: Zeroizing<[u8; 32]>,
}

impl Owing {
    pub(super) fn new(key: &NodeKey) -> Self {
        Self { secret: key.derive_secret("pilot/1 kind of work") }
    }

    /// Whether the record of a task that this node worked on has one.
    pub(super) fn received(&self, batch: &mut Batch, task: &ReceivedTask) -> bool {
        let ReceivedPhase::Closed { receipt, .. } = &task.phase else { return false };
        let counts = is_worth_something(receipt.assume_verified());
        if counts {
            let kind = self.kind(&task.terms.summary);
            let put = PutReceipt { receipt: receipt.as_ref().clone(), kind };
            let (id, attempt) = (task.terms.id, task.terms.attempt);
            receipts::put(batch, Owed { id, attempt, role: Role::Worker, put });
        }
        counts
    }

    /// Whether the record of a task that this node submitted has one.
    pub(super) fn submitted(&self, batch: &mut Batch, task: &SubmittedTask) -> bool {
        // Of one that is tried again it is the attempt before that has just ended.
        let (attempt, delivery) = match (&task.phase, task.extras.past.last()) {
            (SubmittedPhase::Held { .. }, Some(past)) => (past.attempt, past.delivery.as_ref()),
            _ => (task.terms.attempt, task.delivery()),
        };
        let Some(delivery) = delivery else { return false };
        let receipt = delivery.receipt.assume_verified();
        let counts = receipt.outcome != Outcome::Succeeded && is_worth_something(receipt);
        if counts {
            let put = PutReceipt { receipt: delivery.receipt.as_ref().clone(), kind: 0 };
            let id = task.terms.id;
            receipts::put(batch, Owed { id, attempt, role: Role::Submitter, put });
        }
        counts
    }

    /// The same number for tasks whose first lines differ in digits alone:
    /// `build #17` and `build #18` take about as long.
    fn kind(&self, summary: &str) -> u64 {
        let line = summary.lines().next().unwrap_or_default();
        let words: String = line.chars().filter(|letter| !letter.is_numeric()).collect();
        let hash = blake3::keyed_hash(&self.secret, words.as_bytes());
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// Whether the rendezvous would count it: somebody worked on it, or said so.
fn is_worth_something(receipt: &Receipt) -> bool {
    match receipt.outcome {
        Outcome::Succeeded | Outcome::Failed => true,
        Outcome::Declined | Outcome::Expired => receipt.times.accepted.is_some(),
        Outcome::Cancelled => false,
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::{Digest, ReceiptTimes, Timestamp};

    use super::*;

    fn owing(seed: u8) -> Owing {
        Owing::new(&NodeKey::from_seed(&Zeroizing::new([seed; 32])))
    }

    #[test]
    fn what_was_accepted_and_then_declined_or_left_is_put() {
        let ended = |outcome, accepted: bool| {
            let id = |seed| NodeKey::from_seed(&Zeroizing::new([seed; 32])).id();
            let accepted = accepted.then(Timestamp::default);
            is_worth_something(&Receipt {
                task: pilot_proto::TaskId::from_bytes([0; 16]).uuid(),
                attempt: 1,
                submitter: id(1),
                worker: id(2),
                outcome,
                digest: Digest::of(b""),
                times: ReceiptTimes { accepted, ..ReceiptTimes::default() },
            })
        };

        for outcome in [Outcome::Declined, Outcome::Expired] {
            assert!(ended(outcome, true) && !ended(outcome, false), "{outcome:?}");
        }
        assert!(ended(Outcome::Succeeded, true) && ended(Outcome::Failed, true));
        assert!(!ended(Outcome::Cancelled, true));
    }

    #[test]
    fn tasks_are_alike_if_their_first_lines_differ_in_digits_alone() {
        let kind = |summary: &str| owing(1).kind(summary);

        assert_eq!(kind("build #17 of 4"), kind("build #2048 of 9\nwith tests"));
        assert_ne!(kind("build #17"), kind("test #17"));
        assert_eq!(kind(""), kind("12\nx"));
    }

    #[test]
    fn a_kind_says_nothing_to_who_has_another_key() {
        assert_ne!(owing(1).kind("build"), owing(2).kind("build"));
    }
}
