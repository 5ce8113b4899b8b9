//! Programs are killed as `kill -9` does, and no task suffers from it.

mod cell;
mod column;

use std::time::{Duration, Instant};

use pilot_local_api::tasks::{Role, SubmitRequest, TaskState};
use pilot_local_api::{Client, ErrorCode};
use pilot_tests::api::{refusal, results, task_for};
use pilot_tests::{Team, eventually};

use cell::{Cell, MOMENTS, VICTIMS};

/// Every moment with every set of victims, none left out: one team for each
/// set, which goes through all moments.
#[test]
fn a_task_ends_once_with_its_result_whoever_is_killed_whenever() {
    let columns: Vec<Vec<Cell>> = std::thread::scope(|scope| {
        let columns = VICTIMS.map(|victims| scope.spawn(move || column::run(victims).unwrap()));
        columns.into_iter().map(|column| column.join().unwrap()).collect()
    });

    let done: Vec<Cell> = columns.into_iter().flatten().collect();
    assert_eq!(done.len(), MOMENTS.len() * VICTIMS.len());
    for victims in VICTIMS {
        for moment in MOMENTS {
            assert!(
                done.contains(&Cell { moment, victims }),
                "{moment:?} {victims:?} was left out"
            );
        }
    }
}

#[test]
fn a_task_ends_once_even_if_everything_is_killed_at_every_moment() {
    for victims in [VICTIMS[2], VICTIMS[4]] {
        column::run_at_once(victims).unwrap();
    }
}

#[test]
fn a_task_for_a_worker_that_is_away_is_taken_at_once_and_outlives_its_manager() {
    let mut team = team();
    let worker = team.peer("worker");
    team.node_mut("worker").kill().unwrap();

    let began = Instant::now();
    let task = team.api("manager").unwrap().submit(&worker, "for later").unwrap();

    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(task.state, TaskState::Queued);
    team.node_mut("manager").kill().unwrap();
    team.node_mut("worker").restart().unwrap();
    let nothing = team.api("worker").unwrap().accept_within(Duration::ZERO).unwrap();
    assert_eq!(nothing, None);
    team.node_mut("manager").restart().unwrap();
    let accepted = team.api("worker").unwrap().accept().unwrap();
    assert_eq!((accepted.id, accepted.description.as_str()), (task.id, "for later"));
    team.api("worker").unwrap().send_results(task.id, "done").unwrap();
    let manager = team.api("manager").unwrap();
    manager.until_state(task.id, TaskState::Succeeded).unwrap();
    assert_eq!(manager.result(task.id).unwrap().data.as_deref(), Some("done"));
}

#[test]
fn a_result_is_kept_through_restarts_until_its_submitter_has_it() {
    let mut team = team();
    let task = team.api("manager").unwrap().submit(&team.peer("worker"), "work").unwrap();
    team.api("worker").unwrap().accept().unwrap();
    team.node_mut("manager").kill().unwrap();

    let sent = team.api("worker").unwrap().send_results(task.id, "-kept").unwrap();

    assert!(sent.result_pending, "{sent:?}");
    for _ in 0..2 {
        team.node_mut("worker").kill().unwrap();
        team.node_mut("worker").restart().unwrap();
        let worker = team.api("worker").unwrap();
        let kept = worker.task(task.id).unwrap();
        assert_eq!((kept.state, kept.result_pending), (TaskState::Succeeded, true));
        assert_eq!(worker.result(task.id).unwrap().data.as_deref(), Some("-kept"));
        assert_eq!(worker.status().unwrap().queues.results_pending, 1);
    }
    team.node_mut("manager").restart().unwrap();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    manager.until_state(task.id, TaskState::Succeeded).unwrap();
    assert_eq!(manager.result(task.id).unwrap().data.as_deref(), Some("-kept"));
    worker.until(task.id, "the receipt is back", |view| !view.result_pending).unwrap();
    // Nobody waits for it to be thrown away.
    eventually("the result is kept no longer", || Ok(worker.result(task.id).is_err())).unwrap();
    let gone = refusal(worker.result(task.id)).unwrap();
    assert_eq!(gone.code, ErrorCode::NotFound);
    assert!(gone.hint.is_some_and(|hint| hint.contains("pilotctl task result")));
}

