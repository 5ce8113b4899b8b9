//! From accept to the end.

use super::*;

#[test]
fn the_highest_priority_is_accepted_first_then_the_oldest() {
    let mut machine = worker();
    for (number, priority, peer) in
        [(1, 0, submitter()), (2, 7, stranger()), (3, 0, stranger()), (4, 7, submitter())]
    {
        let offer = Offer { priority, ..offer(number) };
        take(&mut machine, peer, &offer, at(u64::from(number)));
    }

    let mut accept = |from| machine.accept(from, "me", at(9));
    assert_eq!(accept(Some(submitter())), Some(id(4)));
    assert_eq!(
        [accept(None), accept(None), accept(None), accept(None)],
        [Some(id(2)), Some(id(1)), Some(id(3)), None]
    );
}

#[test]
fn what_ran_out_of_time_is_passed_by() {
    let mut machine = queued(&Offer { queue_timeout_ms: Some(1_000), priority: 9, ..offer(1) });
    take(&mut machine, submitter(), &offer(2), at(0));

    assert_eq!(machine.accept(None, "me", at(1)), Some(id(2)));
    assert_eq!(machine.accept(None, "me", at(1)), None);
}

#[test]
fn progress_makes_it_running_and_tells_the_submitter_the_latest_only() {
    let mut machine = accepted(&offer(1));
    assert_eq!(machine.progress(&id(1), Some(250), Some("half"), at(2)), Ok(()));
    assert_eq!(machine.progress(&id(1), None, None, at(3)), Ok(()));

    let sent = send_one(&mut machine, at(4));

    let TaskRequest::Update(update) = sent.clone().into_request(bytes::Bytes::new()) else {
        panic!("{sent:?}")
    };
    let expected = Update {
        id: id(1),
        attempt: 1,
        revision: 4,
        state: WorkState::Running,
        percent: Some(100),
        note: Text::clipped("half"),
        accepted_ms_ago: Some(3_000),
    };
    assert_eq!(update, expected);
    answer(&mut machine, &sent.key, &TaskAnswer::Updated);
    assert!(send(&mut machine, at(5)).is_empty());
    machine.progress(&id(1), Some(60), None, at(6)).unwrap();
    assert_eq!(send_one(&mut machine, at(6)).key.revision, 5);
}

#[test]
fn progress_and_results_need_an_acceptor() {
    let mut machine = queued(&offer(1));

    assert_eq!(machine.progress(&id(1), None, None, at(1)), Err(NotAtWork::NotAccepted));
    assert_eq!(machine.finish(&id(1), &done(b"r"), at(1)), Err(FinishError::NotAccepted));
    assert_eq!(machine.progress(&id(2), None, None, at(1)), Err(NotAtWork::Unknown));
    assert_eq!(machine.finish(&id(2), &done(b"r"), at(1)), Err(FinishError::Unknown));
    assert_eq!(machine.decline(&id(2), "", at(1)), Err(DeclineError::Unknown));
}

#[test]
fn the_same_result_again_is_harmless_and_another_is_a_conflict() {
    let mut machine = accepted(&offer(1));
    let state = TaskState::Succeeded;

    assert_eq!(machine.finish(&id(1), &done(b"r"), at(2)), Ok(Finished { state, new: true }));
    let revision = task(&machine).revision;

    assert_eq!(machine.finish(&id(1), &done(b"r"), at(3)), Ok(Finished { state, new: false }));
    let conflict = Err(FinishError::Conflict { state });
    assert_eq!(machine.finish(&id(1), &done(b"x"), at(3)), conflict);
    assert_eq!(machine.finish(&id(1), &work(WorkOutcome::Failed, b"r"), at(3)), conflict);
    let ended = Err(NotAtWork::Ended { state });
    assert_eq!(machine.progress(&id(1), Some(1), None, at(3)), ended);
    assert_eq!(machine.decline(&id(1), "", at(3)), Err(DeclineError::Ended { state }));
    assert_eq!(task(&machine).revision, revision);
}

