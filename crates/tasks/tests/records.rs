//! Records as they are on disk: old ones stay readable, damaged ones are told.

use core::time::Duration;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use pilot_identity::{Digest, NodeKey, Timestamp};
use pilot_proto::tasks::{Attached, Offer, TaskAnswer, TaskRequest};
use pilot_proto::{TaskId, TransferId};
use pilot_tasks::{
    MAX_LIVE_TASKS, OfferFacts, Process, ReceivedTask, RecordError, ResultFacts, Submission,
    SubmittedTask, Submitter, SubmitterOutput, Work, WorkOutcome, Worker, WorkerLimits,
    WorkerOutput,
};
use proptest::prelude::*;
use zeroize::Zeroizing;

#[cfg(test)]
mod records {
    use super::*;

    fn key(seed: u8) -> Arc<NodeKey> {
        Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])))
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_770_638_400_000 + millis)
    }

    fn attached(seed: u8) -> Attached {
        let transfer = TransferId::new(at(0), [seed; 10]);
        Attached { transfer, manifest_hash: [seed; 32], files: 2, bytes: 1 << 30 }
    }

    fn facts(exclusive: Option<&str>) -> OfferFacts {
        OfferFacts {
            digest: Digest::of(b"b"),
            len: 1,
            summary: "build".to_owned(),
            exclusive: exclusive.map(str::to_owned),
            leave_result: exclusive.is_some(),
            files: Ok(()),
        }
    }

    fn last_received(worker: &mut Worker) -> ReceivedTask {
        let mut last = None;
        while let Some(output) = worker.poll_output() {
            if let WorkerOutput::Persist { record, .. } = output {
                worker.handle_persisted(&record.terms.id, record.revision);
                last = Some(*record);
            }
        }
        last.unwrap()
    }

    fn last_submitted(submitter: &mut Submitter) -> SubmittedTask {
        let mut last = None;
        while let Some(output) = submitter.poll_output() {
            if let SubmitterOutput::Persist(record) = output {
                submitter.handle_persisted(&record.terms.id, record.revision);
                last = Some(*record);
            }
        }
        last.unwrap()
    }

    /// One task from its beginning to its end: the records of the submitter
    /// and of the worker, one of each phase in which they differ most.
    fn life() -> (Vec<SubmittedTask>, Vec<ReceivedTask>) {
        let (ours, theirs) = (key(1).id(), key(2).id());
        let mut submitter = Submitter::new(key(1), MAX_LIVE_TASKS);
        let mut worker = Worker::new(key(2), WorkerLimits::default());
        let id = TaskId::new(at(0), [9; 10]);
        let facts = facts(None);

        let submission = Submission {
            id,
            to: theirs,
            priority: -3,
            deadline: Some(at(60_000)),
            queue_timeout: Some(Duration::from_millis(1_500)),
            run_timeout: Some(Duration::from_secs(30)),
            summary: facts.summary.clone(),
            body_len: facts.len,
            body_digest: facts.digest,
            idempotency_key: Some("nightly".to_owned()),
            attached: Some(attached(1)),
        };
        submitter.submit(submission, at(0)).unwrap();
        let mut submitted = vec![last_submitted(&mut submitter)];
        submitter.handle_files_arrived(&id, at(0));
        let offer = Offer {
            id,
            attempt: 1,
            priority: -3,
            deadline_ms: Some(60_000),
            queue_timeout_ms: Some(1_500),
            run_timeout_ms: Some(30_000),
            body: b"b"[..].into(),
        };
        worker.handle_offer(ours, &offer, &facts, true, at(1));
        let mut received = vec![last_received(&mut worker)];
        worker.accept(None, "pid 7", at(2)).unwrap();
        worker.progress(&id, Some(40), Some("half"), at(3)).unwrap();
        received.push(last_received(&mut worker));
        submitter.cancel(&id, Duration::from_secs(5), "enough", at(4)).unwrap();
        submitted.push(last_submitted(&mut submitter));
        let work = Work {
            outcome: WorkOutcome::Failed,
            digest: Digest::of(b"r"),
            len: 1,
            reason: "broken".to_owned(),
            attached: Some(attached(2)),
        };
        worker.finish(&id, &work, at(5)).unwrap();
        received.push(last_received(&mut worker));
        worker.handle_files_arrived(&id, at(5));
        last_received(&mut worker);
        worker.handle_link_ready(ours, 1, u64::MAX, at(6));
        let sent = core::iter::from_fn(|| worker.poll_output()).find_map(|output| match output {
            WorkerOutput::Send { mut requests, .. } => requests.pop(),
            WorkerOutput::Persist { .. }
            | WorkerOutput::Changed { .. }
            | WorkerOutput::Ready
            | WorkerOutput::Owed { .. }
            | WorkerOutput::ForgetBody(_)
            | WorkerOutput::ForgetTask(_)
            | WorkerOutput::ForgetResult(_)
            | WorkerOutput::Bound(_)
            | WorkerOutput::Unbound(_) => None,
        });
        let sent = sent.unwrap();
        let TaskRequest::Result(result) = sent.clone().into_request(b"r"[..].into()) else {
            panic!("{sent:?}")
        };
        let facts = ResultFacts {
            digest: Digest::of(b"r"),
            len: 1,
            reason: "broken".to_owned(),
            files: Ok(()),
        };
        let answer = submitter.handle_result(theirs, &result, &facts, at(7)).answer;
        assert!(matches!(answer, TaskAnswer::Receipt(_)));
        submitted.push(last_submitted(&mut submitter));
        worker.handle_answer(ours, &sent.key, &answer, at(8));
        received.push(last_received(&mut worker));
        (submitted, received)
    }

    /// The worker's records of a task with extras: bound to a process, and
    /// put back for later.
    fn leased() -> Vec<ReceivedTask> {
        let mut worker = Worker::new(key(2), WorkerLimits::default());
        let facts = facts(Some("gpu"));
        let offer = Offer {
            id: TaskId::new(at(0), [9; 10]),
            attempt: 1,
            priority: 0,
            deadline_ms: None,
            queue_timeout_ms: None,
            run_timeout_ms: None,
            body: b"b"[..].into(),
        };
        worker.handle_offer(key(1).id(), &offer, &facts, true, at(1));
        let process = Process { pid: 4_711, started: 123_456, boot: 0x0123_4567 << 64 };
        worker.accept_bound(None, "pid 4711", Some(process), at(2)).unwrap();
        let bound = last_received(&mut worker);
        worker.put_back(&offer.id, Duration::from_secs(30), "busy", at(3)).unwrap();
        vec![bound, last_received(&mut worker)]
    }

    #[test]
    fn records_with_extras_are_of_version_2_and_read() {
        let stored = stored(include_str!("records/received.v2.hex"));

        let written: Vec<_> = leased().iter().map(|task| task.encode().unwrap()).collect();
        assert_eq!(written, stored);
        let read: Vec<_> =
            stored.iter().map(|bytes| ReceivedTask::decode(bytes).unwrap()).collect();
        assert_eq!(read, leased());
        for bytes in &stored {
            assert_eq!(bytes[0], 2);
            for end in 0..bytes.len() {
                let cut = ReceivedTask::decode(&bytes[..end]);
                assert_eq!(cut, Err(RecordError::Damaged), "cut at {end}");
            }
        }
    }

    fn stored(text: &str) -> Vec<Vec<u8>> {
        text.lines().map(|line| HEXLOWER.decode(line.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn records_of_version_1_are_read() {
        let (submitted, received) = life();

        let stored_submitted = stored(include_str!("records/submitted.v1.hex"));
        let stored_received = stored(include_str!("records/received.v1.hex"));

        let read: Vec<_> =
            stored_submitted.iter().map(|bytes| SubmittedTask::decode(bytes).unwrap()).collect();
        assert_eq!(read, submitted);
        let read: Vec<_> =
            stored_received.iter().map(|bytes| ReceivedTask::decode(bytes).unwrap()).collect();
        assert_eq!(read, received);
    }

    #[test]
    fn every_record_survives_the_disk() {
        let (submitted, received) = life();

        for record in submitted {
            assert_eq!(SubmittedTask::decode(&record.encode().unwrap()), Ok(record));
        }
        for record in received {
            assert_eq!(ReceivedTask::decode(&record.encode().unwrap()), Ok(record));
        }
    }

    #[test]
    fn a_record_of_a_newer_program_and_a_damaged_one_are_told_apart() {
        let bytes = life().0[2].encode().unwrap();
        let newer = [&[2], &bytes[1..]].concat();
        let longer = [bytes.as_slice(), &[0]].concat();

        let refused = Err(RecordError::Newer { found: 2, newest: 1 });
        assert_eq!(SubmittedTask::decode(&newer), refused);
        assert_eq!(SubmittedTask::decode(&longer), Err(RecordError::Damaged));
        for end in 0..bytes.len() {
            assert_eq!(SubmittedTask::decode(&bytes[..end]), Err(RecordError::Damaged));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_give_a_record_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(version) = bytes.first_mut() {
                *version = 1 + *version % 2;
            }
            drop((SubmittedTask::decode(&bytes), ReceivedTask::decode(&bytes)));
        }
    }
}
