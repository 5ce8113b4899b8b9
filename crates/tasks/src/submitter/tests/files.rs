//! Files that go ahead of a task.

use pilot_proto::TransferId;
use pilot_proto::tasks::Attached;

use super::*;

fn attached() -> Attached {
    let transfer = TransferId::from_bytes([9; 16]);
    Attached { transfer, manifest_hash: [1; 32], files: 3, bytes: 5 }
}

fn with_files() -> Submission {
    Submission { attached: Some(attached()), ..submission(1) }
}

/// A submitter whose task 1 waits for its files.
fn held_back(submission: Submission) -> Submitter {
    let mut machine = submitter();
    machine.submit(submission, at(0)).unwrap();
    assert_eq!(send(&mut machine, at(0)), []);
    machine
}

/// What is to be cancelled after all that came out.
fn unloaded(machine: &mut Submitter) -> Vec<TransferId> {
    let mut unloaded = Vec::new();
    let mut persisted = false;
    while let Some(output) = machine.poll_output() {
        match output {
            SubmitterOutput::Persist(record) => {
                persisted = true;
                machine.handle_persisted(&record.terms.id, record.revision);
            }
            SubmitterOutput::Unload(id) => {
                assert!(persisted, "it is remembered with the record");
                unloaded.push(id);
            }
            SubmitterOutput::Changed { .. }
            | SubmitterOutput::Owed { .. }
            | SubmitterOutput::Send { .. }
            | SubmitterOutput::Place => {}
        }
    }
    unloaded
}

#[test]
fn a_task_is_offered_once_its_files_are_there() {
    let mut machine = held_back(with_files());
    assert_eq!(machine.task(&id(1)).unwrap().reason(), "its files are on their way");
    assert_eq!(machine.task(&id(1)).unwrap().awaits_files(), Some(&attached()));

    machine.handle_files_arrived(&id(1), at(1));
    machine.handle_files_arrived(&id(1), at(2));

    assert_eq!(drain_records(&mut machine).len(), 1, "said again, it is no news");
    assert_eq!(machine.task(&id(1)).unwrap().reason(), "");
    let key = send_one(&mut machine, at(1));
    assert_eq!(key.kind, OutgoingKind::Offer);
    answer(&mut machine, &key, &TaskAnswer::Offered, at(2));
    assert_eq!(state(&machine), TaskState::Delivered);
    assert_eq!(unloaded(&mut machine), []);
}

#[test]
fn a_task_without_its_files_ends_and_says_why() {
    let mut machine = held_back(with_files());

    machine.handle_files_failed(&id(1), "its files were not taken: no room", at(1));

    let task = machine.task(&id(1)).unwrap();
    assert_eq!(task.state(), TaskState::Cancelled);
    assert_eq!(task.reason(), "its files were not taken: no room");
    assert_eq!(unloaded(&mut machine), [attached().transfer]);
    assert!(machine.is_empty(), "nobody has to be told of it");
}

#[test]
fn whatever_ends_a_task_ends_the_way_of_its_files_and_tells_nobody_else() {
    let limited = Submission {
        deadline: Some(at(9)),
        queue_timeout: Some(Duration::from_secs(9)),
        ..with_files()
    };
    type End = fn(&mut Submitter);
    let table: [(TaskState, End); 4] = [
        (TaskState::Cancelled, |machine| {
            machine.cancel(&id(1), Duration::ZERO, "", at(1)).unwrap();
        }),
        (TaskState::Expired, |machine| machine.handle_timeout(at(9))),
        (TaskState::Declined, |machine| {
            machine.handle_trust_lost(worker(), TrustLoss::There, at(1));
        }),
        (TaskState::Cancelled, |machine| {
            machine.handle_trust_lost(worker(), TrustLoss::Here, at(1));
        }),
    ];

    for (ended, end) in table {
        let mut machine = held_back(limited.clone());
        end(&mut machine);

        assert_eq!(state(&machine), ended);
        assert_eq!(unloaded(&mut machine), [attached().transfer]);
        assert!(machine.is_empty());
        machine.handle_files_arrived(&id(1), at(10));
        assert_eq!(machine.poll_output(), None, "it is too late for them");
    }
}

#[test]
fn files_that_are_there_are_not_cancelled_with_their_task() {
    let mut machine = held_back(with_files());
    machine.handle_files_arrived(&id(1), at(1));
    drain(&mut machine);

    machine.cancel(&id(1), Duration::ZERO, "", at(2)).unwrap();
    machine.handle_files_failed(&id(1), "too late", at(3));

    assert_eq!(unloaded(&mut machine), []);
    assert_eq!(send_one(&mut machine, at(3)).kind, OutgoingKind::Cancel);
    assert_eq!(machine.task(&id(1)).unwrap().reason(), "");
}

#[test]
fn a_worker_that_read_of_a_task_in_its_transfer_cannot_speak_of_it_before_the_offer() {
    let mut machine = held_back(with_files());
    let before = machine.task(&id(1)).unwrap().clone();
    let unknown = TaskAnswer::Refused(TaskRefusal::Unknown);

    let updated = machine.handle_update(worker(), &update(9, WorkState::Running), at(1));
    let delivered = deliver(&mut machine, Outcome::Succeeded, b"r");

    assert_eq!((updated, delivered.answer, delivered.keep), (unknown.clone(), unknown, None));
    assert_eq!(machine.task(&id(1)), Some(&before));
}

#[test]
fn a_restored_task_still_waits_for_its_files() {
    let mut machine = held_back(with_files());
    machine.submit(submission(2), at(0)).unwrap();
    drain(&mut machine);
    let records: Vec<SubmittedTask> = machine.tasks().cloned().collect();

    let mut machine = submitter();
    records.into_iter().for_each(|record| machine.restore(record));

    assert_eq!(send_one(&mut machine, at(1)).id, id(2));
    machine.handle_files_arrived(&id(1), at(2));
    assert_eq!(send_one(&mut machine, at(2)).id, id(1));
}
