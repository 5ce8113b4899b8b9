//! What is owed to peers, and their answers.

use core::cmp::Reverse;

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Cancel, Offer, TaskAnswer, TaskRefusal};
use pilot_proto::text::Text;

use super::{Submitter, SubmitterOutput};
use crate::outbox::{Class, Slot};
use crate::outgoing::{Message, Outgoing, OutgoingKey, OutgoingKind};
use crate::submitted::{Ending, SubmittedPhase, SubmittedTask};
use crate::terms::{left_ms, millis};

impl Submitter {
    /// Whether something could be sent to `peer` now.
    #[must_use]
    pub fn has_owed(&self, peer: &NodeId) -> bool {
        self.outbox.has_owed(peer)
    }

    /// The peers to which something could be sent now.
    pub fn peers_owed(&self) -> impl Iterator<Item = NodeId> {
        self.outbox.peers()
    }

    /// The link to `peer` has room. Sends up to `max_requests` requests of
    /// together at most `max_bytes` bytes, in order; if the first does not
    /// fit, nothing, so a link has to offer
    /// [`MAX_TASK_FRAME`](pilot_proto::tasks::MAX_TASK_FRAME) at times.
    pub fn handle_link_ready(
        &mut self,
        peer: NodeId,
        max_requests: usize,
        max_bytes: u64,
        now: Timestamp,
    ) {
        let mut requests = Vec::new();
        let mut room = max_bytes;
        while requests.len() < max_requests
            && let Some(id) = self.outbox.first(&peer)
        {
            let request = self.shelf.get(&id).and_then(|task| outgoing(task, now));
            let Some(request) = request.filter(|_| self.shelf.is_durable(&id)) else {
                self.outbox.set_aside(&id);
                continue;
            };
            let Some(left) = room.checked_sub(request.weight()) else { break };
            room = left;
            if request.key.kind == OutgoingKind::Offer {
                self.note_handed(&id);
            }
            self.outbox.sent(request.key);
            requests.push(request);
        }
        if !requests.is_empty() {
            self.outputs.push_back(SubmitterOutput::Send { to: peer, requests });
        }
    }

    /// These requests got no answer: the link failed. They are owed again.
    pub fn handle_link_failed(&mut self, peer: NodeId, keys: &[OutgoingKey]) {
        for key in keys {
            if self.outbox.is_in_flight(&peer, key) {
                self.outbox.forget(&key.id);
                self.schedule(&key.id);
            }
        }
    }

    /// Trust with `peer` changed: a cancel that it did not take is tried again.
    pub fn handle_trust_changed(&mut self, peer: NodeId) {
        if self.outbox.unblock(&peer) {
            self.outputs.push_back(SubmitterOutput::Owed { to: peer });
        }
    }

    /// The answer of `peer` to a request. Ignored if that request is not
    /// under way.
    pub fn handle_answer(
        &mut self,
        peer: NodeId,
        key: &OutgoingKey,
        answer: &TaskAnswer,
        now: Timestamp,
    ) {
        if !self.outbox.is_in_flight(&peer, key) {
            return;
        }
        match key.kind {
            OutgoingKind::Offer => self.on_offer_answer(&key.id, answer, now),
            OutgoingKind::Cancel => self.on_cancel_answer(&key.id, answer, now),
            OutgoingKind::Update | OutgoingKind::Result => {}
        }
        self.schedule(&key.id);
        self.sweep(&key.id);
    }

    fn on_offer_answer(&mut self, id: &TaskId, answer: &TaskAnswer, now: Timestamp) {
        match offer_answer(answer) {
            OfferAnswer::Taken => {
                self.outbox.forget(id);
                self.on_queued(id, |task| {
                    let phase = SubmittedPhase::Delivered { at: now };
                    task.enter(phase, now, "safe in the worker's queue");
                });
            }
            OfferAnswer::Never(outcome, reason) => {
                self.outbox.forget(id);
                self.on_queued(id, |task| {
                    let (reason, delivery) = (reason.to_owned(), None);
                    let ending = Ending { outcome, at: now, reason: reason.clone(), delivery };
                    task.end_or_again(ending, outcome == Outcome::Failed, &reason);
                });
                self.go_on(id, now);
            }
            OfferAnswer::Later(trouble) => {
                self.outbox.pause(id, now);
                self.on_trouble(id, trouble, now);
            }
        }
    }

    /// Changes the task if nothing was heard of it but this answer.
    fn on_queued(&mut self, id: &TaskId, change: impl FnOnce(&mut SubmittedTask)) {
        if let Some(task) = self.shelf.get_mut(id)
            && matches!(task.phase, SubmittedPhase::Queued { .. })
        {
            change(task);
            self.commit(id);
        }
    }

    /// Shows why a task stays queued; once, not at each attempt.
    fn on_trouble(&mut self, id: &TaskId, trouble: &str, now: Timestamp) {
        let phase = SubmittedPhase::Queued { trouble: Some(trouble.to_owned()) };
        if self.shelf.get(id).is_some_and(|task| task.phase != phase) {
            self.on_queued(id, |task| task.enter(phase, now, trouble));
        }
    }

