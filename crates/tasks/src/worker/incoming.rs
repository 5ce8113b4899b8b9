//! Offers.

use core::time::Duration;

use pilot_identity::{Digest, NodeId, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Offer, TaskAnswer, TaskRefusal};

use super::{Worker, WorkerOutput};
use crate::history::History;
use crate::received::{ReceivedPhase, ReceivedTask};
use crate::state::TaskState;
use crate::terms::{Terms, summary_of};

/// What the shell found in the body of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferFacts {
    /// The digest of the encoded body, as received.
    pub digest: Digest,
    /// Bytes of the encoded body.
    pub len: u64,
    /// Of the description; cut to [`MAX_SUMMARY`](crate::MAX_SUMMARY) characters.
    pub summary: String,
    /// Whether the files that it names are here, or how it is refused for them.
    /// Of an offer that was taken before it does not matter.
    pub files: Result<(), TaskRefusal>,
}

/// What to answer to an offer, once this drain's commit is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferVerdict {
    /// The answer.
    pub answer: TaskAnswer,
    /// Whether the body has to be stored, in the same commit.
    pub keep_body: bool,
}

impl Worker {
    /// A submitter offers a task. `facts` are of `offer.body`, whose limits
    /// the shell has checked; `may_submit` says whether trust allows the peer
    /// to submit tasks here.
    pub fn handle_offer(
        &mut self,
        peer: NodeId,
        offer: &Offer,
        facts: &OfferFacts,
        may_submit: bool,
        now: Timestamp,
    ) -> OfferVerdict {
        let refusal = if !may_submit {
            Err(TaskRefusal::NotAllowed)
        } else if self.shelf.contains(&offer.id) {
            self.on_offered_again(peer, offer, facts)
        } else if offer.attempt == 0 {
            Err(TaskRefusal::Invalid)
        } else if self.is_full_for(&peer) {
            Err(TaskRefusal::QueueFull)
        } else if let Err(refusal) = facts.files {
            Err(refusal)
        } else {
            self.admit(ReceivedTask::offered(peer, offer, facts, now));
            self.outputs.push_back(WorkerOutput::Ready);
            return OfferVerdict { answer: TaskAnswer::Offered, keep_body: true };
        };
        self.sweep(&offer.id);
        let answer = refusal.map_or_else(TaskAnswer::Refused, |()| TaskAnswer::Offered);
        OfferVerdict { answer, keep_body: false }
    }

    fn on_offered_again(
        &mut self,
        peer: NodeId,
        offer: &Offer,
        facts: &OfferFacts,
    ) -> Result<(), TaskRefusal> {
        let id = offer.id;
        // Counts this task too, which may have come back from disk just now.
        let no_room = self.queue.open() > self.limits.in_all
            || self.queue.open_of(&peer) > self.limits.per_submitter;
        let Some(task) = self.shelf.get_mut(&id) else { return Err(TaskRefusal::Internal) };
        if task.peer != peer || offer.attempt > task.terms.attempt {
            return Err(TaskRefusal::Invalid);
        }
        if offer.attempt < task.terms.attempt {
            return Err(TaskRefusal::Superseded);
        }
        let same = task.terms.body_digest == facts.digest || task.terms.body_len == 0;
        match &mut task.phase {
            // The submitter that still offers it has lost what it confirmed.
            ReceivedPhase::Closed { .. } => return Err(TaskRefusal::Superseded),
            ReceivedPhase::Queued
            | ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. }
            | ReceivedPhase::Finished { .. }
                if !same =>
            {
                return Err(TaskRefusal::Invalid);
            }
            ReceivedPhase::Finished { hold: Some(_), .. } if no_room => {
                return Err(TaskRefusal::QueueFull);
            }
            // The submitter that offers it wants to know how it ended.
            ReceivedPhase::Finished { hold: hold @ Some(_), .. } => {
                *hold = None;
                self.commit(&id, None);
            }
            ReceivedPhase::Queued
            | ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. }
            | ReceivedPhase::Finished { .. } => self.promise_again(&id),
        }
        Ok(())
    }

    pub(super) fn is_full_for(&self, peer: &NodeId) -> bool {
        self.queue.open() >= self.limits.in_all
            || self.queue.open_of(peer) >= self.limits.per_submitter
    }

    /// Takes a new record, onto the disk.
    fn admit(&mut self, task: ReceivedTask) {
        let (id, revision) = (task.terms.id, task.revision);
        self.queue.track(&task);
        let record = Box::new(task.clone());
        self.shelf.insert(task);
        self.outputs.push_back(WorkerOutput::Persist { record, result_body: None });
        self.outputs.push_back(WorkerOutput::Changed { id, revision });
    }
}

impl ReceivedTask {
    fn offered(peer: NodeId, offer: &Offer, facts: &OfferFacts, now: Timestamp) -> Self {
        let left = |ms: u64| now.saturating_add(Duration::from_millis(ms));
        let terms = Terms {
            id: offer.id,
            attempt: offer.attempt,
            priority: offer.priority,
            deadline: offer.deadline_ms.map(left),
            queue_timeout: offer.queue_timeout_ms.map(Duration::from_millis),
            run_timeout: offer.run_timeout_ms.map(Duration::from_millis),
            summary: summary_of(&facts.summary),
            body_len: facts.len,
            body_digest: facts.digest,
        };
        let mut task = Self::empty(terms, peer, now);
        task.history.note(now, TaskState::Queued, "received");
        task
    }

    /// A task that was cancelled before its offer came: when it does come, it
    /// does not run.
    pub(super) fn tombstone(id: TaskId, attempt: u32, peer: NodeId, now: Timestamp) -> Self {
        let terms = Terms {
            id,
            attempt,
            priority: 0,
            deadline: None,
            queue_timeout: None,
            run_timeout: None,
            summary: String::new(),
            body_len: 0,
            body_digest: Digest::of(&[]),
        };
        Self::empty(terms, peer, now)
    }

    fn empty(terms: Terms, peer: NodeId, now: Timestamp) -> Self {
        Self {
            terms,
            peer,
            received: now,
            revision: 1,
            phase: ReceivedPhase::Queued,
            percent: None,
            note: String::new(),
            cancel: None,
            history: History::default(),
            freight: None,
        }
    }
}
