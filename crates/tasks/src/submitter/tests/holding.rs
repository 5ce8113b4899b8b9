//! Tasks that come after others, share a key, or wait for a worker.

use super::*;
use crate::placement::Pool;
use crate::plan::{Cycle, Dependency};

fn after(number: u8, others: &[u8]) -> Submission {
    let dependency = |number: &u8| Dependency { id: id(*number), over: false };
    let after = others.iter().map(dependency).collect();
    Submission { plan: Plan { after, ..Plan::default() }, ..submission(number) }
}

fn finish(machine: &mut Submitter, number: u8, outcome: Outcome, now: Timestamp) {
    let receipt = Receipt {
        task: id(number).uuid(),
        attempt: 1,
        submitter: key(1).id(),
        worker: worker(),
        outcome,
        digest: Digest::of(b"r"),
        times: ReceiptTimes::default(),
    };
    let receipt = receipt.sign(&key(2));
    let (_, facts) = result(outcome, b"r");
    let body = b"r".as_slice().into();
    let result = TaskResult { id: id(number), attempt: 1, outcome, body, receipt };
    let verdict = machine.handle_result(worker(), &result, &facts, now);
    assert!(matches!(verdict.answer, TaskAnswer::Receipt(_)), "{verdict:?}");
}

fn offered(machine: &mut Submitter, now: Timestamp) -> Vec<u8> {
    let sent = send(machine, now);
    sent.iter().for_each(|request| {
        answer(machine, &request.key, &TaskAnswer::Offered, now);
    });
    sent.iter().map(|request| request.key.id.as_bytes()[0]).collect()
}

fn states(machine: &mut Submitter) -> Vec<(u8, TaskState, String)> {
    let last = |record: &SubmittedTask| {
        (record.terms.id.as_bytes()[0], record.state(), record.reason().into_owned())
    };
    drain_records(machine).iter().map(last).collect()
}

#[test]
fn a_diamond_goes_in_its_order() {
    let mut machine = submitter();
    for submission in [after(1, &[]), after(2, &[1]), after(3, &[1]), after(4, &[2, 3])] {
        machine.submit(submission, at(0)).unwrap();
    }

    assert_eq!(offered(&mut machine, at(0)), [1]);
    finish(&mut machine, 1, Outcome::Succeeded, at(1));
    assert_eq!(offered(&mut machine, at(1)), [2, 3]);
    finish(&mut machine, 3, Outcome::Succeeded, at(2));
    assert_eq!(offered(&mut machine, at(2)), [0_u8; 0]);
    finish(&mut machine, 2, Outcome::Succeeded, at(3));
    assert_eq!(offered(&mut machine, at(3)), [4]);
}

#[test]
fn who_comes_after_a_failure_is_cancelled_with_all_behind_it() {
    let mut machine = submitter();
    for submission in [after(1, &[]), after(2, &[1]), after(3, &[2])] {
        machine.submit(submission, at(0)).unwrap();
    }
    let mut anyway = after(4, &[1]);
    anyway.plan.run_anyway = true;
    machine.submit(anyway, at(0)).unwrap();
    assert_eq!(offered(&mut machine, at(0)), [1]);

    finish(&mut machine, 1, Outcome::Failed, at(1));
    let ended = states(&mut machine);

    let why = |over: u8, how: &str| format!("task {}, which it comes after, {how}", id(over));
    assert!(ended.contains(&(2, TaskState::Cancelled, why(1, "failed"))), "{ended:?}");
    assert!(ended.contains(&(3, TaskState::Cancelled, why(2, "was cancelled"))), "{ended:?}");
    assert_eq!(offered(&mut machine, at(1)), [4]);
    // One that comes too late for it ends the same way.
    machine.submit(after(5, &[4]), at(2)).unwrap();
    finish(&mut machine, 4, Outcome::Failed, at(2));
    assert!(states(&mut machine).contains(&(5, TaskState::Cancelled, why(4, "failed"))));
}

