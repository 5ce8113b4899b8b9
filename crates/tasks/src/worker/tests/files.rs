//! Files that go ahead of a result.

use pilot_identity::Outcome;
use pilot_proto::TransferId;
use pilot_proto::tasks::Attached;

use super::*;

fn with_files(body: &[u8]) -> Work {
    let transfer = TransferId::from_bytes([9; 16]);
    let attached = Attached { transfer, manifest_hash: [1; 32], files: 3, bytes: 5 };
    Work { attached: Some(attached), ..done(body) }
}

/// A worker whose task 1 is done, and waits for the files of its result.
fn held_back() -> Worker {
    let mut machine = accepted(&offer(1));
    machine.finish(&id(1), &with_files(b"r"), at(2)).unwrap();
    drain(&mut machine);
    machine
}

fn kinds(sent: &[Outgoing]) -> Vec<OutgoingKind> {
    sent.iter().map(|request| request.key.kind).collect()
}

#[test]
fn a_result_is_sent_once_its_files_are_there_and_its_submitter_hears_that_work_goes_on() {
    let mut machine = held_back();
    assert!(task(&machine).is_result_pending() && !task(&machine).is_settled());

    let told = send_one(&mut machine, at(3));
    answer(&mut machine, &told.key, &TaskAnswer::Updated);
    assert_eq!(send(&mut machine, at(3)), [], "told once");
    let TaskRequest::Update(update) = told.into_request(bytes::Bytes::new()) else { panic!() };
    assert_eq!(update.state, WorkState::Running);
    machine.handle_files_arrived(&id(1), at(4));
    machine.handle_files_arrived(&id(1), at(5));

    let sent = send_one(&mut machine, at(5));
    let TaskRequest::Result(result) = sent.into_request(b"r"[..].into()) else { panic!() };
    assert_eq!(result.receipt.verify().unwrap().digest, Digest::of(b"r"));
    assert_eq!(state(&machine), TaskState::Succeeded);
}

#[test]
fn a_result_overtakes_the_update_that_was_sent_while_its_files_were_on_their_way() {
    let mut machine = held_back();
    assert_eq!(kinds(&send(&mut machine, at(3))), [OutgoingKind::Update]);

    machine.handle_files_arrived(&id(1), at(4));

    assert_eq!(kinds(&send(&mut machine, at(4))), [OutgoingKind::Result]);
}

#[test]
fn a_result_whose_files_do_not_get_there_has_failed() {
    let mut machine = held_back();
    let reason = "its files were not taken: no room".to_owned();
    let rest = Work { reason: reason.clone(), ..work(WorkOutcome::Failed, b"rest") };

    assert!(machine.handle_files_failed(&id(1), &rest, at(4)));
    assert!(!machine.handle_files_failed(&id(1), &rest, at(5)), "said again");
    machine.handle_files_arrived(&id(1), at(5));

    let ending = task(&machine).ending().unwrap().clone();
    assert_eq!((ending.outcome, ending.reason, ending.at), (Outcome::Failed, reason, at(4)));
    assert_eq!(ending.accepted, Some(at(1)));
    let sent = send_one(&mut machine, at(5));
    let TaskRequest::Result(result) = sent.into_request(b"rest"[..].into()) else { panic!() };
    let receipt = result.receipt.verify().unwrap();
    assert_eq!((receipt.outcome, receipt.digest), (Outcome::Failed, Digest::of(b"rest")));
    let state = TaskState::Failed;
    let again = machine.finish(&id(1), &with_files(b"r"), at(6));
    assert_eq!(again, Err(FinishError::Conflict { state }));
}

#[test]
fn files_that_are_there_or_never_were_do_not_fail() {
    let rest = work(WorkOutcome::Failed, b"rest");
    let mut with = held_back();
    with.handle_files_arrived(&id(1), at(3));
    let mut without = accepted(&offer(1));
    without.finish(&id(1), &done(b"r"), at(2)).unwrap();
    let mut running = accepted(&offer(1));

    for machine in [&mut with, &mut without, &mut running] {
        drain(machine);
        assert!(!machine.handle_files_failed(&id(1), &rest, at(4)));
        machine.handle_files_arrived(&id(1), at(4));
        assert_eq!(machine.poll_output(), None);
    }
}

#[test]
fn a_result_that_is_given_again_while_its_files_are_on_their_way_is_the_same() {
    let mut machine = held_back();
    let state = TaskState::Succeeded;

    let again = machine.finish(&id(1), &with_files(b"r"), at(3));
    let other = machine.finish(&id(1), &with_files(b"other"), at(3));

    assert_eq!(again, Ok(Finished { state, new: false }));
    assert_eq!(other, Err(FinishError::Conflict { state }));
}

#[test]
fn a_cancellation_leaves_a_result_whose_files_are_on_their_way() {
    let mut machine = held_back();

    assert_eq!(machine.handle_cancel(submitter(), &cancel(1), at(3)), TaskAnswer::Cancelling);
    machine.handle_timeout(at(60));
    machine.handle_files_arrived(&id(1), at(61));

    assert_eq!(state(&machine), TaskState::Succeeded);
    assert_eq!(send_one(&mut machine, at(61)).key.kind, OutgoingKind::Result);
}

#[test]
fn a_restored_result_still_waits_for_its_files() {
    let record = task(&held_back()).clone();

    let mut machine = worker();
    machine.restore(record);

    assert_eq!(kinds(&send(&mut machine, at(3))), [OutgoingKind::Update]);
    machine.handle_files_arrived(&id(1), at(4));
    assert_eq!(kinds(&send(&mut machine, at(4))), [OutgoingKind::Result]);
}
