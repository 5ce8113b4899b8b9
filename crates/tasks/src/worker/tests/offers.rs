//! What gets into the queue.

use super::*;

fn refused(machine: &mut Worker, peer: NodeId, offer: &Offer) -> TaskRefusal {
    let verdict = take(machine, peer, offer, at(1));
    assert!(!verdict.keep_body);
    let TaskAnswer::Refused(refusal) = verdict.answer else { panic!("{verdict:?}") };
    refusal
}

#[test]
fn an_offer_is_persisted_before_anyone_is_woken() {
    let mut machine = worker();

    let verdict = take(&mut machine, submitter(), &offer(1), at(0));

    assert_eq!(verdict, OfferVerdict { answer: TaskAnswer::Offered, keep_body: true });
    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Persist { .. })));
    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Changed { .. })));
    assert_eq!(machine.poll_output(), Some(WorkerOutput::Ready));
    assert_eq!(task(&machine).terms.summary.len(), crate::MAX_SUMMARY);
}

#[test]
fn an_offer_again_is_confirmed_again_at_every_stage() {
    let mut machine = queued(&offer(1));
    let confirmed = OfferVerdict { answer: TaskAnswer::Offered, keep_body: false };

    assert_eq!(take(&mut machine, submitter(), &offer(1), at(5)), confirmed);
    machine.accept(None, "me", at(5));
    assert_eq!(take(&mut machine, submitter(), &offer(1), at(5)), confirmed);
    machine.finish(&id(1), &done(b"r"), at(5)).unwrap();
    assert_eq!(take(&mut machine, submitter(), &offer(1), at(5)), confirmed);

    assert_eq!((machine.len(), state(&machine)), (1, TaskState::Succeeded));
}

#[test]
fn a_repeated_offer_waits_for_the_commit_of_the_first() {
    let mut machine = worker();
    take(&mut machine, submitter(), &offer(1), at(0));
    while machine.poll_output().is_some() {}

    take(&mut machine, submitter(), &offer(1), at(0));

    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Persist { .. })));
}

#[test]
fn nobody_can_touch_the_task_of_another() {
    let mut machine = queued(&offer(1));
    let before = task(&machine).clone();

    assert_eq!(refused(&mut machine, stranger(), &offer(1)), TaskRefusal::Invalid);
    let answer = machine.handle_cancel(stranger(), &cancel(1), at(1));
    assert_eq!(answer, TaskAnswer::Refused(TaskRefusal::Unknown));

    assert_eq!(task(&machine), &before);
    assert_eq!(machine.poll_output(), None);
}

#[test]
fn earlier_attempts_and_other_content_are_refused() {
    let mut machine = queued(&Offer { attempt: 2, ..offer(1) });

    let older = refused(&mut machine, submitter(), &offer(1));
    let body = b"other"[..].into();
    let content = refused(&mut machine, submitter(), &Offer { attempt: 2, body, ..offer(1) });
    let none = refused(&mut machine, submitter(), &Offer { attempt: 0, ..offer(2) });

    assert_eq!(older, TaskRefusal::Superseded);
    assert_eq!((content, none), (TaskRefusal::Invalid, TaskRefusal::Invalid));
    let older = machine.handle_cancel(submitter(), &cancel(1), at(1));
    assert_eq!(older, TaskAnswer::Refused(TaskRefusal::Superseded));
    assert_eq!(state(&machine), TaskState::Queued);
}

#[test]
fn who_may_not_submit_is_told_so() {
    let facts = OfferFacts {
        digest: Digest::of(b""),
        len: 0,
        summary: String::new(),
        exclusive: None,
        leave_result: false,
        files: Ok(()),
    };

    let verdict = worker().handle_offer(submitter(), &offer(1), &facts, false, at(0));

    assert_eq!(verdict.answer, TaskAnswer::Refused(TaskRefusal::NotAllowed));
}