#[test]
fn what_is_not_known_or_waits_for_itself_is_refused() {
    let mut machine = submitter();

    let unknown = machine.submit(after(1, &[2]), at(0));
    assert_eq!(unknown, Err(SubmitError::NoSuchTask { id: id(2) }));
    let ring = machine.submit(after(1, &[1]), at(0));
    assert_eq!(ring, Err(SubmitError::Cycle(Cycle(vec![id(1)]))));
    assert!(drain_records(&mut machine).is_empty());
}

#[test]
fn of_those_with_one_key_one_at_a_time_is_offered() {
    let mut machine = submitter();
    for (number, priority) in [(1, 0), (2, 0), (3, 9)] {
        let plan = Plan { exclusive: Some("deploy".to_owned()), ..Plan::default() };
        machine.submit(Submission { plan, priority, ..submission(number) }, at(0)).unwrap();
    }

    assert_eq!(offered(&mut machine, at(0)), [1]);
    finish(&mut machine, 1, Outcome::Failed, at(1));
    assert_eq!(offered(&mut machine, at(1)), [3], "by priority");
    machine.cancel(&id(2), Duration::ZERO, "", at(1)).unwrap();
    drain(&mut machine);
    finish(&mut machine, 3, Outcome::Succeeded, at(2));
    assert_eq!(offered(&mut machine, at(2)), [0_u8; 0]);
    assert!(machine.is_empty());
}

#[test]
fn a_task_of_a_pool_waits_until_it_is_placed() {
    let plan = Plan { pool: Some(Pool::default()), ..Plan::default() };
    let mut machine = submitter();
    machine.submit(Submission { to: key(1).id(), plan, ..submission(1) }, at(0)).unwrap();
    drain(&mut machine);
    assert_eq!(machine.unplaced(9), [id(1)]);
    machine.not_placed(&id(1), "nobody is there", Vec::new(), at(1));
    drain(&mut machine);
    assert_eq!(machine.task(&id(1)).unwrap().reason(), "nobody is there");
    assert_eq!(machine.task(&id(1)).unwrap().worker(), None);

    let placing = Placing { to: worker(), body: None, attached: None, verdicts: Vec::new() };
    assert!(machine.place(&id(1), placing.clone(), at(2)));
    assert!(!machine.place(&id(1), placing, at(2)));
    drain(&mut machine);
    assert!(machine.take_back(&id(1), at(3)), "nobody has heard of it");
    drain(&mut machine);
    assert_eq!(machine.unplaced(9), [id(1)]);
    let placing = Placing { to: worker(), body: None, attached: None, verdicts: Vec::new() };
    assert!(machine.place(&id(1), placing, at(4)));
    let key = send_one(&mut machine, at(4));
    assert!(!machine.take_back(&id(1), at(4)), "it may have it");
    let declined = TaskAnswer::Refused(TaskRefusal::NotAllowed);
    answer(&mut machine, &key, &declined, at(4));

    let task = machine.task(&id(1)).unwrap();
    assert_eq!((task.state(), task.terms.attempt), (TaskState::Queued, 2));
    assert_eq!(task.extras.declined_by, [worker()]);
    assert_eq!(machine.unplaced(9), [id(1)], "another is looked for");
}