#[test]
fn a_task_can_be_declined_until_work_on_it_has_begun() {
    let mut machine = queued(&offer(1));
    assert_eq!(machine.decline(&id(1), "not mine", at(1)), Ok(()));
    assert_eq!(machine.decline(&id(1), "still not", at(1)), Ok(()));
    assert_eq!((state(&machine), machine.queued()), (TaskState::Declined, 0));
    assert_eq!(task(&machine).ending().unwrap().reason, "not mine");

    let mut machine = accepted(&offer(1));
    machine.progress(&id(1), None, None, at(1)).unwrap();
    assert_eq!(machine.decline(&id(1), "too late", at(1)), Err(DeclineError::Running));
    let mut machine = accepted(&offer(1));
    assert_eq!(machine.decline(&id(1), "no", at(1)), Ok(()));
}

#[test]
fn cancelling_a_queued_task_ends_it() {
    let mut machine = queued(&offer(1));

    assert_eq!(machine.handle_cancel(submitter(), &cancel(1), at(1)), TaskAnswer::Cancelling);

    let body = machine.poll_output().and_then(|output| match output {
        WorkerOutput::Persist { result_body, .. } => result_body,
        WorkerOutput::Changed { .. }
        | WorkerOutput::Ready
        | WorkerOutput::Owed { .. }
        | WorkerOutput::Send { .. }
        | WorkerOutput::ForgetBody(_)
        | WorkerOutput::ForgetTask(_)
        | WorkerOutput::ForgetResult(_)
        | WorkerOutput::Bound(_)
        | WorkerOutput::Unbound(_) => None,
    });
    let body = ResultBody::decode(&body.unwrap()).unwrap();
    assert_eq!((state(&machine), body.reason.as_str()), (TaskState::Cancelled, "no need"));
    assert_eq!(machine.accept(None, "me", at(1)), None);
}

#[test]
fn whoever_works_on_a_cancelled_task_has_the_grace_to_stop() {
    let mut machine = accepted(&offer(1));

    assert_eq!(machine.handle_cancel(submitter(), &cancel(1), at(1)), TaskAnswer::Cancelling);
    machine.handle_cancel(submitter(), &Cancel { grace_ms: 0, ..cancel(1) }, at(2));

    assert_eq!(state(&machine), TaskState::Accepted);
    assert_eq!(task(&machine).cancel.as_ref().unwrap().until, at(6));
    assert_eq!(machine.next_deadline(), Some(at(6)));
    machine.handle_timeout(at(6));
    let state = TaskState::Cancelled;
    assert_eq!(self::state(&machine), state);
    let told = machine.finish(&id(1), &done(b"r"), at(7));
    assert_eq!(told, Err(FinishError::Ended { state }));
}

#[test]
fn a_result_within_the_grace_wins() {
    let mut machine = accepted(&offer(1));
    machine.handle_cancel(submitter(), &cancel(1), at(1));

    assert!(machine.finish(&id(1), &done(b"r"), at(2)).is_ok());
    machine.handle_timeout(at(60));

    assert_eq!((state(&machine), machine.next_deadline()), (TaskState::Succeeded, None));
    assert_eq!(machine.handle_cancel(submitter(), &cancel(1), at(61)), TaskAnswer::Cancelling);
    assert_eq!(state(&machine), TaskState::Succeeded);
}

#[test]
fn each_limit_of_time_ends_the_task_with_its_own_reason() {
    let limits = Offer {
        deadline_ms: Some(20_000),
        queue_timeout_ms: Some(5_000),
        run_timeout_ms: Some(10_000),
        ..offer(1)
    };
    let no_queue = Offer { queue_timeout_ms: None, ..limits.clone() };
    let no_run = Offer { run_timeout_ms: None, ..limits.clone() };
    let cases = [
        (queued(&limits), 5, "nobody accepted it before its queue timeout"),
        (queued(&no_queue), 20, "the deadline passed before it was accepted"),
        (accepted(&limits), 11, "it ran longer than its run timeout"),
        (accepted(&no_run), 20, "the deadline passed while it was worked on"),
    ];

    for (mut machine, due, reason) in cases {
        assert_eq!(machine.next_deadline(), Some(at(due)), "{reason}");
        machine.handle_timeout(at(due - 1));
        assert!(task(&machine).ending().is_none());
        machine.handle_timeout(at(due));
        assert_eq!(task(&machine).ending().unwrap().reason, reason);
        assert_eq!((state(&machine), machine.next_deadline()), (TaskState::Expired, None));
    }
}

