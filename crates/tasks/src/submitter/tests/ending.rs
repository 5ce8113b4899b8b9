//! Updates, results, cancellations and deadlines.

use super::*;
use crate::submitted::SubmittedPhase;

fn receipt_of(answer: TaskAnswer) -> Box<Countersigned> {
    let TaskAnswer::Receipt(receipt) = answer else { panic!("{answer:?}") };
    receipt
}

#[test]
fn updates_move_forward_only_and_newer_ones_only() {
    let mut machine = delivered(submission(1));
    let mut hear = |revision, state, expected| {
        let answer = machine.handle_update(worker(), &update(revision, state), at(10));
        assert_eq!(answer, TaskAnswer::Updated);
        assert_eq!(self::state(&machine), expected);
    };

    hear(5, WorkState::Running, TaskState::Running);
    hear(5, WorkState::Queued, TaskState::Running);
    hear(4, WorkState::Accepted, TaskState::Running);
    hear(6, WorkState::Accepted, TaskState::Running);
    hear(7, WorkState::Queued, TaskState::Delivered);
    hear(8, WorkState::Accepted, TaskState::Accepted);

    let task = machine.task(&id(1)).unwrap();
    assert_eq!((task.percent, task.note.as_str()), (Some(100), "on it"));
    assert!(matches!(task.phase, SubmittedPhase::Accepted { at: accepted } if accepted == at(8)));
}

#[test]
fn an_update_counts_as_delivery() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let key = send_one(&mut machine, at(0));

    machine.handle_update(worker(), &update(2, WorkState::Accepted), at(1));
    drain(&mut machine);
    machine.handle_link_failed(worker(), &[key]);

    assert_eq!((state(&machine), send(&mut machine, at(2))), (TaskState::Accepted, vec![]));
}

#[test]
fn nobody_but_the_worker_of_a_task_can_say_anything_about_it() {
    let mut machine = delivered(submission(1));
    let before = machine.task(&id(1)).unwrap().clone();
    let (result, facts) = result(Outcome::Succeeded, b"r");
    let stranger = key(3).id();

    let unknown = TaskAnswer::Refused(TaskRefusal::Unknown);
    assert_eq!(machine.handle_update(stranger, &update(9, WorkState::Running), at(1)), unknown);
    assert_eq!(machine.handle_result(stranger, &result, &facts, at(1)).answer, unknown);

    assert_eq!(machine.task(&id(1)), Some(&before));
}

#[test]
fn other_attempts_are_refused() {
    let mut machine = delivered(submission(1));
    let (result, facts) = result(Outcome::Succeeded, b"r");

    let superseded = TaskAnswer::Refused(TaskRefusal::Superseded);
    for attempt in [0, 2] {
        let update = Update { attempt, ..update(9, WorkState::Running) };
        assert_eq!(machine.handle_update(worker(), &update, at(1)), superseded);
        let result = TaskResult { attempt, ..result.clone() };
        assert_eq!(machine.handle_result(worker(), &result, &facts, at(1)).answer, superseded);
    }
    assert_eq!(state(&machine), TaskState::Delivered);
}

#[test]
fn a_result_ends_the_task_and_gets_a_receipt_under_both_signatures() {
    let mut machine = delivered(submission(1));

    let verdict = deliver(&mut machine, Outcome::Succeeded, b"r");

    assert_eq!(verdict.keep, Some(Keep::Result));
    assert_eq!(receipt_of(verdict.answer).verify().unwrap().digest, Digest::of(b"r"));
    assert_eq!(state(&machine), TaskState::Succeeded);
    drain(&mut machine);
    assert!(machine.is_empty(), "what has ended and is on disk leaves the memory");
}

