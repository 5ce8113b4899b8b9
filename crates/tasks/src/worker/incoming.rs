//! Offers.

use core::time::Duration;

use pilot_identity::{Digest, NodeId, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Offer, TaskAnswer, TaskRefusal};

use super::{Worker, WorkerOutput};
use crate::history::History;
use crate::received::{ReceivedExtras, ReceivedPhase, ReceivedTask};
use crate::state::TaskState;
use crate::terms::{Terms, summary_of};

/// How long whoever works on an earlier attempt may take to stop once another
/// one is offered: nobody waits for its result any more.
const ATTEMPT_GRACE: Duration = Duration::from_secs(10);

const NEXT_ATTEMPT: &str = "the submitter has begun another attempt";

/// What the shell found in the body of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferFacts {
    /// The digest of the encoded body, as received.
    pub digest: Digest,
    /// Bytes of the encoded body.
    pub len: u64,
    /// Of the description; cut to [`MAX_SUMMARY`](crate::MAX_SUMMARY) characters.
    pub summary: String,
    /// Of all tasks with this key one is worked on at a time.
    pub exclusive: Option<String>,
    /// Whether files of the result stay here for whoever shows a permission.
    pub leave_result: bool,
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
    ///
    /// A later attempt takes the place of one that nobody works on and whose
    /// result nobody waits for. Else it is refused with `Internal`, so that the
    /// submitter offers it again, and whoever works on the earlier one is asked
    /// to stop.
    pub fn handle_offer(
        &mut self,
        peer: NodeId,
        offer: &Offer,
        facts: &OfferFacts,
        may_submit: bool,
        now: Timestamp,
    ) -> OfferVerdict {
        let taken = if !may_submit {
            Err(TaskRefusal::NotAllowed)
        } else if let Some(known) = self.shelf.get(&offer.id) {
            if known.peer == peer && offer.attempt > known.terms.attempt {
                self.on_next_attempt(peer, offer, facts, now)
            } else {
                self.on_offered_again(peer, offer, facts).map(|()| false)
            }
        } else if offer.attempt == 0 {
            Err(TaskRefusal::Invalid)
        } else if self.is_full_for(&peer) {
            Err(TaskRefusal::QueueFull)
        } else if let Err(refusal) = facts.files {
            Err(refusal)
        } else {
            self.admit(ReceivedTask::offered(peer, offer, facts, now));
            Ok(true)
        };
        self.sweep(&offer.id);
        match taken {
            Ok(keep_body) => OfferVerdict { answer: TaskAnswer::Offered, keep_body },
            Err(refusal) => OfferVerdict { answer: TaskAnswer::Refused(refusal), keep_body: false },
        }
    }

    fn on_next_attempt(
        &mut self,
        peer: NodeId,
        offer: &Offer,
        facts: &OfferFacts,
        now: Timestamp,
    ) -> Result<bool, TaskRefusal> {
        self.make_way(&offer.id, &peer, now)?;
        facts.files?;
        self.replace(ReceivedTask::offered(peer, offer, facts, now));
        self.commit(&offer.id, None);
        Ok(true)
    }

    /// Whether the record of an earlier attempt can make way for a later one.
    /// Where somebody works on it, that is asked to stop.
    pub(super) fn make_way(
        &mut self,
        id: &TaskId,
        peer: &NodeId,
        now: Timestamp,
    ) -> Result<(), TaskRefusal> {
        let Some(task) = self.shelf.get(id) else { return Err(TaskRefusal::Internal) };
        match task.phase {
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
                self.ask_to_stop(id, ATTEMPT_GRACE, NEXT_ATTEMPT, now);
                Err(TaskRefusal::Internal)
            }
            // The submitter will say what it thinks of it, which ends this.
            ReceivedPhase::Finished { hold: None, .. } => Err(TaskRefusal::Internal),
            ReceivedPhase::Queued
            | ReceivedPhase::Finished { hold: Some(_), .. }
            | ReceivedPhase::Closed { .. } => {
                // What it counted before, it counts no more.
                let counted = usize::from(self.queue.is_open(id));
                let in_all = self.queue.open().saturating_sub(counted);
                let of_peer = self.queue.open_of(peer).saturating_sub(counted);
                if in_all >= self.limits.in_all || of_peer >= self.limits.per_submitter {
                    return Err(TaskRefusal::QueueFull);
                }
                Ok(())
            }
        }
    }

    /// Puts the record of a later attempt in the place of one that can make
    /// way. To be committed.
    pub(super) fn replace(&mut self, mut task: ReceivedTask) {
        let id = task.terms.id;
        let Some(before) = self.shelf.get_mut(&id) else { return };
        task.revision = before.revision;
        let had_result = before.is_result_pending();
        *before = task;
        // Answers to what was said of the earlier attempt mean this one no more.
        self.outbox.forget(&id);
        self.told.remove(&id);
        if had_result {
            self.outputs.push_back(WorkerOutput::ForgetResult(id));
        }
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
        if task.peer != peer {
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
        let tracked = self.queue.track(&task);
        let record = Box::new(task.clone());
        self.shelf.insert(task);
        self.outputs.push_back(WorkerOutput::Persist { record, result_body: None });
        self.outputs.push_back(WorkerOutput::Changed { id, revision });
        self.on_tracked(tracked);
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
        task.extras.exclusive.clone_from(&facts.exclusive);
        task.extras.leave_result = facts.leave_result;
        let cause = match offer.attempt {
            1 => "received".to_owned(),
            attempt => format!("attempt {attempt}"),
        };
        task.history.note(now, TaskState::Queued, &cause);
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
            extras: ReceivedExtras::default(),
        }
    }
}
