//! Leases that end with a process, tasks put back, and keys that exclude.

use super::*;
use crate::received::Process;

const SHELL: Process = Process { pid: 7, started: 70, boot: 1 };
const OTHER: Process = Process { pid: 8, started: 80, boot: 1 };

fn keyed(machine: &mut Worker, number: u8, peer: NodeId, key: &str) {
    let offer = offer(number);
    let facts = OfferFacts {
        digest: Digest::of(&offer.body),
        len: offer.body.len() as u64,
        summary: String::new(),
        exclusive: Some(key.to_owned()),
        leave_result: false,
        files: Ok(()),
    };
    let verdict = machine.handle_offer(peer, &offer, &facts, true, at(u64::from(number)));
    assert_eq!(verdict.answer, TaskAnswer::Offered);
}

fn bound(machine: &mut Worker, process: Process) -> TaskId {
    machine.accept_bound(None, "me", Some(process), at(1)).unwrap()
}

/// Which of the outputs are about processes, or wake those who wait.
fn calls(machine: &mut Worker) -> Vec<WorkerOutput> {
    let mut calls = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            WorkerOutput::Bound(_) | WorkerOutput::Unbound(_) | WorkerOutput::Ready => {
                calls.push(output);
            }
            WorkerOutput::Persist { record, .. } => {
                machine.handle_persisted(&record.terms.id, record.revision);
            }
            WorkerOutput::Changed { .. }
            | WorkerOutput::Owed { .. }
            | WorkerOutput::Send { .. }
            | WorkerOutput::ForgetBody(_)
            | WorkerOutput::ForgetTask(_)
            | WorkerOutput::ForgetResult(_) => {}
        }
    }
    calls
}

fn state_of(machine: &Worker, number: u8) -> TaskState {
    machine.task(&id(number)).unwrap().state()
}

#[test]
fn a_process_is_watched_from_its_first_lease_to_its_last() {
    let mut machine = queued(&offer(1));
    take(&mut machine, submitter(), &offer(2), at(0));
    drain(&mut machine);

    bound(&mut machine, SHELL);
    assert_eq!(calls(&mut machine), [WorkerOutput::Bound(SHELL)]);
    bound(&mut machine, SHELL);
    assert_eq!(calls(&mut machine), []);
    assert_eq!((machine.bound(), machine.processes().count()), (2, 1));

    machine.finish(&id(1), &done(b"r"), at(2)).unwrap();
    assert_eq!(calls(&mut machine), []);
    machine.decline(&id(2), "no", at(2)).unwrap();
    assert_eq!(calls(&mut machine), [WorkerOutput::Unbound(SHELL)]);
    assert_eq!(machine.bound(), 0);
}

#[test]
fn what_a_process_had_is_queued_again_in_its_old_place_once_it_is_gone() {
    let mut machine = queued(&offer(1));
    for number in 2..=4 {
        take(&mut machine, submitter(), &offer(number), at(u64::from(number)));
    }
    assert_eq!(bound(&mut machine, SHELL), id(1));
    assert_eq!(bound(&mut machine, OTHER), id(2));
    assert_eq!(bound(&mut machine, SHELL), id(3));
    machine.progress(&id(1), Some(40), Some("half"), at(5)).unwrap();
    drain(&mut machine);

    assert!(!machine.handle_process_gone(&SHELL, at(6)));

    let told = calls(&mut machine);
    assert!(told.contains(&WorkerOutput::Unbound(SHELL)) && told.contains(&WorkerOutput::Ready));
    let states = [1, 2, 3].map(|number| state_of(&machine, number));
    assert_eq!(states, [TaskState::Queued, TaskState::Accepted, TaskState::Queued]);
    let lost = task(&machine);
    assert_eq!((lost.extras.lost, lost.percent, lost.note.as_str()), (1, None, ""));
    assert_eq!(lost.history.changes().last().unwrap().cause, "its worker process is gone");
    let accepted: Vec<_> = (0..3).filter_map(|_| machine.accept(None, "me", at(7))).collect();
    assert_eq!(accepted, [id(1), id(3), id(4)]);
    assert!(!machine.handle_process_gone(&SHELL, at(8)), "it has nothing any more");
    assert_eq!(state(&machine), TaskState::Accepted);
}

