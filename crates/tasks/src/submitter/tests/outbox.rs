//! New tasks, offers and their answers.

use super::*;

#[test]
fn submitting_again_finds_the_same_task() {
    let mut machine = submitter();
    let first = machine.submit(submission(1), at(0)).unwrap();

    let again = machine.submit(submission(1), at(1)).unwrap();

    assert_eq!((first, again.id, again.new), (Submitted { id: id(1), new: true }, id(1), false));
    assert_eq!(machine.len(), 1);
}

#[test]
fn an_id_stands_for_one_content_and_one_peer() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();

    let other = Submission { body_digest: Digest::of(b"other"), ..submission(1) };
    let elsewhere = Submission { to: key(3).id(), ..submission(1) };

    let conflict = Err(SubmitError::Conflict { id: id(1) });
    assert_eq!(machine.submit(other, at(1)), conflict);
    assert_eq!(machine.submit(elsewhere, at(1)), conflict);
}

#[test]
fn an_idempotency_key_finds_the_first_task_also_after_it_left_the_memory() {
    let keyed = |number| Submission { idempotency_key: Some("k".to_owned()), ..submission(number) };
    let mut machine = delivered(keyed(1));

    assert_eq!(machine.submit(keyed(2), at(1)), Ok(Submitted { id: id(1), new: false }));

    deliver(&mut machine, Outcome::Succeeded, b"r");
    let record = machine.task(&id(1)).unwrap().clone();
    drain(&mut machine);
    assert!(machine.is_empty() && !machine.knows_key("k"));
    machine.restore(record);
    assert_eq!(machine.submit(keyed(3), at(2)), Ok(Submitted { id: id(1), new: false }));
    assert!(machine.is_empty(), "what was only looked up leaves again");
}

#[test]
fn a_repeated_submit_waits_for_the_commit_of_the_first() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    while machine.poll_output().is_some() {}

    machine.submit(submission(1), at(0)).unwrap();

    assert!(matches!(machine.poll_output(), Some(SubmitterOutput::Persist(_))));
}

#[test]
fn no_more_than_the_limit_are_taken() {
    let mut machine = Submitter::new(key(1), 2);
    machine.submit(submission(1), at(0)).unwrap();
    machine.submit(submission(2), at(0)).unwrap();

    assert_eq!(machine.submit(submission(3), at(0)), Err(SubmitError::Full { limit: 2 }));
    assert!(machine.submit(submission(2), at(0)).is_ok());
}

#[test]
fn nothing_is_sent_before_it_is_on_disk() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    while machine.poll_output().is_some() {}

    machine.handle_link_ready(worker(), 100, u64::MAX, at(0));
    assert_eq!(machine.poll_output(), None);

    machine.handle_persisted(&id(1), 1);
    assert_eq!(machine.poll_output(), Some(SubmitterOutput::Owed { to: worker() }));
    assert!(machine.has_owed(&worker()));
    assert_eq!(send_one(&mut machine, at(0)).kind, OutgoingKind::Offer);
    assert!(!machine.has_owed(&worker()));
}

#[test]
fn an_offer_carries_the_time_that_is_left() {
    let mut machine = submitter();
    let terms = Submission {
        deadline: Some(at(60)),
        queue_timeout: Some(Duration::from_secs(30)),
        run_timeout: Some(Duration::from_secs(20)),
        priority: 3,
        ..submission(1)
    };
    machine.submit(terms, at(0)).unwrap();

    let sent = send(&mut machine, at(10));

    let TaskRequest::Offer(offer) = sent[0].clone().into_request(b"body"[..].into()) else {
        panic!("{sent:?}")
    };
    assert_eq!((offer.deadline_ms, offer.queue_timeout_ms), (Some(50_000), Some(20_000)));
    assert_eq!((offer.run_timeout_ms, offer.priority), (Some(20_000), 3));
    assert_eq!(&offer.body[..], b"body");
}

#[test]
fn offers_go_by_priority_then_age_within_the_credit() {
    let mut machine = submitter();
    for (number, priority) in [(1, 0), (2, 5), (3, 0), (4, 5)] {
        machine
            .submit(Submission { priority, ..submission(number) }, at(u64::from(number)))
            .unwrap();
    }
    drain(&mut machine);
    let ids = |sent: Vec<Outgoing>| sent.iter().map(|sent| sent.key.id).collect::<Vec<_>>();

    machine.handle_link_ready(worker(), 2, u64::MAX, at(9));
    assert_eq!(ids(drain(&mut machine)), [id(2), id(4)]);
    machine.handle_link_ready(worker(), 2, 10, at(9));
    assert_eq!(ids(drain(&mut machine)), []);
    machine.handle_link_ready(worker(), 9, 700, at(9));
    assert_eq!(ids(drain(&mut machine)), [id(1)]);
    machine.handle_link_ready(key(3).id(), 9, u64::MAX, at(9));
    machine.handle_link_ready(worker(), 9, u64::MAX, at(9));
    assert_eq!(ids(drain(&mut machine)), [id(3)]);
}

