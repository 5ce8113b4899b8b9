use core::time::Duration;

use pilot_identity::{Countersigned, Digest, NodeKey, Outcome, Receipt, ReceiptTimes};
use pilot_proto::tasks::{TaskAnswer, TaskRefusal, TaskRequest, TaskResult, Update, WorkState};
use pilot_proto::text::Text;
use zeroize::Zeroizing;

use super::*;

use crate::outgoing::{OutgoingKey, OutgoingKind};
use crate::plan::Plan;
use crate::state::TaskState;

mod again;
mod ending;
mod files;
mod holding;
mod outbox;

fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis((1_000 + seconds) * 1_000)
}

fn id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

fn worker() -> NodeId {
    key(2).id()
}

fn submitter() -> Submitter {
    Submitter::new(key(1), 10)
}

fn submission(number: u8) -> Submission {
    Submission {
        id: id(number),
        to: worker(),
        priority: 0,
        deadline: None,
        queue_timeout: None,
        run_timeout: None,
        summary: "s".to_owned(),
        body_len: 100,
        body_digest: Digest::of(&[number]),
        idempotency_key: None,
        attached: None,
        plan: Plan::default(),
    }
}

/// Executes all outputs as a shell would; the requests that were sent.
fn drain(machine: &mut Submitter) -> Vec<Outgoing> {
    let mut sent = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            SubmitterOutput::Persist(record) => {
                machine.handle_persisted(&record.terms.id, record.revision);
            }
            SubmitterOutput::Send { to, requests } => {
                assert_eq!(to, worker());
                sent.extend(requests);
            }
            SubmitterOutput::Changed { .. }
            | SubmitterOutput::Owed { .. }
            | SubmitterOutput::Unload(_)
            | SubmitterOutput::Place => {}
        }
    }
    sent
}

/// As [`drain`]; the records that were persisted.
fn drain_records(machine: &mut Submitter) -> Vec<SubmittedTask> {
    let mut records = Vec::new();
    while let Some(output) = machine.poll_output() {
        if let SubmitterOutput::Persist(record) = output {
            machine.handle_persisted(&record.terms.id, record.revision);
            records.push(*record);
        }
    }
    records
}

fn send(machine: &mut Submitter, now: Timestamp) -> Vec<Outgoing> {
    drain(machine);
    machine.handle_link_ready(worker(), 100, u64::MAX, now);
    drain(machine)
}

fn send_one(machine: &mut Submitter, now: Timestamp) -> OutgoingKey {
    let sent = send(machine, now);
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent[0].key
}

fn answer(machine: &mut Submitter, key: &OutgoingKey, answer: &TaskAnswer, now: Timestamp) {
    machine.handle_answer(worker(), key, answer, now);
    drain(machine);
}

/// A submitter whose task 1 is safe with the worker.
fn delivered(submission: Submission) -> Submitter {
    let mut machine = submitter();
    machine.submit(submission, at(0)).unwrap();
    let key = send_one(&mut machine, at(0));
    answer(&mut machine, &key, &TaskAnswer::Offered, at(0));
    machine
}

fn update(revision: u64, state: WorkState) -> Update {
    Update {
        id: id(1),
        attempt: 1,
        revision,
        state,
        percent: Some(200),
        note: Text::clipped("on it"),
        accepted_ms_ago: Some(2_000),
    }
}

fn result(outcome: Outcome, body: &'static [u8]) -> (TaskResult, ResultFacts) {
    let receipt = Receipt {
        task: id(1).uuid(),
        attempt: 1,
        submitter: key(1).id(),
        worker: worker(),
        outcome,
        digest: Digest::of(body),
        times: ReceiptTimes::default(),
    }
    .sign(&key(2));
    let result = TaskResult { id: id(1), attempt: 1, outcome, body: body.into(), receipt };
    let facts = ResultFacts {
        digest: Digest::of(body),
        len: body.len() as u64,
        reason: String::new(),
        files: Ok(()),
        for_good: false,
        is_left: false,
    };
    (result, facts)
}

fn deliver(machine: &mut Submitter, outcome: Outcome, body: &'static [u8]) -> ResultVerdict {
    let (result, facts) = result(outcome, body);
    machine.handle_result(worker(), &result, &facts, at(9))
}

fn state(machine: &Submitter) -> TaskState {
    machine.task(&id(1)).unwrap().state()
}
