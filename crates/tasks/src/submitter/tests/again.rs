//! Attempts: when there is another one, and what becomes of the old ones.

use super::*;
use crate::plan::Wait;
use crate::submitted::SubmittedPhase;

fn planned(plan: Plan) -> Submission {
    Submission { plan, ..submission(1) }
}

fn with_retries(retries_left: u32) -> Submission {
    planned(Plan { retries_left, ..Plan::default() })
}

/// The worker's signed result of some attempt.
fn of_attempt(attempt: u32, outcome: Outcome, body: &'static [u8]) -> (TaskResult, ResultFacts) {
    let (mut result, facts) = result(outcome, body);
    let receipt = Receipt { attempt, ..result.receipt.verify().unwrap().clone() };
    result.attempt = attempt;
    result.receipt = receipt.sign(&key(2));
    (result, facts)
}

fn give(machine: &mut Submitter, attempt: u32, outcome: Outcome, now: Timestamp) -> ResultVerdict {
    let (result, facts) = of_attempt(attempt, outcome, b"r");
    let verdict = machine.handle_result(worker(), &result, &facts, now);
    drain(machine);
    verdict
}

fn offer_again(machine: &mut Submitter) -> Timestamp {
    let due = machine.next_deadline().unwrap();
    machine.handle_timeout(due);
    let key = send_one(machine, due);
    assert_eq!((key.kind, key.attempt), (OutgoingKind::Offer, 2));
    answer(machine, &key, &TaskAnswer::Offered, due);
    due
}

#[test]
fn what_failed_is_tried_again_after_a_pause_until_no_attempt_is_left() {
    let mut machine = delivered(with_retries(1));

    let first = give(&mut machine, 1, Outcome::Failed, at(9));
    assert_eq!(first.keep, Some(Keep::Attempt(1)));
    assert_eq!(state(&machine), TaskState::Queued);
    assert!(send(&mut machine, at(9)).is_empty(), "not before its time");
    let due = offer_again(&mut machine);
    let waited = due.since(at(9)).as_millis();
    assert!((800..=1_200).contains(&waited), "{waited}");

    let (result, facts) = of_attempt(2, Outcome::Failed, b"r");
    let last = machine.handle_result(worker(), &result, &facts, due);
    assert_eq!(last.keep, Some(Keep::Result));
    let task = machine.task(&id(1)).unwrap();
    assert_eq!((task.state(), task.extras.dead, task.terms.attempt), (TaskState::Failed, true, 2));
    let past: Vec<_> = task.extras.past.iter().map(|past| (past.attempt, past.outcome)).collect();
    assert_eq!(past, [(1, Outcome::Failed)]);
}

#[test]
fn what_failed_for_good_or_without_retries_is_not_tried_again() {
    let mut plain = delivered(submission(1));
    let (result, facts) = result(Outcome::Failed, b"r");
    plain.handle_result(worker(), &result, &facts, at(9));
    assert!(plain.task(&id(1)).is_some_and(|task| task.ending().is_some() && !task.extras.dead));

    let mut machine = delivered(with_retries(5));
    let facts = ResultFacts { for_good: true, ..facts };
    machine.handle_result(worker(), &result, &facts, at(9));
    assert!(machine.task(&id(1)).is_some_and(|task| task.ending().is_some() && task.extras.dead));
}

#[test]
fn a_late_result_of_an_old_attempt_is_kept_and_changes_nothing() {
    let run_timeout = Some(Duration::from_secs(10));
    let mut machine = delivered(Submission { run_timeout, ..with_retries(1) });
    machine.handle_update(worker(), &update(2, WorkState::Running), at(5));
    drain(&mut machine);
    // Accepted 2 s before; the worker is not heard of for 10 s and a minute more.
    assert_eq!(machine.next_deadline(), Some(at(3 + 10 + 60)));
    machine.handle_timeout(at(73));
    drain(&mut machine);
    assert!(matches!(
        machine.task(&id(1)).unwrap().phase,
        SubmittedPhase::Held { wait: Wait::Pause { .. }, .. }
    ));

    let late = give(&mut machine, 1, Outcome::Succeeded, at(73));
    assert!(matches!(late.answer, TaskAnswer::Receipt(_)));
    assert_eq!(late.keep, Some(Keep::Attempt(1)));
    let again = give(&mut machine, 1, Outcome::Succeeded, at(74));
    assert_eq!((again.answer, again.keep), (late.answer, None));
    let other = give(&mut machine, 1, Outcome::Failed, at(74));
    assert_eq!(other.answer, TaskAnswer::Refused(TaskRefusal::Superseded));
    let early = give(&mut machine, 2, Outcome::Succeeded, at(74));
    assert_eq!(early.answer, TaskAnswer::Refused(TaskRefusal::Superseded), "nobody was asked");

    let due = offer_again(&mut machine);
    assert_eq!(state(&machine), TaskState::Delivered);
    let past = &machine.task(&id(1)).unwrap().extras.past[0];
    assert_eq!((past.outcome, past.delivery.is_some()), (Outcome::Expired, true));
    let (result, facts) = of_attempt(2, Outcome::Succeeded, b"new");
    assert_eq!(machine.handle_result(worker(), &result, &facts, due).keep, Some(Keep::Result));
}

#[test]
fn a_cancelled_task_is_not_tried_again() {
    let mut machine = delivered(with_retries(3));
    machine.cancel(&id(1), Duration::ZERO, "", at(1)).unwrap();
    let key = send_one(&mut machine, at(1));
    answer(&mut machine, &key, &TaskAnswer::Cancelling, at(1));

    let (result, facts) = result(Outcome::Failed, b"r");
    machine.handle_result(worker(), &result, &facts, at(2));

    assert_eq!(state(&machine), TaskState::Failed);
}

#[test]
fn by_hand_it_is_tried_again_once_it_has_ended_and_not_after_success() {
    let mut machine = delivered(submission(1));
    assert_eq!(
        machine.retry(&id(1), at(1)),
        Err(RetryError::NotFailed { state: TaskState::Delivered })
    );
    let (result, facts) = result(Outcome::Failed, b"r");
    machine.handle_result(worker(), &result, &facts, at(2));
    machine.retry(&id(1), at(3)).unwrap();
    let key = send_one(&mut machine, at(3));
    assert_eq!((key.kind, key.attempt), (OutgoingKind::Offer, 2));
    answer(&mut machine, &key, &TaskAnswer::Offered, at(3));

    let (result, facts) = of_attempt(2, Outcome::Succeeded, b"r");
    machine.handle_result(worker(), &result, &facts, at(4));
    assert_eq!(
        machine.retry(&id(1), at(5)),
        Err(RetryError::NotFailed { state: TaskState::Succeeded })
    );
    assert_eq!(machine.retry(&id(9), at(5)), Err(RetryError::Unknown));
}

#[test]
fn a_retried_record_survives_the_disk() {
    let mut machine = delivered(with_retries(2));
    give(&mut machine, 1, Outcome::Failed, at(9));
    let record = machine.task(&id(1)).unwrap().clone();

    let read = SubmittedTask::decode(&record.encode().unwrap()).unwrap();

    assert_eq!(read, record);
    let mut restored = submitter();
    restored.restore(read);
    restored.resume(at(10_000));
    assert_eq!(send_one(&mut restored, at(10_000)).attempt, 2);
}
