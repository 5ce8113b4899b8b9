//! A trusted peer that breaks the protocol, or keeps no pace.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use pilot_identity::{Digest, Outcome, Receipt, ReceiptTimes, Timestamp};
use pilot_local_api::tasks::{ContentFile, Role, SubmitRequest, TaskState};
use pilot_local_api::{Base64, ErrorCode};
use pilot_proto::tasks::{
    Attached, MAX_ANSWER_FRAME, MAX_TASK_FRAME, Offer, TaskAnswer, TaskBody, TaskRefusal,
    TaskRequest, TaskResult,
};
use pilot_proto::{Service, TaskId, close, frame};
use pilot_tests::api::{refusal, task_for};
use pilot_tests::{Team, eventually};
use pilot_transport::{Alpn, ConnectError, Connection, FramedError, Priority};

use super::names::{CLIMBING, nothing_stolen};
use super::puppet::{Puppet, id};

const PATIENCE: Duration = Duration::from_secs(5);

/// A task that this node may submit.
pub(super) fn offer(seed: u8, body: &impl serde::Serialize) -> Offer {
    Offer {
        id: TaskId::new(Timestamp::from_millis(1_700_000_000_000), [seed; 10]),
        attempt: 1,
        priority: 0,
        deadline_ms: None,
        queue_timeout_ms: None,
        run_timeout_ms: None,
        body: encoded(body),
    }
}

pub(super) fn encoded(body: &impl serde::Serialize) -> Bytes {
    Bytes::from(frame::encode(body, MAX_TASK_FRAME).unwrap().split_off(frame::PREFIX))
}

pub(super) fn task(description: &str) -> TaskBody {
    TaskBody { description: description.to_owned(), ..TaskBody::default() }
}

/// One exchange of the tasks service.
pub(super) fn exchange(puppet: &Puppet, session: &Connection, request: &TaskRequest) -> TaskAnswer {
    let mut stream = puppet.open(session, Service::Tasks.number()).unwrap();
    let exchange = async {
        stream.send(request, MAX_TASK_FRAME).await?;
        stream.finish()?;
        stream.expect(MAX_ANSWER_FRAME).await
    };
    puppet.play(exchange).unwrap().unwrap()
}

/// A task as its bytes go through a tunnel.
pub(super) fn a_task() -> Vec<u8> {
    frame::encode(&TaskRequest::Offer(offer(1, &task("forged"))), MAX_TASK_FRAME).unwrap()
}

/// Bytes that look random and are the same in each run.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn truncated_and_random_frames_cost_their_stream_and_nothing_else() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(10, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let good = a_task();
    let mut bad: Vec<Vec<u8>> =
        (1..good.len()).step_by(7).map(|cut| good[..cut].to_vec()).collect();
    // A length far over the limit, and one that nothing follows.
    bad.extend([vec![0xff; 4], vec![0, 0, 1, 0], [&[0, 0, 0, 9], &[0xff; 9][..]].concat()]);
    bad.extend((1..40).map(|seed| noise(seed, 64)));
    let services =
        [Service::Tasks.number(), Service::Messages.number(), Service::Control.number(), 4711];

    for service in services {
        for bytes in &bad {
            let mut stream = puppet.open(&session, service).unwrap();
            let outcome = puppet.play(async {
                // The refusal may come before all is written.
                drop(stream.send.write_all(bytes).await);
                drop(stream.finish());
                stream.expect::<TaskAnswer>(MAX_ANSWER_FRAME).await
            });
            let wanted = if service == 4711 { close::UNKNOWN_SERVICE } else { close::PROTOCOL };
            let outcome = outcome.unwrap();
            let is_refused =
                matches!(outcome, Err(FramedError::Stopped { code }) if code == wanted);
            assert!(is_refused, "{service} {bytes:?}: {outcome:?}");
        }
    }
    let truncated_number = puppet.play(async {
        let (mut send, mut recv) = session.open_bi(Priority::Task).await.unwrap();
        send.write_all(&[3]).await.unwrap();
        send.finish().unwrap();
        recv.read_to_end(1).await
    });
    assert!(truncated_number.unwrap().is_err());

    assert!(!session.is_closed());
    let answer = exchange(&puppet, &session, &TaskRequest::Offer(offer(1, &task("t"))));
    assert_eq!(answer, TaskAnswer::Offered);
    assert_eq!(team.api("target").unwrap().accept().unwrap().description, "t");
    assert_eq!(team.api("target").unwrap().tasks(Role::Received).unwrap().len(), 1);
}