#[test]
fn what_a_failed_link_took_with_it_is_sent_again() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let key = send_one(&mut machine, at(0));

    machine.handle_link_failed(super::key(3).id(), &[key]);
    assert!(!machine.has_owed(&worker()), "another peer's link is none of its business");
    machine.handle_link_failed(worker(), &[key]);

    assert_eq!(send_one(&mut machine, at(0)), key);
}

#[test]
fn a_peer_without_room_is_asked_again_after_pauses_that_double() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let mut now = at(0);

    for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
        let key = send_one(&mut machine, now);
        answer(&mut machine, &key, &TaskAnswer::Refused(TaskRefusal::QueueFull), now);
        assert_eq!(send(&mut machine, now), []);
        let due = now.saturating_add(Duration::from_secs(pause));
        assert_eq!(machine.next_deadline(), Some(due));
        now = due;
        machine.handle_timeout(now);
    }

    let task = machine.task(&id(1)).unwrap();
    assert_eq!((task.state(), &*task.reason()), (TaskState::Queued, "the peer's queue is full"));
    assert_eq!(task.history.changes().len(), 2, "the same trouble is noted once");
}

#[test]
fn a_clock_that_is_set_back_does_not_stretch_a_pause() {
    let mut machine = submitter();
    machine.submit(submission(1), at(500)).unwrap();
    let key = send_one(&mut machine, at(500));
    answer(&mut machine, &key, &TaskAnswer::Refused(TaskRefusal::QueueFull), at(500));

    machine.handle_timeout(at(441));
    assert!(send(&mut machine, at(441)).is_empty(), "it may still be a pause of a minute");
    machine.handle_timeout(at(0));

    assert_eq!(send_one(&mut machine, at(0)).kind, OutgoingKind::Offer);
}

#[test]
fn a_task_that_the_peer_does_not_allow_is_declined() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let key = send_one(&mut machine, at(0));

    machine.handle_answer(worker(), &key, &TaskAnswer::Refused(TaskRefusal::NotAllowed), at(1));

    let records = drain_records(&mut machine);
    let task = records.last().unwrap();
    assert_eq!(task.state(), TaskState::Declined);
    assert_eq!(task.reason(), "the peer does not allow this node its tasks");
}

#[test]
fn a_peer_that_narrows_its_trust_is_not_said_to_have_ended_it() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    drain(&mut machine);

    machine.handle_trust_lost(worker(), TrustLoss::Narrowed, at(1));

    let records = drain_records(&mut machine);
    let task = records.last().unwrap();
    assert_eq!(task.state(), TaskState::Declined);
    assert_eq!(task.reason(), "the peer does not allow this node its tasks");
}

#[test]
fn what_no_worker_has_accepted_ends_with_trust() {
    for (loss, ended) in
        [(TrustLoss::Here, TaskState::Cancelled), (TrustLoss::There, TaskState::Declined)]
    {
        let mut machine = submitter();
        for number in 1..=3 {
            machine.submit(submission(number), at(0)).unwrap();
        }
        let sent = send(&mut machine, at(0));
        answer(&mut machine, &sent[0].key, &TaskAnswer::Offered, at(0));
        let accepted = Update { id: id(3), ..update(1, WorkState::Accepted) };
        machine.handle_update(worker(), &accepted, at(1));
        drain(&mut machine);

        machine.handle_trust_lost(key(3).id(), loss, at(2));
        assert_eq!(drain_records(&mut machine), []);
        machine.handle_trust_lost(worker(), loss, at(2));

        let states: Vec<_> = drain_records(&mut machine)
            .iter()
            .map(|record| (record.terms.id, record.state()))
            .collect();
        assert_eq!(
            states,
            [(id(1), ended), (id(2), ended), (id(3), TaskState::Accepted)],
            "the accepted one goes on"
        );
        machine.handle_trust_lost(worker(), loss, at(3));
        assert_eq!(drain_records(&mut machine), [], "it is said once");
    }
}

#[test]
fn an_invalid_task_fails_with_the_reason() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let key = send_one(&mut machine, at(0));

    machine.handle_answer(worker(), &key, &TaskAnswer::Refused(TaskRefusal::Invalid), at(1));

    let task = machine.task(&id(1)).unwrap();
    assert_eq!((task.state(), &*task.reason()), (TaskState::Failed, "the peer found it invalid"));
    drain(&mut machine);
    assert!(machine.is_empty());
}

#[test]
fn answers_to_nothing_and_from_others_are_ignored() {
    let mut machine = submitter();
    machine.submit(submission(1), at(0)).unwrap();
    let key = send_one(&mut machine, at(0));
    let other = OutgoingKey { revision: 9, ..key };

    machine.handle_answer(worker(), &other, &TaskAnswer::Offered, at(0));
    machine.handle_answer(super::key(3).id(), &key, &TaskAnswer::Offered, at(0));

    assert_eq!(state(&machine), TaskState::Queued);
    assert_eq!(machine.poll_output(), None);
}
