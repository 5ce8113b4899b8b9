//! What is owed to submitters, and their answers.

use core::cmp::Reverse;

use pilot_identity::{Countersigned, NodeId, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{TaskAnswer, TaskRefusal, Update, WorkState};
use pilot_proto::text::Text;

use super::{Worker, WorkerOutput};
use crate::outbox::{Class, Slot};
use crate::outgoing::{Message, Outgoing, OutgoingKey, OutgoingKind};
use crate::received::{Hold, ReceivedPhase, ReceivedTask};
use crate::terms::left_ms;

impl Worker {
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
            self.outbox.sent(request.key);
            requests.push(request);
        }
        if !requests.is_empty() {
            self.outputs.push_back(WorkerOutput::Send { to: peer, requests });
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

    /// Trust in `peer` changed: what it did not let us do is tried again.
    pub fn handle_trust_changed(&mut self, peer: NodeId) {
        if self.outbox.unblock(&peer) {
            self.outputs.push_back(WorkerOutput::Owed { to: peer });
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
            OutgoingKind::Update => self.on_update_answer(key, answer, now),
            OutgoingKind::Result => self.on_result_answer(&key.id, answer, now),
            OutgoingKind::Offer | OutgoingKind::Cancel => {}
        }
        self.schedule(&key.id);
        self.sweep(&key.id);
    }

    fn on_update_answer(&mut self, key: &OutgoingKey, answer: &TaskAnswer, now: Timestamp) {
        match answer {
            TaskAnswer::Updated => self.on_told(key),
            TaskAnswer::Refused(refusal) => match refusal {
                // The next update may fare better; this one is not worth more.
                TaskRefusal::NotAllowed
                | TaskRefusal::Unknown
                | TaskRefusal::Invalid
                | TaskRefusal::Superseded => self.on_told(key),
                TaskRefusal::QueueFull
                | TaskRefusal::DiskFull
                | TaskRefusal::Internal
                | TaskRefusal::Inputs
                | TaskRefusal::NoInputs => {
                    self.outbox.pause(&key.id, now);
                }
            },
            TaskAnswer::Offered
            | TaskAnswer::Cancelling
            | TaskAnswer::Receipt(_)
            | TaskAnswer::Load(_)
            | TaskAnswer::Passed(_)
            | TaskAnswer::Logged { .. } => {
                self.outbox.pause(&key.id, now);
            }
        }
    }

    fn on_told(&mut self, key: &OutgoingKey) {
        self.told.insert(key.id, key.revision);
        self.outbox.forget(&key.id);
    }

    fn on_result_answer(&mut self, id: &TaskId, answer: &TaskAnswer, now: Timestamp) {
        match answer {
            TaskAnswer::Receipt(receipt) => self.on_receipt(id, receipt, now),
            TaskAnswer::Refused(refusal) => match refusal {
                TaskRefusal::NotAllowed => self.outbox.block(id),
                TaskRefusal::Unknown => {
                    self.on_unwanted(id, "the submitter knows no such task", now)
                }
                TaskRefusal::Invalid => self.on_unwanted(id, "the submitter found it invalid", now),
                TaskRefusal::Superseded => {
                    self.on_unwanted(id, "the submitter is done with this attempt", now);
                }
                TaskRefusal::QueueFull
                | TaskRefusal::DiskFull
                | TaskRefusal::Internal
                | TaskRefusal::Inputs
                | TaskRefusal::NoInputs => {
                    self.outbox.pause(id, now);
                }
            },
            TaskAnswer::Offered
            | TaskAnswer::Cancelling
            | TaskAnswer::Updated
            | TaskAnswer::Load(_)
            | TaskAnswer::Passed(_)
            | TaskAnswer::Logged { .. } => {
                self.outbox.pause(id, now);
            }
        }
    }

    /// Closes the task if this is the submitter's signature under our very
    /// statement; otherwise the result stays owed.
    fn on_receipt(&mut self, id: &TaskId, receipt: &Countersigned, now: Timestamp) {
        let us = self.key.id();
        let Some(task) = self.shelf.get_mut(id) else { return };
        let ReceivedPhase::Finished { ending, .. } = &task.phase else { return };
        let (ending, expected) = (ending.clone(), task.receipt(us, ending));
        if !receipt.confirms(&expected, &self.key) {
            self.outbox.pause(id, now);
            return;
        }
        let receipt = Box::new(receipt.clone());
        let leaves = task.leaves_result();
        task.enter(ReceivedPhase::Closed { ending, receipt }, now, "the submitter has the result");
        self.outbox.forget(id);
        self.commit(id, None);
        self.outputs.push_back(if leaves {
            WorkerOutput::ForgetTask(*id)
        } else {
            WorkerOutput::ForgetBody(*id)
        });
    }

    /// Stops sending a result that the submitter will never take. It stays on
    /// disk, and is sent again should the submitter offer the task again.
    fn on_unwanted(&mut self, id: &TaskId, reason: &str, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        let state = task.state();
        if let ReceivedPhase::Finished { hold, .. } = &mut task.phase {
            *hold = Some(Hold { at: now, reason: reason.to_owned() });
            task.history.note(now, state, reason);
            self.outbox.forget(id);
            self.commit(id, None);
            // From here on it counts against no limit: a peer that gives tasks
            // and wants none of their results must not fill the disk with them.
            self.outputs.push_back(WorkerOutput::ForgetTask(*id));
        }
    }

    /// Brings the outbox in line with what is owed about the task and may be
    /// sent, because it is on disk.
    pub(super) fn schedule(&mut self, id: &TaskId) {
        let Some(task) = self.shelf.get(id) else { return };
        let told = self.told.get(id).copied().unwrap_or_default();
        let Some(kind) =
            owed(task).filter(|kind| *kind == OutgoingKind::Result || told < task.revision)
        else {
            self.outbox.forget(id);
            return;
        };
        if !self.shelf.is_durable(id) {
            return;
        }
        let priority = Reverse(task.terms.priority);
        let (to, since) = (task.peer, task.received);
        let slot = Slot { class: Class::Work, priority, since, id: *id };
        if self.outbox.want(to, kind, slot) {
            self.outputs.push_back(WorkerOutput::Owed { to });
        }
    }
}

fn owed(task: &ReceivedTask) -> Option<OutgoingKind> {
    match &task.phase {
        ReceivedPhase::Closed { .. } => None,
        // Only one that was accepted and came back has changed since the offer.
        ReceivedPhase::Queued => (task.revision > 1).then_some(OutgoingKind::Update),
        ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
            Some(OutgoingKind::Update)
        }
        ReceivedPhase::Finished { hold: Some(_), .. } => None,
        ReceivedPhase::Finished { hold: None, .. } if task.awaits_files().is_some() => {
            Some(OutgoingKind::Update)
        }
        ReceivedPhase::Finished { hold: None, .. } => Some(OutgoingKind::Result),
    }
}