#[test]
fn the_longest_times_that_can_be_asked_for_are_no_end() {
    let offer = Offer {
        deadline_ms: Some(u64::MAX),
        queue_timeout_ms: Some(u64::MAX),
        run_timeout_ms: Some(u64::MAX),
        ..offer(1)
    };
    let mut machine = accepted(&offer);

    machine.handle_cancel(submitter(), &Cancel { grace_ms: u64::MAX, ..cancel(1) }, at(1));
    machine.handle_timeout(at(1_000_000));

    assert_eq!(state(&machine), TaskState::Accepted);
}

#[test]
fn a_released_task_is_queued_again_and_its_submitter_hears_of_it() {
    let mut machine = accepted(&offer(1));
    let told = send_one(&mut machine, at(2));
    answer(&mut machine, &told.key, &TaskAnswer::Updated);

    let revision = machine.task(&id(1)).unwrap().revision;
    machine.release(&id(1), revision, "nobody took it", at(3));

    assert_eq!(state(&machine), TaskState::Queued);
    let sent = send_one(&mut machine, at(4));
    let TaskRequest::Update(update) = sent.into_request(bytes::Bytes::new()) else { panic!() };
    assert_eq!(update.state, WorkState::Queued);
    assert_eq!(machine.accept(None, "another", at(5)), Some(id(1)));
}

#[test]
fn only_an_accepted_task_is_released_and_a_cancelled_one_ends() {
    let mut running = accepted(&offer(1));
    running.progress(&id(1), Some(1), None, at(2)).unwrap();
    let revision = running.task(&id(1)).unwrap().revision;
    running.release(&id(1), revision, "too late", at(3));
    assert_eq!(state(&running), TaskState::Running);

    let mut cancelled = accepted(&offer(1));
    assert_eq!(cancelled.handle_cancel(submitter(), &cancel(1), at(2)), TaskAnswer::Cancelling);
    let revision = cancelled.task(&id(1)).unwrap().revision;
    cancelled.release(&id(1), revision, "nobody took it", at(3));
    assert_eq!(state(&cancelled), TaskState::Cancelled);
}

#[test]
fn who_got_no_answer_to_its_accept_asks_again_under_the_same_name() {
    let mut machine = worker();
    for number in 1..=2 {
        take(&mut machine, submitter(), &offer(number), at(0));
    }
    assert_eq!(machine.accept_again("me", None), None);

    assert_eq!(machine.accept(None, "me", at(1)), Some(id(1)));
    assert_eq!(machine.accept(None, "another", at(1)), Some(id(2)));
    drain(&mut machine);
    let record = machine.task(&id(1)).unwrap().clone();
    let revision = record.revision;
    let mut restarted = worker();
    restarted.restore(record);

    for machine in [&mut machine, &mut restarted] {
        assert_eq!(machine.accept_again("me", None), Some(id(1)));
        assert_eq!(machine.accept_again("nobody", None), None);
        machine.release(&id(1), revision, "the first asker was gone", at(2));
        assert_eq!(machine.task(&id(1)).unwrap().state(), TaskState::Accepted);
        machine.progress(&id(1), Some(1), None, at(2)).unwrap();
        assert_eq!(machine.accept_again("me", None), None, "it is at work and needs no answer");
    }
    assert_eq!(machine.accept_again("another", None), Some(id(2)));
    let revision = machine.task(&id(2)).unwrap().revision;
    machine.release(&id(2), revision, "nobody took it", at(3));
    assert_eq!(machine.accept_again("another", None), None);
}

#[test]
fn an_accept_that_is_repeated_waits_for_the_commit_of_the_first() {
    let mut machine = worker();
    take(&mut machine, submitter(), &offer(1), at(0));
    machine.accept(None, "me", at(1)).unwrap();
    while machine.poll_output().is_some() {}

    machine.accept_again("me", None).unwrap();

    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Persist { .. })));
}