#[test]
fn a_result_again_gets_the_same_receipt_and_another_one_none() {
    let mut machine = delivered(submission(1));
    let first = deliver(&mut machine, Outcome::Succeeded, b"r");
    let record = machine.task(&id(1)).unwrap().clone();

    let again = deliver(&mut machine, Outcome::Succeeded, b"r");
    let other = deliver(&mut machine, Outcome::Succeeded, b"other");
    let worse = deliver(&mut machine, Outcome::Failed, b"r");

    assert_eq!((&again.answer, again.keep), (&first.answer, None));
    assert_eq!(other.answer, TaskAnswer::Refused(TaskRefusal::Superseded));
    assert_eq!(worse.answer, TaskAnswer::Refused(TaskRefusal::Superseded));
    drain(&mut machine);
    machine.restore(record.clone());
    assert_eq!(deliver(&mut machine, Outcome::Succeeded, b"r"), again);
    assert!(machine.is_empty());
}

#[test]
fn a_result_without_its_files_is_refused_and_the_task_goes_on() {
    let mut machine = delivered(submission(1));
    let (result, facts) = result(Outcome::Succeeded, b"r");

    for refusal in [TaskRefusal::Internal, TaskRefusal::Invalid] {
        let facts = ResultFacts { files: Err(refusal), ..facts.clone() };
        let verdict = machine.handle_result(worker(), &result, &facts, at(1));
        assert_eq!((verdict.answer, verdict.keep), (TaskAnswer::Refused(refusal), None));
    }
    assert_eq!(state(&machine), TaskState::Delivered);
    let first = machine.handle_result(worker(), &result, &facts, at(2)).answer;
    let facts = ResultFacts { files: Err(TaskRefusal::Invalid), ..facts };
    let again = machine.handle_result(worker(), &result, &facts, at(3)).answer;

    assert_eq!(again, first, "they may have been removed since");
    receipt_of(first);
}

#[test]
fn forged_receipts_are_refused() {
    let (good, facts) = result(Outcome::Succeeded, b"r");
    let statement = good.receipt.verify().unwrap().clone();
    let forged = [
        statement.clone().sign(&key(3)),
        Receipt { worker: key(3).id(), ..statement.clone() }.sign(&key(3)),
        Receipt { submitter: key(3).id(), ..statement.clone() }.sign(&key(2)),
        Receipt { task: id(2).uuid(), ..statement.clone() }.sign(&key(2)),
        Receipt { attempt: 2, ..statement.clone() }.sign(&key(2)),
        Receipt { outcome: Outcome::Failed, ..statement.clone() }.sign(&key(2)),
        Receipt { digest: Digest::of(b"other"), ..statement }.sign(&key(2)),
    ];

    for receipt in forged {
        let mut machine = delivered(submission(1));
        let result = TaskResult { receipt, ..good.clone() };
        let verdict = machine.handle_result(worker(), &result, &facts, at(1));

        assert_eq!(verdict.answer, TaskAnswer::Refused(TaskRefusal::Invalid), "{result:?}");
        assert_eq!(state(&machine), TaskState::Delivered);
    }
}

#[test]
fn cancelling_what_was_not_delivered_ends_it_and_still_tells_the_worker() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let offer = send_one(&mut machine, at(0));

    let answered = machine.cancel(&id(1), Duration::from_secs(3), "why", at(1));

    assert_eq!(answered, Ok(TaskState::Cancelled));
    assert_eq!(send(&mut machine, at(1)), [], "the offer is still on its way");
    answer(&mut machine, &offer, &TaskAnswer::Offered, at(2));
    assert_eq!(state(&machine), TaskState::Cancelled);
    let sent = send(&mut machine, at(2));
    let TaskRequest::Cancel(cancel) = sent[0].clone().into_request(bytes::Bytes::new()) else {
        panic!("{sent:?}")
    };
    assert_eq!((cancel.grace_ms, cancel.reason.as_str()), (3_000, "why"));
    answer(&mut machine, &sent[0].key, &TaskAnswer::Cancelling, at(3));
    assert!(machine.is_empty());
}