#[test]
fn who_greets_with_garbage_gets_no_session() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(11, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    for (number, bytes) in [(1, vec![0xff; 40]), (1003, vec![]), (1, vec![0, 0])] {
        let connection = puppet.dial(team.node("target"), Alpn::Peer).unwrap();
        let mut stream = puppet.open(&connection, number).unwrap();
        puppet
            .play(async {
                stream.send.write_all(&bytes).await.unwrap();
                stream.finish().unwrap();
            })
            .unwrap();
        assert_eq!(puppet.closed(&connection).unwrap(), close::PROTOCOL);
    }
    let other = puppet.try_dial(team.node("target"), Alpn::Registry).unwrap();
    assert!(matches!(other, Err(ConnectError::VersionMismatch)), "{other:?}");
    assert_eq!(team.api("target").unwrap().status().unwrap().peers.connected, 0);
    let _session = puppet.session(team.node("target"), 1).unwrap();
    let api = team.api("target").unwrap();
    eventually("the session counts", || Ok(api.status()?.peers.connected == 1)).unwrap();
}

#[test]
fn a_peer_of_another_version_is_named_as_such() {
    let team = Team::start(&["node"]).unwrap();
    // It speaks no `pilot-peer/1`, as one of a later version might not.
    let mut newer = Puppet::start(12, &[Alpn::Registry]).unwrap();
    newer.befriend(&team, "node").unwrap();
    let endpoint = newer.endpoint.clone();
    newer.spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            drop(incoming.accept().await);
        }
    });
    let api = team.api("node").unwrap();

    let error = refusal(api.ping(&newer.peer(), PATIENCE)).unwrap();

    assert_eq!(error.code, ErrorCode::VersionMismatch);
    assert!(error.hint.is_some_and(|hint| hint.contains("--version")));
    // Nothing is lost: the task waits until the two understand each other.
    let task = api.submit(&newer.peer(), "for later").unwrap();
    assert_eq!(api.task(task.id).unwrap().state, TaskState::Queued);
}

/// A body as `TaskBody` lays it out, without its rules.
type AnyTask<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<(&'a str, &'a [u8])>, Option<Attached>);

/// A body as `ResultBody` lays it out, without its rules.
type AnyResult<'a> = (&'a [u8], bool, &'a str, Vec<(&'a str, &'a [u8])>, Option<Attached>);

fn task_with(name: &str) -> AnyTask<'_> {
    ("x", vec![], vec![(name, b"x")], None)
}

fn result_with(name: &str) -> AnyResult<'_> {
    (b"x", false, "", vec![(name, b"x")], None)
}

#[test]
fn a_name_that_leaves_its_folder_is_refused_on_the_wire() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(13, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let target = team.api("target").unwrap();
    let session = puppet.session(team.node("target"), 1).unwrap();
    let wanted = target.submit(&puppet.peer(), "for the puppet").unwrap();

    for (seed, name) in (20..).zip(CLIMBING.into_iter().chain(["..", "."])) {
        let request = TaskRequest::Offer(offer(seed, &task_with(name)));
        let answer = exchange(&puppet, &session, &request);
        assert_eq!(answer, TaskAnswer::Refused(TaskRefusal::Invalid), "{name:?}");

        let body = encoded(&result_with(name));
        let request = TaskRequest::Result(result(&puppet, &team, wanted.id, body));
        let answer = exchange(&puppet, &session, &request);
        assert_eq!(answer, TaskAnswer::Refused(TaskRefusal::Invalid), "{name:?}");
    }
    // The same messages with a fair name are taken, so it was the name.
    let fair = TaskRequest::Offer(offer(1, &task_with("fair")));
    let answer = exchange(&puppet, &session, &fair);
    assert_eq!(answer, TaskAnswer::Offered);
    let body = encoded(&result_with("fair"));
    let request = TaskRequest::Result(result(&puppet, &team, wanted.id, body));
    let answer = exchange(&puppet, &session, &request);
    assert!(matches!(answer, TaskAnswer::Receipt(_)), "{answer:?}");
    assert_eq!(target.tasks(Role::Received).unwrap().len(), 1);
    nothing_stolen(team.folder());
}