fn outgoing(task: &ReceivedTask, now: Timestamp) -> Option<Outgoing> {
    let terms = &task.terms;
    let kind = owed(task)?;
    let key = OutgoingKey { id: terms.id, attempt: terms.attempt, kind, revision: task.revision };
    let state = match &task.phase {
        ReceivedPhase::Queued => WorkState::Queued,
        ReceivedPhase::Accepted { .. } => WorkState::Accepted,
        ReceivedPhase::Running { .. } => WorkState::Running,
        // For its submitter it is not over before all of it is there.
        ReceivedPhase::Finished { .. } if kind == OutgoingKind::Update => WorkState::Running,
        ReceivedPhase::Finished { ending, receipt, .. } => {
            let (outcome, receipt) = (ending.outcome, receipt.clone());
            return Some(Outgoing::new(key, ending.len, Message::Result { outcome, receipt }));
        }
        ReceivedPhase::Closed { .. } => return None,
    };
    let update = Update {
        id: terms.id,
        attempt: terms.attempt,
        revision: task.revision,
        state,
        percent: task.percent,
        note: Text::clipped(&task.note),
        accepted_ms_ago: task.accepted_at().map(|at| left_ms(now, at)),
    };
    Some(Outgoing::new(key, 0, Message::Update(update)))
}