#[test]
fn cancelling_what_the_worker_has_waits_for_its_word() {
    let mut machine = delivered(submission(1));

    let asked = machine.cancel(&id(1), Duration::ZERO, "", at(1));
    let again = machine.cancel(&id(1), Duration::ZERO, "", at(1));
    let key = send_one(&mut machine, at(1));
    answer(&mut machine, &key, &TaskAnswer::Cancelling, at(1));

    assert_eq!((key.kind, asked, again), (OutgoingKind::Cancel, Ok(TaskState::Delivered), asked));
    assert!(send(&mut machine, at(2)).is_empty());
    deliver(&mut machine, Outcome::Succeeded, b"faster");
    assert_eq!(state(&machine), TaskState::Succeeded);
    let late = machine.cancel(&id(1), Duration::ZERO, "", at(3));
    assert_eq!(late, Err(CancelError::Ended { state: TaskState::Succeeded }));
    assert_eq!(machine.cancel(&id(7), Duration::ZERO, "", at(3)), Err(CancelError::Unknown));
}

#[test]
fn a_result_after_the_end_is_kept_and_changes_nothing() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    machine.cancel(&id(1), Duration::ZERO, "", at(1)).unwrap();

    let verdict = deliver(&mut machine, Outcome::Succeeded, b"r");

    assert!(verdict.keep.is_some() && matches!(verdict.answer, TaskAnswer::Receipt(_)));
    let task = machine.task(&id(1)).unwrap();
    assert!(task.has_late_result() && !task.cancel.as_ref().unwrap().owed);
    assert_eq!(task.state(), TaskState::Cancelled);
}

#[test]
fn the_workers_word_that_it_was_cancelled_is_not_late() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    machine.cancel(&id(1), Duration::ZERO, "", at(1)).unwrap();

    deliver(&mut machine, Outcome::Cancelled, b"r");

    let task = machine.task(&id(1)).unwrap();
    assert!(!task.has_late_result() && task.ending().unwrap().delivery.is_some());
}

#[test]
fn the_queue_timeout_ends_only_what_was_not_delivered() {
    let limited = || Submission { queue_timeout: Some(Duration::from_secs(5)), ..submission(1) };
    let mut queued = submitter();
    queued.submit(limited(), at(0)).unwrap();
    drain(&mut queued);
    let delivered = delivered(limited());

    assert_eq!((queued.next_deadline(), delivered.next_deadline()), (Some(at(5)), None));
    queued.handle_timeout(at(4));
    assert_eq!(state(&queued), TaskState::Queued);
    queued.handle_timeout(at(5));

    let task = queued.task(&id(1)).unwrap();
    assert_eq!(task.state(), TaskState::Expired);
    assert_eq!(task.reason(), "the peer did not get it before its queue timeout");
    assert!(send(&mut queued, at(5)).is_empty() && queued.is_empty());
}

#[test]
fn the_deadline_ends_a_live_task_and_stops_the_worker() {
    let mut machine = delivered(Submission { deadline: Some(at(5)), ..submission(1) });
    machine.handle_update(worker(), &update(2, WorkState::Running), at(1));
    drain(&mut machine);

    machine.handle_timeout(at(5));

    assert_eq!(state(&machine), TaskState::Expired);
    let key = send_one(&mut machine, at(5));
    assert_eq!(key.kind, OutgoingKind::Cancel);
    answer(&mut machine, &key, &TaskAnswer::Refused(TaskRefusal::Unknown), at(5));
    assert!(machine.is_empty());
}

#[test]
fn a_restored_submitter_goes_on_where_it_was() {
    let mut machine = delivered(Submission { deadline: Some(at(5)), ..submission(1) });
    machine.submit(submission(2), at(0)).unwrap();
    drain(&mut machine);
    let records: Vec<SubmittedTask> = machine.tasks().cloned().collect();

    let mut machine = submitter();
    records.into_iter().for_each(|record| machine.restore(record));

    assert_eq!(machine.next_deadline(), Some(at(5)));
    assert_eq!(send_one(&mut machine, at(1)).id, id(2));
}