    fn on_cancel_answer(&mut self, id: &TaskId, answer: &TaskAnswer, now: Timestamp) {
        let settled = match answer {
            TaskAnswer::Cancelling => true,
            TaskAnswer::Refused(refusal) => match refusal {
                TaskRefusal::NotAllowed => {
                    self.outbox.block(id);
                    return;
                }
                TaskRefusal::Unknown
                | TaskRefusal::Superseded
                | TaskRefusal::Invalid
                | TaskRefusal::NoInputs => true,
                TaskRefusal::QueueFull
                | TaskRefusal::DiskFull
                | TaskRefusal::Internal
                | TaskRefusal::Inputs => false,
            },
            TaskAnswer::Offered
            | TaskAnswer::Updated
            | TaskAnswer::Receipt(_)
            | TaskAnswer::Load(_)
            | TaskAnswer::Passed(_)
            | TaskAnswer::Logged { .. } => false,
        };
        if !settled {
            self.outbox.pause(id, now);
            return;
        }
        self.outbox.forget(id);
        if let Some(cancel) = self.shelf.get_mut(id).and_then(|task| task.cancel.as_mut()) {
            cancel.owed = false;
            self.commit(id);
        }
    }

    /// Brings the outbox in line with what is owed about the task and may be
    /// sent, because it is on disk.
    pub(super) fn schedule(&mut self, id: &TaskId) {
        let Some(task) = self.shelf.get(id) else { return };
        let Some(kind) = owed(task) else {
            self.outbox.forget(id);
            return;
        };
        if !self.shelf.is_durable(id) {
            return;
        }
        let class = match kind {
            OutgoingKind::Cancel => Class::Stop,
            OutgoingKind::Offer | OutgoingKind::Update | OutgoingKind::Result => Class::Work,
        };
        let priority = Reverse(task.terms.priority);
        let (to, slot) = (task.peer, Slot { class, priority, since: task.created, id: *id });
        if self.outbox.want(to, kind, slot) {
            self.outputs.push_back(SubmitterOutput::Owed { to });
        }
    }
}

/// Why a task ends that the peer's grant does not cover, whoever notices first.
pub(super) const NOT_ALLOWED: &str = "the peer does not allow this node its tasks";

/// What an answer means for an offer.
enum OfferAnswer {
    Taken,
    Later(&'static str),
    Never(Outcome, &'static str),
}

fn offer_answer(answer: &TaskAnswer) -> OfferAnswer {
    match answer {
        TaskAnswer::Offered => OfferAnswer::Taken,
        TaskAnswer::Refused(refusal) => match refusal {
            TaskRefusal::NotAllowed => OfferAnswer::Never(Outcome::Declined, NOT_ALLOWED),
            TaskRefusal::QueueFull => OfferAnswer::Later("the peer's queue is full"),
            TaskRefusal::DiskFull => OfferAnswer::Later("the peer's disk is full"),
            TaskRefusal::Internal => OfferAnswer::Later("the peer failed to store it"),
            TaskRefusal::Inputs => {
                OfferAnswer::Later("its inputs are on their way to the peer, or not reached now")
            }
            TaskRefusal::NoInputs => OfferAnswer::Never(
                Outcome::Failed,
                "the results that are its input are no longer kept by their workers",
            ),
            TaskRefusal::Invalid => {
                OfferAnswer::Never(Outcome::Failed, "the peer found it invalid")
            }
            TaskRefusal::Superseded => {
                OfferAnswer::Never(Outcome::Failed, "the peer is done with this attempt")
            }
            TaskRefusal::Unknown => OfferAnswer::Later("the peer gave an answer out of place"),
        },
        TaskAnswer::Cancelling
        | TaskAnswer::Updated
        | TaskAnswer::Receipt(_)
        | TaskAnswer::Load(_)
        | TaskAnswer::Passed(_)
        | TaskAnswer::Logged { .. } => OfferAnswer::Later("the peer gave an answer out of place"),
    }
}

fn owed(task: &SubmittedTask) -> Option<OutgoingKind> {
    match task.phase {
        SubmittedPhase::Held { .. } => None,
        SubmittedPhase::Queued { .. } if task.awaits_files().is_some() => None,
        SubmittedPhase::Queued { .. } => Some(OutgoingKind::Offer),
        SubmittedPhase::Delivered { .. }
        | SubmittedPhase::Accepted { .. }
        | SubmittedPhase::Running { .. }
        | SubmittedPhase::Ended(_) => task.owes_cancel().then_some(OutgoingKind::Cancel),
    }
}

fn outgoing(task: &SubmittedTask, now: Timestamp) -> Option<Outgoing> {
    let (terms, kind) = (&task.terms, owed(task)?);
    let key = OutgoingKey { id: terms.id, attempt: terms.attempt, kind, revision: task.revision };
    if kind == OutgoingKind::Offer {
        let offer = Offer {
            id: terms.id,
            attempt: terms.attempt,
            priority: terms.priority,
            deadline_ms: terms.deadline.map(|deadline| left_ms(deadline, now)),
            queue_timeout_ms: task.queue_until().map(|until| left_ms(until, now)),
            run_timeout_ms: terms.run_timeout.map(millis),
            body: bytes::Bytes::new(),
        };
        return Some(Outgoing::new(key, terms.body_len, Message::Offer(offer)));
    }
    let request = task.cancel.as_ref()?;
    let cancel = Cancel {
        id: terms.id,
        attempt: terms.attempt,
        grace_ms: millis(request.grace),
        reason: Text::clipped(&request.reason),
    };
    Some(Outgoing::new(key, 0, Message::Cancel(cancel)))
}