#[test]
fn the_submitter_hears_that_a_task_is_queued_again() {
    let mut machine = queued(&offer(1));
    bound(&mut machine, SHELL);
    let told = send_one(&mut machine, at(2));
    answer(&mut machine, &told.key, &TaskAnswer::Updated);

    machine.handle_process_gone(&SHELL, at(3));

    let sent = send_one(&mut machine, at(4));
    let TaskRequest::Update(update) = sent.into_request(bytes::Bytes::new()) else { panic!() };
    assert_eq!((update.state, update.percent), (WorkState::Queued, None));
}

#[test]
fn a_task_under_which_three_processes_died_fails_for_good() {
    let mut machine = queued(&offer(1));
    for _ in 1..MAX_LOST {
        bound(&mut machine, SHELL);
        machine.handle_process_gone(&SHELL, at(2));
        assert_eq!(state(&machine), TaskState::Queued);
    }
    bound(&mut machine, SHELL);
    drain(&mut machine);

    machine.handle_process_gone(&SHELL, at(3));

    let Some(WorkerOutput::Persist { result_body: Some(body), .. }) = machine.poll_output() else {
        panic!("it ended without a result")
    };
    let body = ResultBody::decode(&body).unwrap();
    assert!(body.extras.lost && !body.extras.no_retry);
    assert_eq!(
        body.reason.as_str(),
        "its worker process died under it 3 times: it may be what kills it"
    );
    assert_eq!(state(&machine), TaskState::Failed);
}

#[test]
fn a_task_that_is_to_be_cancelled_ends_with_its_process() {
    let mut machine = queued(&offer(1));
    bound(&mut machine, SHELL);
    machine.handle_cancel(submitter(), &cancel(1), at(2));

    machine.handle_process_gone(&SHELL, at(3));

    assert_eq!(state(&machine), TaskState::Cancelled);
}

#[test]
fn leases_are_known_again_after_a_restart() {
    let mut machine = queued(&offer(1));
    bound(&mut machine, SHELL);
    machine.progress(&id(1), None, None, at(2)).unwrap();
    let record = ReceivedTask::decode(&task(&machine).encode().unwrap()).unwrap();

    let mut restarted = worker();
    restarted.restore(record);

    assert_eq!(calls(&mut restarted), [WorkerOutput::Bound(SHELL)]);
    restarted.handle_process_gone(&SHELL, at(9));
    assert_eq!(state(&restarted), TaskState::Queued);
}

#[test]
fn an_accept_that_is_repeated_is_bound_to_the_process_that_repeats_it() {
    let mut machine = queued(&offer(1));
    bound(&mut machine, SHELL);
    drain(&mut machine);

    assert_eq!(machine.accept_again("me", Some(OTHER)), Some(id(1)));
    assert_eq!(calls(&mut machine), [WorkerOutput::Unbound(SHELL), WorkerOutput::Bound(OTHER)]);
    assert_eq!(machine.accept_again("me", None), Some(id(1)));
    machine.handle_process_gone(&SHELL, at(2));

    assert_eq!(task(&machine).extras.bound, Some(OTHER));
}

#[test]
fn what_is_put_back_for_later_waits_for_its_time() {
    let mut machine = accepted(&offer(1));
    take(&mut machine, submitter(), &offer(2), at(2));
    machine.progress(&id(1), Some(9), None, at(2)).unwrap();

    assert_eq!(machine.put_back(&id(1), Duration::from_secs(30), "busy", at(5)), Ok(()));

    assert_eq!((state(&machine), machine.queued()), (TaskState::Queued, 2));
    assert_eq!(task(&machine).history.changes().last().unwrap().cause, "busy");
    assert_eq!(machine.next_deadline(), Some(at(35)));
    assert_eq!(machine.accept(None, "me", at(34)), Some(id(2)));
    assert_eq!(machine.accept(None, "me", at(34)), None);
    drain(&mut machine);
    machine.handle_timeout(at(35));
    assert_eq!(calls(&mut machine), [WorkerOutput::Ready]);
    assert_eq!(machine.next_deadline(), None);
    assert_eq!(machine.accept(None, "me", at(35)), Some(id(1)));
    assert_eq!(task(&machine).extras.released, 1);
}

