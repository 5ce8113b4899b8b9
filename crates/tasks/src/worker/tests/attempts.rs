//! What becomes of a task when its submitter tries again.

use super::*;

fn attempt(attempt: u32) -> Offer {
    Offer { attempt, body: vec![1, u8::try_from(attempt).unwrap()].into(), ..offer(1) }
}

/// What the outputs say is no longer needed.
fn forgotten(machine: &mut Worker) -> bool {
    let mut forgotten = false;
    while let Some(output) = machine.poll_output() {
        match output {
            WorkerOutput::ForgetResult(of) => forgotten |= of == id(1),
            WorkerOutput::Persist { record, .. } => {
                machine.handle_persisted(&record.terms.id, record.revision);
            }
            WorkerOutput::Changed { .. }
            | WorkerOutput::Ready
            | WorkerOutput::Owed { .. }
            | WorkerOutput::Send { .. }
            | WorkerOutput::ForgetBody(_)
            | WorkerOutput::ForgetTask(_)
            | WorkerOutput::Bound(_)
            | WorkerOutput::Unbound(_) => {}
        }
    }
    forgotten
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_nobody_has() {
    let mut machine = queued(&attempt(1));
    let revision = task(&machine).revision;

    let verdict = take(&mut machine, submitter(), &attempt(2), at(5));

    assert_eq!(verdict, OfferVerdict { answer: TaskAnswer::Offered, keep_body: true });
    let task = task(&machine);
    assert_eq!((task.terms.attempt, task.received, task.revision), (2, at(5), revision + 1));
    let causes: Vec<_> = task.history.changes().iter().map(|it| it.cause.as_str()).collect();
    assert_eq!(causes, ["attempt 2"]);
    assert_eq!(machine.queued(), 1);
    assert_eq!(machine.accept(None, "me", at(6)), Some(id(1)));
    let older = take(&mut machine, submitter(), &attempt(1), at(7)).answer;
    assert_eq!(older, TaskAnswer::Refused(TaskRefusal::Superseded));
}

#[test]
fn a_later_attempt_waits_until_the_one_before_it_has_stopped() {
    let mut machine = accepted(&attempt(1));
    let refused = TaskAnswer::Refused(TaskRefusal::Internal);

    assert_eq!(take(&mut machine, submitter(), &attempt(2), at(5)).answer, refused);
    let notice = task(&machine).cancel.clone().unwrap();
    assert_eq!(notice.until, at(15));
    assert_eq!(notice.reason, "the submitter has begun another attempt");
    assert_eq!(take(&mut machine, submitter(), &attempt(2), at(9)).answer, refused);
    assert_eq!(task(&machine).cancel, Some(notice), "the grace begins once");

    machine.handle_timeout(at(15));
    assert_eq!(state(&machine), TaskState::Cancelled);
    let sent = send_one(&mut machine, at(15));
    assert_eq!(take(&mut machine, submitter(), &attempt(2), at(16)).answer, refused);
    answer(&mut machine, &sent.key, &TaskAnswer::Refused(TaskRefusal::Superseded));
    let held = last(&mut machine);
    machine.restore(held);

    assert_eq!(take(&mut machine, submitter(), &attempt(2), at(17)).answer, TaskAnswer::Offered);
    assert!(forgotten(&mut machine), "the result that nobody wanted");
    assert_eq!((state(&machine), task(&machine).terms.attempt), (TaskState::Queued, 2));
}

/// The record that was written last.
fn last(machine: &mut Worker) -> ReceivedTask {
    let mut last = None;
    while let Some(output) = machine.poll_output() {
        if let WorkerOutput::Persist { record, .. } = output {
            machine.handle_persisted(&record.terms.id, record.revision);
            last = Some(*record);
        }
    }
    last.unwrap()
}

#[test]
fn an_attempt_after_one_whose_result_was_taken_begins_anew() {
    let mut machine = accepted(&attempt(1));
    machine.finish(&id(1), &work(WorkOutcome::Failed, b"r"), at(2)).unwrap();
    let sent = send_one(&mut machine, at(3));
    answer(&mut machine, &sent.key, &delivery::receipt_for(sent.clone()));
    let closed = last(&mut machine);
    assert!(closed.is_closed() && machine.is_empty());
    machine.restore(closed);

    let verdict = take(&mut machine, submitter(), &attempt(2), at(4));

    assert_eq!(verdict, OfferVerdict { answer: TaskAnswer::Offered, keep_body: true });
    assert!(!forgotten(&mut machine), "there is no result any more");
    assert_eq!((state(&machine), machine.queued()), (TaskState::Queued, 1));
    // What comes late about the first attempt changes nothing of the second.
    answer(&mut machine, &sent.key, &delivery::receipt_for(sent.clone()));
    assert_eq!(state(&machine), TaskState::Queued);
}

#[test]
fn an_attempt_that_was_cancelled_before_its_offer_came_does_not_run() {
    let mut machine = queued(&attempt(1));

    let cancel = Cancel { attempt: 2, ..cancel(1) };
    assert_eq!(machine.handle_cancel(submitter(), &cancel, at(2)), TaskAnswer::Cancelling);

    assert_eq!(take(&mut machine, submitter(), &attempt(2), at(3)).answer, TaskAnswer::Offered);
    assert_eq!((state(&machine), machine.queued()), (TaskState::Cancelled, 0));
    assert_eq!(machine.accept(None, "me", at(4)), None);
    let sent = send_one(&mut machine, at(4));
    assert_eq!((sent.key.attempt, sent.key.kind), (2, OutgoingKind::Result));
}

#[test]
fn a_cancel_of_a_later_attempt_waits_for_the_one_before_it() {
    let mut machine = accepted(&attempt(1));

    let cancel = Cancel { attempt: 2, ..cancel(1) };
    let told = machine.handle_cancel(submitter(), &cancel, at(2));

    assert_eq!(told, TaskAnswer::Refused(TaskRefusal::Internal));
    assert_eq!(task(&machine).cancel.as_ref().unwrap().until, at(12));
}

#[test]
fn a_later_attempt_of_another_node_is_none() {
    let mut machine = queued(&attempt(1));
    let before = task(&machine).clone();

    let verdict = take(&mut machine, stranger(), &attempt(2), at(2));

    assert_eq!(verdict.answer, TaskAnswer::Refused(TaskRefusal::Invalid));
    assert_eq!(task(&machine), &before);
}
