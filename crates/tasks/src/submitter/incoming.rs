//! What the worker says.

use pilot_identity::{Digest, NodeId, Timestamp};
use pilot_proto::tasks::{MAX_NOTE, TaskAnswer, TaskRefusal, TaskResult, Update, WorkState};
use pilot_proto::text::Text;

use super::Submitter;
use crate::submitted::{Delivery, Ending, SubmittedPhase, SubmittedTask};

/// What the shell found in the body of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFacts {
    /// The digest of the encoded body, as received.
    pub digest: Digest,
    /// Bytes of the encoded body.
    pub len: u64,
    /// The reason in it.
    pub reason: String,
    /// Whether the files that it names are here, or how it is refused for them.
    /// Of a result that was stored before it does not matter.
    pub files: Result<(), TaskRefusal>,
}

/// What to answer to a result, once this drain's commit is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultVerdict {
    /// The answer.
    pub answer: TaskAnswer,
    /// Whether the body has to be stored, in the same commit.
    pub keep_body: bool,
}

impl Submitter {
    /// The worker says how far a task is. The answer may be sent once this
    /// drain's commit is on disk.
    pub fn handle_update(&mut self, peer: NodeId, update: &Update, now: Timestamp) -> TaskAnswer {
        let answer = self.hear(peer, update, now);
        self.sweep(&update.id);
        answer
    }

    fn hear(&mut self, peer: NodeId, update: &Update, now: Timestamp) -> TaskAnswer {
        let Some(task) = self.shelf.get_mut(&update.id).filter(|task| task.is_offered_to(&peer))
        else {
            return TaskAnswer::Refused(TaskRefusal::Unknown);
        };
        if task.terms.attempt != update.attempt {
            return TaskAnswer::Refused(TaskRefusal::Superseded);
        }
        if task.ending().is_none() && update.revision > task.heard {
            task.hear(update, now);
            self.commit(&update.id);
            self.schedule(&update.id);
        } else {
            self.promise_again(&update.id);
        }
        TaskAnswer::Updated
    }

    /// The worker's result. `facts` are of `result.body`.
    ///
    /// A result that was stored before gets the same receipt again. One for a
    /// task that has already ended here is stored and confirmed, and changes
    /// nothing else.
    pub fn handle_result(
        &mut self,
        peer: NodeId,
        result: &TaskResult,
        facts: &ResultFacts,
        now: Timestamp,
    ) -> ResultVerdict {
        let id = result.id;
        let verdict = self.receive(peer, result, facts, now);
        if verdict.keep_body {
            self.commit(&id);
            self.schedule(&id);
        } else if matches!(verdict.answer, TaskAnswer::Receipt(_)) {
            self.promise_again(&id);
        }
        self.sweep(&id);
        verdict
    }

    fn receive(
        &mut self,
        peer: NodeId,
        result: &TaskResult,
        facts: &ResultFacts,
        now: Timestamp,
    ) -> ResultVerdict {
        let us = self.key.id();
        let Some(task) = self.shelf.get_mut(&result.id).filter(|task| task.is_offered_to(&peer))
        else {
            return refused(TaskRefusal::Unknown);
        };
        if task.terms.attempt != result.attempt {
            return refused(TaskRefusal::Superseded);
        }
        if let Some(stored) = task.delivery() {
            let same = stored.digest == facts.digest && stored.outcome == result.outcome;
            return if same {
                ResultVerdict {
                    answer: TaskAnswer::Receipt(stored.receipt.clone()),
                    keep_body: false,
                }
            } else {
                refused(TaskRefusal::Superseded)
            };
        }
        if !is_about(task, us, result, facts) {
            return refused(TaskRefusal::Invalid);
        }
        if let Err(refusal) = facts.files {
            return refused(refusal);
        }
        let receipt = Box::new(result.receipt.clone().countersign(&self.key));
        let delivery = Delivery {
            outcome: result.outcome,
            at: now,
            digest: facts.digest,
            len: facts.len,
            receipt: receipt.clone(),
        };
        task.deliver(delivery, &facts.reason, now);
        ResultVerdict { answer: TaskAnswer::Receipt(receipt), keep_body: true }
    }
}

const fn refused(refusal: TaskRefusal) -> ResultVerdict {
    ResultVerdict { answer: TaskAnswer::Refused(refusal), keep_body: false }
}

/// Whether the worker signed just this result of just this task for us.
fn is_about(task: &SubmittedTask, us: NodeId, result: &TaskResult, facts: &ResultFacts) -> bool {
    result.receipt.verify().is_ok_and(|receipt| {
        receipt.task == task.terms.id.uuid()
            && receipt.attempt == task.terms.attempt
            && receipt.submitter == us
            && receipt.worker == task.peer
            && receipt.outcome == result.outcome
            && receipt.digest == facts.digest
    })
}

impl SubmittedTask {
    /// Whether the peer can have heard of it: not while its files are on their
    /// way, though their transfer names it.
    fn is_offered_to(&self, peer: &NodeId) -> bool {
        self.peer == *peer && self.awaits_files().is_none()
    }

    /// Takes over an update that is newer than all before it.
    fn hear(&mut self, update: &Update, now: Timestamp) {
        self.heard = update.revision;
        self.percent = update.percent.map(|percent| percent.min(100));
        self.note = update.note.as_str().to_owned();
        let accepted = self.accepted_at(update, now);
        match (update.state, &self.phase) {
            (_, SubmittedPhase::Ended(_))
            | (WorkState::Queued, SubmittedPhase::Delivered { .. })
            | (WorkState::Accepted, SubmittedPhase::Accepted { .. })
            | (WorkState::Accepted | WorkState::Running, SubmittedPhase::Running { .. }) => {}
            (
                WorkState::Queued,
                SubmittedPhase::Queued { .. }
                | SubmittedPhase::Accepted { .. }
                | SubmittedPhase::Running { .. },
            ) => self.enter(SubmittedPhase::Delivered { at: now }, now, "in the worker's queue"),
            (
                WorkState::Accepted,
                SubmittedPhase::Queued { .. } | SubmittedPhase::Delivered { .. },
            ) => self.enter(SubmittedPhase::Accepted { at: accepted }, now, "a worker took it"),
            (
                WorkState::Running,
                SubmittedPhase::Queued { .. }
                | SubmittedPhase::Delivered { .. }
                | SubmittedPhase::Accepted { .. },
            ) => self.enter(SubmittedPhase::Running { accepted }, now, "a worker is at it"),
        }
    }

    /// When it was accepted, by our clock and not before it was submitted.
    fn accepted_at(&self, update: &Update, now: Timestamp) -> Timestamp {
        let ago = update.accepted_ms_ago.unwrap_or_default();
        Timestamp::from_millis(now.as_millis().saturating_sub(ago)).max(self.created)
    }

    /// Keeps the worker's result, and ends by it if it has not ended before.
    fn deliver(&mut self, delivery: Delivery, reason: &str, now: Timestamp) {
        let outcome = delivery.outcome;
        if let SubmittedPhase::Ended(ending) = &mut self.phase {
            ending.delivery = Some(delivery);
        } else {
            let reason = Text::<MAX_NOTE>::clipped(reason).into_string();
            let cause =
                if reason.is_empty() { "the worker's result".to_owned() } else { reason.clone() };
            self.end(Ending { outcome, at: now, reason, delivery: Some(delivery) }, &cause);
        }
        if self.has_late_result() {
            self.history.note(now, self.state(), "the worker's result came late");
        }
        // Whoever has sent a result has nothing left to stop.
        if let Some(cancel) = &mut self.cancel {
            cancel.owed = false;
        }
    }
}
