use core::time::Duration;

use pilot_identity::{Countersigned, Digest, NodeKey, Outcome, Receipt};
use pilot_proto::tasks::{
    Cancel, Offer, ResultBody, TaskAnswer, TaskRefusal, TaskRequest, Update, WorkState,
};
use pilot_proto::text::Text;
use zeroize::Zeroizing;

use super::*;
use crate::outgoing::{OutgoingKey, OutgoingKind};
use crate::state::TaskState;

mod attempts;
mod delivery;
mod files;
mod leases;
mod life;
mod offers;

fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis((1_000 + seconds) * 1_000)
}

fn id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

fn submitter() -> NodeId {
    key(1).id()
}

fn stranger() -> NodeId {
    key(3).id()
}

fn worker() -> Worker {
    Worker::new(key(2), WorkerLimits::default())
}

fn offer(number: u8) -> Offer {
    Offer {
        id: id(number),
        attempt: 1,
        priority: 0,
        deadline_ms: None,
        queue_timeout_ms: None,
        run_timeout_ms: None,
        body: vec![number].into(),
    }
}

fn take(machine: &mut Worker, peer: NodeId, offer: &Offer, now: Timestamp) -> OfferVerdict {
    let facts = OfferFacts {
        digest: Digest::of(&offer.body),
        len: offer.body.len() as u64,
        summary: "s".repeat(500),
        exclusive: None,
        leave_result: false,
        files: Ok(()),
    };
    machine.handle_offer(peer, offer, &facts, true, now)
}

/// A worker with task 1 in its queue.
fn queued(offer: &Offer) -> Worker {
    let mut machine = worker();
    assert_eq!(take(&mut machine, submitter(), offer, at(0)).answer, TaskAnswer::Offered);
    drain(&mut machine);
    machine
}

/// A worker whose task 1 was accepted.
fn accepted(offer: &Offer) -> Worker {
    let mut machine = queued(offer);
    assert_eq!(machine.accept(None, "me", at(1)), Some(offer.id));
    drain(&mut machine);
    machine
}

/// Executes all outputs as a shell would; the requests that were sent.
fn drain(machine: &mut Worker) -> Vec<Outgoing> {
    let mut sent = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            WorkerOutput::Persist { record, result_body } => {
                if let Some(body) = result_body {
                    assert_eq!(record.ending().unwrap().digest, Digest::of(&body));
                }
                machine.handle_persisted(&record.terms.id, record.revision);
            }
            WorkerOutput::Send { to, requests } => {
                assert_eq!(to, submitter());
                sent.extend(requests);
            }
            WorkerOutput::Changed { .. }
            | WorkerOutput::Owed { .. }
            | WorkerOutput::Ready
            | WorkerOutput::ForgetBody(_)
            | WorkerOutput::ForgetTask(_)
            | WorkerOutput::ForgetResult(_)
            | WorkerOutput::Bound(_)
            | WorkerOutput::Unbound(_) => {}
        }
    }
    sent
}

fn send(machine: &mut Worker, now: Timestamp) -> Vec<Outgoing> {
    drain(machine);
    machine.handle_link_ready(submitter(), 100, u64::MAX, now);
    drain(machine)
}

fn send_one(machine: &mut Worker, now: Timestamp) -> Outgoing {
    let mut sent = send(machine, now);
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

fn answer(machine: &mut Worker, key: &OutgoingKey, answer: &TaskAnswer) {
    machine.handle_answer(submitter(), key, answer, at(9));
}

fn work(outcome: WorkOutcome, body: &[u8]) -> Work {
    let (digest, len) = (Digest::of(body), body.len() as u64);
    Work { outcome, digest, len, reason: String::new(), attached: None }
}

fn done(body: &[u8]) -> Work {
    work(WorkOutcome::Succeeded, body)
}

fn cancel(number: u8) -> Cancel {
    Cancel { id: id(number), attempt: 1, grace_ms: 5_000, reason: Text::clipped("no need") }
}

fn task(machine: &Worker) -> &ReceivedTask {
    machine.task(&id(1)).unwrap()
}

fn state(machine: &Worker) -> TaskState {
    task(machine).state()
}