#[test]
fn an_accept_whose_answer_was_lost_is_answered_again_after_a_restart() {
    let mut team = team();
    let manager = team.api("manager").unwrap();
    let ids = ["first", "second"].map(|words| {
        let id = manager.submit(&team.peer("worker"), words).unwrap().id;
        manager.until_state(id, TaskState::Delivered).unwrap();
        id
    });
    // As if the daemon had died between this commit and its answer.
    let lost = team.api("worker").unwrap().accept_as("one").unwrap().unwrap();
    team.node_mut("worker").kill().unwrap();
    team.node_mut("worker").restart().unwrap();

    let worker = team.api("worker").unwrap();
    let again = worker.accept_as("one").unwrap().unwrap();
    let other = worker.accept_as("another").unwrap().unwrap();

    assert_eq!((lost.id, again.id, other.id), (ids[0], ids[0], ids[1]));
    assert_eq!(again.description, "first");
    assert_eq!(worker.accept_as("a third").unwrap(), None);
    worker.send_results(ids[0], "done").unwrap();
    assert_eq!(worker.accept_as("one").unwrap(), None, "it is done and not given out again");
    for claim in ["", &"x".repeat(65)] {
        let refused = refusal(worker.accept_as(claim)).unwrap();
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
    }
}

#[test]
fn saying_the_same_again_is_harmless_and_saying_otherwise_is_refused() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let to = team.peer("worker");
    let first = manager.submit(&to, "once").unwrap();
    let again = SubmitRequest { id: Some(first.id), ..task_for(&to, "once") };
    let keyed =
        SubmitRequest { idempotency_key: Some("k".to_owned()), ..task_for(&to, "with a key") };
    let second = manager.submit_as(&keyed).unwrap();

    assert_eq!(manager.submit_as(&again).unwrap().id, first.id);
    assert_eq!(manager.submit_as(&keyed).unwrap().id, second.id);
    let other = SubmitRequest { id: Some(first.id), ..task_for(&to, "something else") };
    assert_eq!(refusal(manager.submit_as(&other)).unwrap().code, ErrorCode::Conflict);
    let other = SubmitRequest { description: "something else".to_owned(), ..keyed.clone() };
    assert_eq!(manager.submit_as(&other).unwrap().description, "with a key");
    for id in [first.id, second.id] {
        assert_eq!(worker.accept().unwrap().id, id);
        worker.send_results(id, "the result").unwrap();
        assert_eq!(worker.send_results(id, "the result").unwrap().state, TaskState::Succeeded);
        manager.until_state(id, TaskState::Succeeded).unwrap();
        // Also after its receipt: a worker that was killed asks once more.
        worker.until(id, "the receipt is back", |view| !view.result_pending).unwrap();
        assert_eq!(worker.send_results(id, "the result").unwrap().state, TaskState::Succeeded);
        let conflict = refusal(worker.send_results(id, "another result")).unwrap();
        assert_eq!(conflict.code, ErrorCode::Conflict);
        assert_eq!(manager.result(id).unwrap().data.as_deref(), Some("the result"));
        assert_eq!(manager.submit_as(&again).unwrap().id, first.id);
        assert_eq!(manager.submit_as(&keyed).unwrap().id, second.id);
    }
    assert_eq!(worker.accept_within(Duration::ZERO).unwrap(), None);
    assert_eq!(manager.tasks(Role::Submitted).unwrap().len(), 2);
    assert_eq!(worker.tasks(Role::Received).unwrap().len(), 2);
}

/// A manager and a worker that trust each other and have met, so that they
/// find each other without the rendezvous.
fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team.api("manager").unwrap().ping(&team.peer("worker"), Duration::from_secs(5)).unwrap();
    team
}

/// Sends the results of a task and is gone before the answer: all of the
/// request has been written when this returns.
fn send_results_unheard(
    client: &Client,
    id: pilot_proto::TaskId,
    data: &str,
) -> std::io::Result<()> {
    use std::io::Write as _;
    let body = serde_json::to_vec(&results(data))?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: pilot\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        pilot_local_api::routes::task(pilot_local_api::routes::TASK_RESULTS, id),
        body.len(),
    );
    let mut stream = std::os::unix::net::UnixStream::connect(client.socket())?;
    stream.write_all(&[head.as_bytes(), &body].concat())
}