#[test]
fn only_what_a_worker_has_is_put_back() {
    let put_back = |machine: &mut Worker| machine.put_back(&id(1), Duration::ZERO, "", at(5));

    assert_eq!(put_back(&mut worker()), Err(NotAtWork::Unknown));
    assert_eq!(put_back(&mut queued(&offer(1))), Err(NotAtWork::NotAccepted));
    let mut machine = accepted(&offer(1));
    assert_eq!(put_back(&mut machine), Ok(()));
    assert_eq!(machine.accept(None, "me", at(5)), Some(id(1)), "at once");
    machine.handle_cancel(submitter(), &cancel(1), at(5));
    assert_eq!(put_back(&mut machine), Ok(()));
    let state = TaskState::Cancelled;
    assert_eq!(self::state(&machine), state);
    assert_eq!(put_back(&mut machine), Err(NotAtWork::Ended { state }));
}

#[test]
fn what_was_accepted_in_time_is_not_late_when_it_comes_back() {
    let offer = Offer { queue_timeout_ms: Some(5_000), ..offer(1) };
    let mut machine = accepted(&offer);

    machine.put_back(&id(1), Duration::from_secs(30), "", at(60)).unwrap();
    machine.handle_timeout(at(90));

    assert_eq!(machine.accept(None, "me", at(100)), Some(id(1)));
}

#[test]
fn the_deadline_of_a_task_ends_it_while_it_waits_for_its_time() {
    let mut machine = accepted(&Offer { deadline_ms: Some(20_000), ..offer(1) });
    machine.put_back(&id(1), Duration::from_secs(60), "", at(5)).unwrap();

    machine.handle_timeout(at(20));

    assert_eq!((state(&machine), machine.next_deadline()), (TaskState::Expired, None));
}

#[test]
fn of_the_tasks_of_a_key_one_is_worked_on_at_a_time() {
    let mut machine = worker();
    keyed(&mut machine, 1, submitter(), "gpu");
    keyed(&mut machine, 2, submitter(), "gpu");
    keyed(&mut machine, 3, stranger(), "gpu");
    keyed(&mut machine, 4, stranger(), "disk");
    take(&mut machine, submitter(), &offer(5), at(5));
    let mut accept = |from| machine.accept(from, "me", at(9));

    assert_eq!([accept(None), accept(None)], [Some(id(1)), Some(id(4))]);
    assert_eq!(accept(Some(stranger())), None);
    assert_eq!([accept(None), accept(None)], [Some(id(5)), None]);
    assert_eq!(machine.queued(), 2);
    drain(&mut machine);

    machine.finish(&id(1), &done(b"r"), at(10)).unwrap();
    assert_eq!(calls(&mut machine), [WorkerOutput::Ready]);
    assert_eq!(machine.accept(Some(stranger()), "me", at(11)), Some(id(3)));
    assert_eq!(machine.accept(None, "me", at(11)), None);
    machine.put_back(&id(3), Duration::from_secs(9), "", at(12)).unwrap();
    assert_eq!(machine.accept(None, "me", at(12)), Some(id(2)));
    machine.handle_timeout(at(21));
    assert_eq!(machine.accept(None, "me", at(21)), None, "its time has come, not its turn");
}

#[test]
fn a_key_is_held_again_after_a_restart() {
    let mut machine = worker();
    keyed(&mut machine, 1, submitter(), "gpu");
    keyed(&mut machine, 2, submitter(), "gpu");
    machine.accept(None, "me", at(3)).unwrap();
    let mut restarted = worker();
    for task in machine.tasks() {
        restarted.restore(task.clone());
    }

    assert_eq!(restarted.accept(None, "me", at(4)), None);
    restarted.decline(&id(1), "no", at(5)).unwrap();

    assert_eq!(restarted.accept(None, "me", at(6)), Some(id(2)));
}

#[test]
fn the_tasks_of_a_key_come_one_after_the_other_in_their_order() {
    let mut machine = worker();
    for number in 0..=u8::MAX {
        keyed(&mut machine, number, submitter(), "gpu");
    }

    for number in 0..=u8::MAX {
        assert_eq!(machine.accept(None, "me", at(999)), Some(id(number)));
        assert_eq!(machine.accept(None, "me", at(999)), None);
        machine.finish(&id(number), &done(b"r"), at(999)).unwrap();
    }
    assert_eq!(machine.queued(), 0);
}