/// A result of the puppet, signed as it must be.
pub(super) fn result(puppet: &Puppet, team: &Team, task: TaskId, body: Bytes) -> TaskResult {
    let at = Timestamp::from_millis(1_700_000_000_000);
    let receipt = Receipt {
        task: task.uuid(),
        attempt: 1,
        submitter: id(team.node("target")).unwrap(),
        worker: puppet.key.id(),
        outcome: Outcome::Succeeded,
        digest: Digest::of(&body),
        times: ReceiptTimes { received: at, accepted: Some(at), finished: at },
    };
    let receipt = receipt.sign(&puppet.key);
    TaskResult { id: task, attempt: 1, outcome: Outcome::Succeeded, body, receipt }
}

#[test]
fn a_hundred_connections_in_a_burst_all_work() {
    let team = Team::start(&["target"]).unwrap();
    let mut puppet = Puppet::start(14, &[]).unwrap();
    puppet.befriend(&team, "target").unwrap();
    let began = Instant::now();

    for number in 1..=100 {
        let session = puppet.session(team.node("target"), u64::from(number)).unwrap();
        let request = TaskRequest::Offer(offer(number, &task("one of many")));
        assert_eq!(exchange(&puppet, &session, &request), TaskAnswer::Offered, "{number}");
    }

    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let api = team.api("target").unwrap();
    assert_eq!(api.status().unwrap().queues.received_waiting, 100);
}

#[test]
fn a_peer_that_reads_nothing_holds_nobody_else_up() {
    let team = Team::start(&["target", "worker"]).unwrap();
    team.trust("target", "worker").unwrap();
    let mut greedy = Puppet::start(15, &[]).unwrap();
    greedy.befriend(&team, "target").unwrap();
    let session = greedy.session(team.node("target"), 1).unwrap();
    let (target, worker) = (team.api("target").unwrap(), team.api("worker").unwrap());
    // Echoes that it never reads, and large offers that never end, until
    // nothing more is taken from it.
    let pushing = (0..90).map(|stream| {
        let session = session.clone();
        async move {
            let (number, head) = match stream % 2 {
                0 => (Service::Echo.number(), &[][..]),
                _ => (Service::Tasks.number(), &[0, 0x80, 0, 0][..]),
            };
            let (mut send, recv) = session.open_bi(Priority::Bulk).await.unwrap();
            let sending = async {
                send.write_all(&number.to_be_bytes()).await?;
                send.write_all(head).await?;
                send.write_all(&vec![1; 1 << 20]).await
            };
            let took_all = tokio::time::timeout(Duration::from_secs(1), sending).await;
            (took_all.is_ok(), send, recv)
        }
    });
    let held = greedy.play(join_all(pushing)).unwrap();
    let stuck = held.iter().filter(|(took_all, _, _)| !took_all).count();
    assert!(stuck > 40, "only {stuck} streams are stuck");

    for round in 0..5 {
        let began = Instant::now();
        let id = target.submit(&team.peer("worker"), &format!("round {round}")).unwrap().id;
        assert_eq!(worker.accept().unwrap().id, id);
        worker.send_results(id, "done").unwrap();
        target.until_state(id, TaskState::Succeeded).unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{round}: {:?}", began.elapsed());
    }
    assert!(!session.is_closed());
    drop(held);
}

#[test]
fn a_receiver_that_pauses_gets_large_tasks_all_the_same() {
    const COUNT: usize = 3;
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    let manager = team.api("manager").unwrap();
    let file = ContentFile {
        name: "large".parse().unwrap(),
        content_base64: Base64(noise(7, 8 << 20).into()),
    };
    let request = SubmitRequest {
        files: vec![file],
        ..task_for(&team.peer("worker"), "more than a socket holds")
    };
    let began = Instant::now();

    let tasks: Vec<_> = (0..COUNT).map(|_| manager.submit_as(&request).unwrap().id).collect();
    // Its socket overflows whenever it does not read.
    for _ in 0..40 {
        let worker = team.node_mut("worker").process().unwrap();
        worker.freeze().unwrap();
        for _ in 0..20 {
            manager.status().unwrap();
        }
        worker.thaw().unwrap();
        manager.status().unwrap();
    }

    for id in tasks {
        manager.until_state(id, TaskState::Delivered).unwrap();
    }
    // At the 0.2 MB/s of a collapse it would take two minutes.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}
