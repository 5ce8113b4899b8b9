//! What the worker says.

use pilot_identity::{Digest, NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
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
    /// Whether the worker said that another attempt would fail, too.
    pub for_good: bool,
    /// Whether the content stays at the worker: the body is only about it.
    pub is_left: bool,
}

/// Where the body of a result is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As the result of the task.
    Result,
    /// As that of an attempt that is not the task's last.
    Attempt(u32),
}

/// What to answer to a result, once this drain's commit is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultVerdict {
    /// The answer.
    pub answer: TaskAnswer,
    /// Whether the body has to be stored, in the same commit, and where.
    pub keep: Option<Keep>,
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
        if verdict.keep.is_some() {
            self.commit(&id);
            self.go_on(&id, now);
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
        let is_its = |task: &&mut SubmittedTask| task.was_offered_to(&peer);
        let Some(task) = self.shelf.get_mut(&result.id).filter(is_its) else {
            return refused(TaskRefusal::Unknown);
        };
        if task.terms.attempt == result.attempt && task.is_held() {
            // Nobody was asked yet.
            return refused(TaskRefusal::Superseded);
        }
        let is_old = task.terms.attempt != result.attempt;
        let stored = match task.extras.past.iter().find(|past| past.attempt == result.attempt) {
            // Each attempt is its own worker's, and no other's of the same task.
            Some(past) if past.peer != peer => return refused(TaskRefusal::Superseded),
            Some(past) => past.delivery.as_ref(),
            None if is_old || task.peer != peer => return refused(TaskRefusal::Superseded),
            None => task.delivery(),
        };
        if let Some(stored) = stored {
            let same = stored.receipt.is_of(&result.receipt) && stored.outcome == result.outcome;
            return if same {
                ResultVerdict { answer: TaskAnswer::Receipt(stored.receipt.clone()), keep: None }
            } else {
                refused(TaskRefusal::Superseded)
            };
        }
        let Some(digest) = about(task, us, peer, result, facts) else {
            return refused(TaskRefusal::Invalid);
        };
        if let Err(refusal) = facts.files {
            return refused(refusal);
        }
        let receipt = Box::new(result.receipt.clone().countersign(&self.key));
        let delivery = Delivery {
            outcome: result.outcome,
            at: now,
            digest,
            len: facts.len,
            receipt: receipt.clone(),
        };
        let attempt = result.attempt;
        if is_old {
            task.deliver_late(attempt, delivery, now);
        } else {
            task.deliver(delivery, facts, now);
        }
        let keep =
            if task.terms.attempt == attempt { Keep::Result } else { Keep::Attempt(attempt) };
        ResultVerdict { answer: TaskAnswer::Receipt(receipt), keep: Some(keep) }
    }

    /// Begins the next attempt if there is to be one.
    pub(super) fn go_on(&mut self, id: &TaskId, now: Timestamp) {
        if self.shelf.get(id).is_some_and(SubmittedTask::is_held) {
            self.forget_handed(id);
            self.advance(id, now);
        }
    }
}

const fn refused(refusal: TaskRefusal) -> ResultVerdict {
    ResultVerdict { answer: TaskAnswer::Refused(refusal), keep: None }
}

/// The digest of the result, if the worker signed just this result of just
/// this task for us. Of one that stays there we have its word alone.
fn about(
    task: &SubmittedTask,
    us: NodeId,
    peer: NodeId,
    result: &TaskResult,
    facts: &ResultFacts,
) -> Option<Digest> {
    let receipt = result.receipt.verify().ok()?;
    let may_stay = task.extras.plan.leave_result && result.outcome == Outcome::Succeeded;
    let is_about = receipt.task == task.terms.id.uuid()
        && receipt.attempt == result.attempt
        && receipt.submitter == us
        && receipt.worker == peer
        && receipt.outcome == result.outcome
        && if facts.is_left { may_stay } else { receipt.digest == facts.digest };
    is_about.then_some(receipt.digest)
}

impl SubmittedTask {
    /// Whether the peer can have heard of it: not while its files are on their
    /// way, though their transfer names it.
    fn is_offered_to(&self, peer: &NodeId) -> bool {
        self.peer == *peer && self.awaits_files().is_none() && !self.is_held()
    }

    /// Whether the peer can have heard of any attempt at it.
    fn was_offered_to(&self, peer: &NodeId) -> bool {
        self.is_offered_to(peer) || self.extras.past.iter().any(|past| past.peer == *peer)
    }

    /// Takes over an update that is newer than all before it.
    fn hear(&mut self, update: &Update, now: Timestamp) {
        self.heard = update.revision;
        self.percent = update.percent.map(|percent| percent.min(100));
        self.note = update.note.as_str().to_owned();
        let accepted = self.accepted_at(update, now);
        match (update.state, &self.phase) {
            (_, SubmittedPhase::Ended(_) | SubmittedPhase::Held { .. })
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
    fn deliver(&mut self, delivery: Delivery, facts: &ResultFacts, now: Timestamp) {
        let outcome = delivery.outcome;
        if let SubmittedPhase::Ended(ending) = &mut self.phase {
            ending.delivery = Some(delivery);
        } else {
            let reason = Text::<MAX_NOTE>::clipped(&facts.reason).into_string();
            let cause =
                if reason.is_empty() { "the worker's result".to_owned() } else { reason.clone() };
            let ending = Ending { outcome, at: now, reason, delivery: Some(delivery) };
            self.end_or_again(ending, facts.for_good, &cause);
        }
        if self.has_late_result() {
            self.history.note(now, self.state(), "the worker's result came late");
        }
        // Whoever has sent a result has nothing left to stop.
        if let Some(cancel) = &mut self.cancel {
            cancel.owed = false;
        }
    }

    /// Keeps the result of an attempt that was given up: it changes nothing.
    fn deliver_late(&mut self, attempt: u32, delivery: Delivery, now: Timestamp) {
        let past = self.extras.past.iter_mut().find(|past| past.attempt == attempt);
        if let Some(past) = past {
            past.delivery = Some(delivery);
            let said = format!("a result of attempt {attempt} came late; it is kept");
            self.history.note(now, self.state(), &said);
        }
    }
}