#[test]
fn who_declined_has_no_word_about_the_attempt_of_another_worker() {
    let plan = Plan { pool: Some(Pool::default()), ..Plan::default() };
    let mut machine = submitter();
    machine.submit(Submission { to: key(1).id(), plan, ..submission(1) }, at(0)).unwrap();
    drain(&mut machine);
    let placing = |to| Placing { to, body: None, attached: None, verdicts: Vec::new() };
    assert!(machine.place(&id(1), placing(key(3).id()), at(0)));
    while let Some(output) = machine.poll_output() {
        if let SubmitterOutput::Persist(record) = output {
            machine.handle_persisted(&record.terms.id, record.revision);
        }
    }
    let signed = |worker: u8, attempt: u32, outcome| {
        let receipt = Receipt {
            task: id(1).uuid(),
            attempt,
            submitter: key(1).id(),
            worker: key(worker).id(),
            outcome,
            digest: Digest::of(b"r"),
            times: ReceiptTimes::default(),
        };
        let receipt = receipt.sign(&key(worker));
        TaskResult { id: id(1), attempt, outcome, body: b"r".as_slice().into(), receipt }
    };
    let (_, facts) = result(Outcome::Succeeded, b"r");
    let declined = signed(3, 1, Outcome::Declined);
    machine.handle_result(key(3).id(), &declined, &facts, at(1));
    assert!(machine.place(&id(1), placing(worker()), at(1)));
    let key = send_one(&mut machine, at(1));
    answer(&mut machine, &key, &TaskAnswer::Offered, at(1));

    let usurped = signed(3, 2, Outcome::Succeeded);
    let verdict = machine.handle_result(super::key(3).id(), &usurped, &facts, at(2));
    assert_eq!(verdict.answer, TaskAnswer::Refused(TaskRefusal::Superseded));
    assert_eq!(state(&machine), TaskState::Delivered);

    let right = signed(2, 2, Outcome::Succeeded);
    let verdict = machine.handle_result(worker(), &right, &facts, at(3));
    assert!(matches!(verdict.answer, TaskAnswer::Receipt(_)), "{verdict:?}");
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all_also_with_keys_that_were_used_before() {
    let keyed = |submission: Submission, key: &str| Submission {
        idempotency_key: Some(key.to_owned()),
        ..submission
    };
    let mut machine = submitter();
    machine.submit(keyed(after(1, &[]), "a"), at(0)).unwrap();
    drain(&mut machine);

    // The second is the first of before, under another id.
    let batch = vec![after(5, &[]), keyed(after(2, &[]), "a"), after(3, &[2])];
    let taken = machine.submit_all(batch, at(1)).unwrap();
    let taken: Vec<_> = taken.iter().map(|taken| (taken.id, taken.new)).collect();
    assert_eq!(taken, [(id(5), true), (id(1), false), (id(3), true)]);
    let waits = machine.task(&id(3)).unwrap();
    assert_eq!(waits.extras.plan.awaited().collect::<Vec<_>>(), [id(1)]);
    drain(&mut machine);

    let bad = vec![after(7, &[]), after(8, &[9])];
    assert_eq!(machine.submit_all(bad, at(2)), Err(SubmitError::NoSuchTask { id: id(9) }));
    let ring = vec![after(6, &[]), after(7, &[8]), after(8, &[7])];
    assert!(matches!(machine.submit_all(ring, at(2)), Err(SubmitError::Cycle(_))));
    let twice = vec![keyed(after(7, &[]), "k"), keyed(after(8, &[]), "k")];
    assert!(matches!(machine.submit_all(twice, at(2)), Err(SubmitError::Conflict { .. })));
    assert!(drain_records(&mut machine).is_empty(), "none of them");
}

#[test]
fn a_key_is_free_once_whoever_may_be_at_it_was_told_to_stop() {
    let plan = || Plan { exclusive: Some("deploy".to_owned()), ..Plan::default() };
    let mut machine = submitter();
    for number in [1, 2] {
        let deadline = (number == 1).then(|| at(5));
        let submission = Submission { plan: plan(), deadline, ..submission(number) };
        machine.submit(submission, at(0)).unwrap();
    }
    assert_eq!(offered(&mut machine, at(0)), [1]);

    machine.handle_timeout(at(5));
    let key = send_one(&mut machine, at(5));
    assert_eq!((key.kind, key.id), (OutgoingKind::Cancel, id(1)));
    assert_eq!(machine.task(&id(2)).unwrap().state(), TaskState::Queued);
    answer(&mut machine, &key, &TaskAnswer::Cancelling, at(6));

    assert_eq!(offered(&mut machine, at(6)), [2]);
}
