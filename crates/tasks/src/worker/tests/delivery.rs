//! Results on their way, and receipts.

use super::*;

/// The submitter's answer to a result.
pub(super) fn receipt_for(sent: Outgoing) -> TaskAnswer {
    let TaskRequest::Result(result) = sent.into_request(bytes::Bytes::new()) else { panic!() };
    TaskAnswer::Receipt(Box::new(result.receipt.countersign(&key(1))))
}

/// A worker with a result, and that result on its way.
fn finished() -> (Worker, Outgoing) {
    let mut machine = accepted(&offer(1));
    machine.finish(&id(1), &done(b"r"), at(3)).unwrap();
    let sent = send_one(&mut machine, at(4));
    (machine, sent)
}

#[test]
fn a_result_carries_our_statement_about_it() {
    let (_, sent) = finished();
    assert_eq!((sent.key.kind, sent.body_len), (OutgoingKind::Result, 1));

    let TaskRequest::Result(result) = sent.into_request(b"r"[..].into()) else { panic!() };

    let receipt = result.receipt.verify().unwrap();
    assert_eq!((result.id, result.attempt, result.outcome), (id(1), 1, Outcome::Succeeded));
    assert_eq!((receipt.submitter, receipt.worker), (submitter(), key(2).id()));
    assert_eq!((receipt.task, receipt.digest), (id(1).uuid(), Digest::of(&result.body)));
    let times = receipt.times;
    assert_eq!((times.received, times.accepted, times.finished), (at(0), Some(at(1)), at(3)));
}

#[test]
fn a_result_does_not_wait_for_the_answer_to_an_update() {
    let mut machine = accepted(&offer(1));
    let update = send_one(&mut machine, at(2));
    machine.finish(&id(1), &done(b"r"), at(3)).unwrap();

    let result = send_one(&mut machine, at(3));
    answer(&mut machine, &update.key, &TaskAnswer::Updated);

    assert_eq!([update.key.kind, result.key.kind], [OutgoingKind::Update, OutgoingKind::Result]);
    assert!(send(&mut machine, at(4)).is_empty());
    answer(&mut machine, &result.key, &receipt_for(result.clone()));
    assert!(task(&machine).is_closed());
}

#[test]
fn only_the_receipt_closes_a_task_and_only_then_is_the_body_forgotten() {
    let (mut machine, sent) = finished();
    assert!(task(&machine).is_result_pending());

    answer(&mut machine, &sent.key, &receipt_for(sent.clone()));

    assert!(task(&machine).is_closed());
    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Persist { .. })));
    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Changed { .. })));
    assert_eq!(machine.poll_output(), Some(WorkerOutput::ForgetBody(id(1))));
    assert!(machine.knows(&id(1)), "not before it is on disk");
    machine.handle_persisted(&id(1), task(&machine).revision);
    assert!(machine.is_empty());
}

#[test]
fn receipts_for_anything_else_close_nothing() {
    let (_, sent) = finished();
    let TaskRequest::Result(result) = sent.into_request(bytes::Bytes::new()) else { panic!() };
    let statement = result.receipt.verify().unwrap().clone();
    let signed = |receipt: Receipt| receipt.sign(&key(2));
    let forged: [Countersigned; 5] = [
        result.receipt.countersign(&key(3)),
        signed(Receipt { task: id(2).uuid(), ..statement.clone() }).countersign(&key(1)),
        signed(Receipt { attempt: 2, ..statement.clone() }).countersign(&key(1)),
        signed(Receipt { digest: Digest::of(b"x"), ..statement.clone() }).countersign(&key(1)),
        signed(Receipt { submitter: stranger(), ..statement }).countersign(&key(3)),
    ];

    for receipt in forged {
        let (mut machine, sent) = finished();
        answer(&mut machine, &sent.key, &TaskAnswer::Receipt(Box::new(receipt)));

        assert!(task(&machine).is_result_pending());
        machine.handle_timeout(machine.next_deadline().unwrap());
        assert_eq!(send_one(&mut machine, at(20)).key, sent.key, "it is still owed");
    }
}

#[test]
fn an_unwanted_result_is_kept_without_its_task_and_sent_when_that_is_offered_again() {
    let (mut machine, sent) = finished();

    answer(&mut machine, &sent.key, &TaskAnswer::Refused(TaskRefusal::Unknown));

    let record = task(&machine).clone();
    assert!(record.is_result_pending() && record.is_settled());
    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Persist { .. })));
    assert!(matches!(machine.poll_output(), Some(WorkerOutput::Changed { .. })));
    assert_eq!(machine.poll_output(), Some(WorkerOutput::ForgetTask(id(1))));
    machine.handle_persisted(&id(1), record.revision);
    assert!(machine.is_empty());
    machine.restore(record);
    take(&mut machine, submitter(), &offer(1), at(9));
    assert_eq!(send_one(&mut machine, at(9)).key.kind, OutgoingKind::Result);
}

#[test]
fn results_that_were_refused_do_not_get_past_the_limits() {
    let mut machine = Worker::new(key(2), WorkerLimits { in_all: 9, per_submitter: 1 });
    take(&mut machine, submitter(), &offer(1), at(0));
    machine.decline(&id(1), "no", at(0)).unwrap();
    let sent = send_one(&mut machine, at(0));
    answer(&mut machine, &sent.key, &TaskAnswer::Refused(TaskRefusal::Unknown));
    let record = task(&machine).clone();
    drain(&mut machine);
    take(&mut machine, submitter(), &offer(2), at(1));
    drain(&mut machine);

    machine.restore(record);
    let verdict = take(&mut machine, submitter(), &offer(1), at(2));

    assert_eq!(verdict.answer, TaskAnswer::Refused(TaskRefusal::QueueFull));
    assert_eq!(machine.len(), 1);
}

#[test]
fn a_result_waits_for_room_or_trust() {
    let (mut machine, sent) = finished();

    answer(&mut machine, &sent.key, &TaskAnswer::Refused(TaskRefusal::DiskFull));
    assert!(send(&mut machine, at(9)).is_empty());
    assert_eq!(machine.next_deadline(), Some(at(10)));
    machine.handle_timeout(at(10));
    let sent = send_one(&mut machine, at(10));
    answer(&mut machine, &sent.key, &TaskAnswer::Refused(TaskRefusal::NotAllowed));
    assert_eq!((send(&mut machine, at(99)), machine.next_deadline()), (vec![], None));
    machine.handle_trust_changed(submitter());
    assert_eq!(send_one(&mut machine, at(99)).key, sent.key);
}

#[test]
fn a_restored_worker_goes_on_where_it_was() {
    let (mut machine, _) = finished();
    let limited = Offer { run_timeout_ms: Some(10_000), ..offer(2) };
    take(&mut machine, submitter(), &limited, at(5));
    machine.accept(None, "me", at(5)).unwrap();
    take(&mut machine, submitter(), &offer(3), at(5));
    drain(&mut machine);
    let records: Vec<ReceivedTask> = machine.tasks().cloned().collect();

    let mut machine = worker();
    records.into_iter().for_each(|record| machine.restore(record));

    assert_eq!(machine.poll_output(), Some(WorkerOutput::Owed { to: submitter() }));
    assert_eq!(machine.next_deadline(), Some(at(15)));
    let sent: Vec<_> = send(&mut machine, at(6)).iter().map(|sent| sent.key.id).collect();
    assert_eq!(sent, [id(1), id(2)]);
    assert_eq!(machine.accept(None, "me", at(6)), Some(id(3)));
    assert!(machine.next_deadline().is_some_and(|due| due.since(at(6)) < Duration::from_secs(10)));
}