#[test]
fn an_offer_without_its_files_is_refused_until_they_are_here() {
    let mut machine = worker();
    let offered = |machine: &mut Worker, files| {
        let facts = OfferFacts {
            digest: Digest::of(&[1]),
            len: 1,
            summary: String::new(),
            exclusive: None,
            leave_result: false,
            files,
        };
        machine.handle_offer(submitter(), &offer(1), &facts, true, at(0))
    };

    for refusal in [TaskRefusal::Internal, TaskRefusal::Invalid] {
        let verdict = offered(&mut machine, Err(refusal));
        let answer = TaskAnswer::Refused(refusal);
        assert_eq!(verdict, OfferVerdict { answer, keep_body: false });
        assert!(machine.is_empty() && machine.poll_output().is_none());
    }
    assert_eq!(offered(&mut machine, Ok(())).answer, TaskAnswer::Offered);

    let again = offered(&mut machine, Err(TaskRefusal::Invalid));
    assert_eq!(again.answer, TaskAnswer::Offered, "they may have been removed since");
}

#[test]
fn the_queue_has_a_limit_for_each_submitter_and_one_for_all() {
    let mut machine = Worker::new(key(2), WorkerLimits { in_all: 3, per_submitter: 2 });
    take(&mut machine, submitter(), &offer(1), at(0));
    take(&mut machine, submitter(), &offer(2), at(0));

    assert_eq!(refused(&mut machine, submitter(), &offer(3)), TaskRefusal::QueueFull);
    let answer = machine.handle_cancel(submitter(), &cancel(9), at(0));
    assert_eq!(answer, TaskAnswer::Refused(TaskRefusal::QueueFull));
    assert_eq!(take(&mut machine, stranger(), &offer(4), at(0)).answer, TaskAnswer::Offered);
    assert_eq!(refused(&mut machine, stranger(), &offer(5)), TaskRefusal::QueueFull);
    assert_eq!(machine.queued(), 3);
}

#[test]
fn a_confirmed_result_makes_room() {
    let mut machine = Worker::new(key(2), WorkerLimits { in_all: 1, per_submitter: 1 });
    take(&mut machine, submitter(), &offer(1), at(0));
    machine.decline(&id(1), "no", at(0)).unwrap();
    assert_eq!(refused(&mut machine, submitter(), &offer(2)), TaskRefusal::QueueFull);
    let sent = send_one(&mut machine, at(0));

    answer(&mut machine, &sent.key, &delivery::receipt_for(sent.clone()));
    drain(&mut machine);

    assert_eq!(take(&mut machine, submitter(), &offer(2), at(0)).answer, TaskAnswer::Offered);
}

#[test]
fn a_late_offer_of_a_cancelled_task_does_not_run() {
    let mut machine = worker();

    assert_eq!(machine.handle_cancel(submitter(), &cancel(1), at(0)), TaskAnswer::Cancelling);
    let verdict = take(&mut machine, submitter(), &offer(1), at(1));

    assert_eq!(verdict, OfferVerdict { answer: TaskAnswer::Offered, keep_body: false });
    assert_eq!((state(&machine), machine.accept(None, "me", at(2))), (TaskState::Cancelled, None));
    assert_eq!(send_one(&mut machine, at(2)).key.kind, OutgoingKind::Result);
}

#[test]
fn the_queue_of_a_peer_that_lost_our_trust_is_declined() {
    let mut machine = accepted(&offer(1));
    take(&mut machine, submitter(), &offer(2), at(0));
    take(&mut machine, stranger(), &offer(3), at(0));

    machine.handle_trust_lost(submitter(), at(2));

    let states = [1, 2, 3].map(|number| machine.task(&id(number)).unwrap().state());
    assert_eq!(states, [TaskState::Accepted, TaskState::Declined, TaskState::Queued]);
    let notice = task(&machine).cancel.clone().unwrap();
    assert_eq!(
        (notice.until, notice.reason.as_str()),
        (at(32), "the submitter is no longer trusted")
    );
    machine.handle_trust_lost(submitter(), at(9));
    assert_eq!(task(&machine).cancel, Some(notice), "the grace begins once");
    machine.handle_timeout(at(32));
    assert_eq!(state(&machine), TaskState::Cancelled);
}
