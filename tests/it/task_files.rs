//! Files of any size that go with tasks and results, as whole programs.

mod loads;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::{Role, SendResultsRequest, SubmitRequest, TaskState, TaskView};
use pilot_local_api::transfers::{Direction, TransferState, TransferView};
use pilot_proto::TaskId;
use pilot_tests::api::{Api, refusal, results, with_files};
use pilot_tests::{Team, eventually};
use serde_json::Value;

use loads::{content, plant};

/// After which a transfer of a test must be through.
const PATIENCE: Duration = Duration::from_secs(60);

/// A manager and a worker that trust each other and have met.
fn team() -> Team {
    let team = Team::start(&["manager", "worker"]).unwrap();
    team.trust("manager", "worker").unwrap();
    team.api("manager").unwrap().ping(&team.peer("worker"), Duration::from_secs(5)).unwrap();
    team
}

/// A folder with so many bytes in it.
fn folder(team: &Team, name: &str, bytes: usize) -> PathBuf {
    let folder = team.path(name);
    plant(&folder, bytes).unwrap();
    folder
}

fn submitted(team: &Team, folder: &Path) -> TaskView {
    let request = with_files(&team.peer("worker"), "with files", &[folder]);
    team.api("manager").unwrap().submit_as(&request).unwrap()
}

fn giving(data: &str, folder: &Path) -> SendResultsRequest {
    SendResultsRequest { attach: vec![folder.into()], ..results(data) }
}

/// The one transfer of a task that this node sends, of those not cancelled.
fn transfer_of(api: &Api, task: TaskId) -> TransferView {
    let mut of_it: Vec<TransferView> = api.transfers().unwrap();
    of_it.retain(|view| view.task == Some(task) && view.direction == Direction::Sent);
    of_it.retain(|view| view.state != TransferState::Cancelled);
    assert_eq!(of_it.len(), 1, "{of_it:?}");
    of_it.remove(0)
}

/// What the sender keeps for its transfers.
fn outgoing(team: &Team, node: &str) -> usize {
    let folder = team.node(node).home().join("outgoing");
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_task_and_its_result_come_with_all_their_files_though_the_sources_are_gone() {
    let team = team();
    let (manager, worker) = (team.node("manager"), team.node("worker"));
    let (asked, made) = (folder(&team, "src", 20 << 20), folder(&team, "made", 20 << 20));
    let [asked_content, made_content] = [&asked, &made].map(|folder| content(folder).unwrap());
    let to = ["task", "submit", "--to", "worker", "--description", "build it"];

    let id = manager.ok(&[&to[..], &["--attach", asked.to_str().unwrap()]].concat()).unwrap();
    fs::remove_dir_all(&asked).unwrap();
    let task = worker.json(&["task", "accept", "--timeout", "60"]).unwrap();

    assert_eq!(task["id"], *id);
    let attached = &task["attachments"][0];
    assert_eq!((&attached["name"], &attached["size"]), (&"src".into(), &(20 << 20).into()));
    let path = PathBuf::from(attached["path"].as_str().unwrap());
    assert!(path.starts_with(worker.home().join("inbox")), "{}", path.display());
    assert_eq!(content(&path).unwrap(), asked_content);
    let transfer = task["attached"]["transfer"].as_str().unwrap();
    let kept = worker.ctl(&["data", "rm", transfer, "--json"]).unwrap();
    assert_eq!((kept.code, kept.error_code().as_deref()), (Some(8), Some("conflict")));
    let copy = team.path("copy");
    worker.ok(&["task", "attachments", &id, "--out", copy.to_str().unwrap()]).unwrap();
    assert_eq!(content(&copy.join("src")).unwrap(), asked_content);

    let send = ["task", "send-results", "--task-id", &id, "--data", "see files"];
    worker.ok(&[&send[..], &["--dir", made.to_str().unwrap()]].concat()).unwrap();
    fs::remove_dir_all(&made).unwrap();
    manager.ok(&["task", "wait", &id, "--timeout", "60"]).unwrap();

    let result = manager.json(&["task", "result", &id]).unwrap();
    let size = |file: &Value| file["size"].as_u64().unwrap();
    let sizes: u64 = result["attachments"].as_array().unwrap().iter().map(size).sum();
    assert_eq!((&result["data"], sizes), (&"see files".into(), 20 << 20));
    assert!(result["attachments"][0]["path"].is_string(), "{result}");
    let out = team.path("out");
    let got = manager.ctl(&["task", "result", &id, "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!((got.code, got.text().as_str()), (Some(0), "see files"), "{}", got.stderr);
    assert_eq!(content(&out).unwrap(), made_content);
    let again = manager.ctl(&["task", "result", &id, "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(again.code, Some(8), "nothing is overwritten: {}", again.stderr);

    worker.ok(&["data", "rm", transfer]).unwrap();
    assert!(!path.exists());
    for node in ["manager", "worker"] {
        eventually("no copy is kept", || Ok(outgoing(&team, node) == 0)).unwrap();
    }
}

#[test]
fn a_task_outlives_kills_at_either_end_while_its_files_are_on_their_way_and_comes_with_them() {
    let mut team = team();
    let asked = folder(&team, "src", 96 << 20);
    let wanted = content(&asked).unwrap();
    let task = submitted(&team, &asked);
    fs::remove_dir_all(&asked).unwrap();

    let kills = kill_while(&mut team, "worker", task.id, 12);

    let accepted = team.api("worker").unwrap().accept_within(PATIENCE).unwrap().unwrap();
    assert_eq!(accepted.id, task.id);
    let path = accepted.attachments[0].path.clone().unwrap();
    assert_eq!(content(path.as_path()).unwrap(), wanted);
    assert!(kills >= 3, "only {kills} kills before all was there");

    let made = folder(&team, "made", 96 << 20);
    let wanted = content(&made).unwrap();
    let given = team.api("worker").unwrap().send_results_as(task.id, &giving("r", &made)).unwrap();
    assert!(given.result_pending, "{given:?}");
    fs::remove_dir_all(&made).unwrap();

    let kills = kill_while(&mut team, "manager", task.id, 12);

    let manager = team.api("manager").unwrap();
    manager.until_state(task.id, TaskState::Succeeded).unwrap();
    let folder = manager.result(task.id).unwrap().attached.unwrap().folder.unwrap();
    assert_eq!(content(&folder.as_path().join("made")).unwrap(), wanted);
    assert!(kills >= 3, "only {kills} kills before all was there");
    assert_eq!(manager.tasks(Role::Submitted).unwrap().len(), 1);
}

/// Kills one node, the other or both each time that more of a task's files has
/// come to `receiver`, until all has or it was often enough; how often.
fn kill_while(team: &mut Team, receiver: &str, task: TaskId, most: usize) -> usize {
    let victims: [&[&str]; 3] = [&["manager"], &["worker"], &["manager", "worker"]];
    let (mut done, mut kills) = (0, 0);
    for victims in victims.into_iter().cycle().take(most) {
        let api = team.api(receiver).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let view = loop {
            let mut views = api.transfers().unwrap();
            views.retain(|view| view.task == Some(task) && view.direction == Direction::Received);
            if let Some(view) = views.pop()
                && (view.bytes_done > done || view.state.is_terminal())
            {
                break view;
            }
            assert!(Instant::now() < deadline, "it stands still after {kills} kills");
            std::thread::yield_now();
        };
        if view.state.is_terminal() {
            break;
        }
        done = view.bytes_done;
        victims.iter().for_each(|victim| team.node_mut(victim).kill().unwrap());
        victims.iter().for_each(|victim| team.node_mut(victim).restart().unwrap());
        kills += 1;
    }
    kills
}

#[test]
fn a_task_waits_for_its_files_and_a_cancelled_one_takes_them_along() {
    let mut team = team();
    let asked = folder(&team, "src", 1 << 20);
    team.node_mut("worker").kill().unwrap();
    let manager = team.api("manager").unwrap();

    let task = submitted(&team, &asked);
    assert_eq!((task.state, task.attached.as_ref().unwrap().bytes), (TaskState::Queued, 1 << 20));
    assert_eq!(task.reason.as_deref(), Some("its files are on their way"));
    let transfer = transfer_of(&manager, task.id);
    let kept = refusal(manager.remove_transfer(transfer.id)).unwrap();
    assert_eq!(kept.code, ErrorCode::Conflict);
    assert!(kept.message.contains("needs these files"), "{}", kept.message);

    let cancelled = manager.cancel(task.id).unwrap();
    assert_eq!(cancelled.state, TaskState::Cancelled);
    let ended = manager.until_ended(transfer.id, PATIENCE).unwrap();
    assert_eq!(ended.state, TransferState::Cancelled);
    eventually("no copy is kept", || Ok(outgoing(&team, "manager") == 0)).unwrap();
    team.node_mut("worker").restart().unwrap();
    eventually("nobody needs the transfer", || Ok(manager.remove_transfer(transfer.id).is_ok()))
        .unwrap();
    let nothing = team.api("worker").unwrap().accept_within(Duration::ZERO).unwrap();
    assert_eq!(nothing, None);
}

#[test]
fn a_task_that_expires_before_its_files_are_there_takes_them_along() {
    let mut team = team();
    let asked = folder(&team, "src", 1 << 20);
    team.node_mut("worker").kill().unwrap();
    let manager = team.api("manager").unwrap();
    let request = with_files(&team.peer("worker"), "soon", &[&asked]);
    let request = SubmitRequest { deadline_in_ms: Some(1_500), ..request };

    let task = manager.submit_as(&request).unwrap();
    let transfer = transfer_of(&manager, task.id).id;
    // Its daemon is away when the time is over.
    team.node_mut("manager").kill().unwrap();
    team.node_mut("manager").restart().unwrap();

    let manager = team.api("manager").unwrap();
    manager.until_state(task.id, TaskState::Expired).unwrap();
    let ended = manager.until_ended(transfer, PATIENCE).unwrap();
    assert_eq!(ended.state, TransferState::Cancelled);
}

#[test]
fn a_task_whose_files_do_not_get_there_ends_and_says_why() {
    let mut team = team();
    let asked = folder(&team, "src", 1 << 20);
    team.node_mut("worker").kill().unwrap();
    let manager = team.api("manager").unwrap();
    let task = submitted(&team, &asked);

    manager.cancel_transfer(transfer_of(&manager, task.id).id).unwrap();

    let ended = manager.until_state(task.id, TaskState::Cancelled).unwrap();
    assert_eq!(ended.reason.as_deref(), Some("the transfer of its files was cancelled"));
}

#[test]
fn a_result_whose_files_do_not_get_there_has_failed_and_keeps_its_text() {
    let mut team = team();
    let made = folder(&team, "made", 1 << 20);
    let task = team.api("manager").unwrap().submit(&team.peer("worker"), "work").unwrap();
    let worker = team.api("worker").unwrap();
    worker.accept().unwrap();
    team.node_mut("manager").kill().unwrap();
    let given = worker.send_results_as(task.id, &giving("the text", &made)).unwrap();
    assert_eq!(given.state, TaskState::Succeeded);

    worker.cancel_transfer(transfer_of(&worker, task.id).id).unwrap();

    let failed = worker.until(task.id, "it failed", |view| view.state == TaskState::Failed);
    let why = "the transfer of its files was cancelled";
    assert_eq!(failed.unwrap().reason.as_deref(), Some(why));
    team.node_mut("manager").restart().unwrap();
    let manager = team.api("manager").unwrap();
    manager.until_state(task.id, TaskState::Failed).unwrap();
    let result = manager.result(task.id).unwrap();
    assert_eq!((result.data.as_deref(), result.reason.as_deref()), (Some("the text"), Some(why)));
    assert_eq!((result.attachments.len(), result.attached), (0, None));
}

#[test]
fn saying_the_same_again_sends_no_file_twice_and_needs_none_of_them() {
    let team = team();
    let (manager, worker) = (team.api("manager").unwrap(), team.api("worker").unwrap());
    let (asked, made) = (folder(&team, "src", 2 << 20), folder(&team, "made", 2 << 20));
    let first = SubmitRequest {
        id: Some(TaskId::from_bytes([7; 16])),
        idempotency_key: Some("nightly".to_owned()),
        ..with_files(&team.peer("worker"), "with files", &[&asked])
    };
    let id = manager.submit_as(&first).unwrap().id;
    fs::remove_dir_all(&asked).unwrap();

    let keyed = SubmitRequest { id: None, ..first.clone() };
    for request in [&first, &keyed] {
        assert_eq!(manager.submit_as(request).unwrap().id, id);
    }
    let without = SubmitRequest { attach: Vec::new(), idempotency_key: None, ..first.clone() };
    assert_eq!(refusal(manager.submit_as(&without)).unwrap().code, ErrorCode::Conflict);
    assert_eq!(worker.accept_within(PATIENCE).unwrap().unwrap().id, id);
    let given = giving("r", &made);
    worker.send_results_as(id, &given).unwrap();
    fs::remove_dir_all(&made).unwrap();
    worker.send_results_as(id, &given).unwrap();
    manager.until_state(id, TaskState::Succeeded).unwrap();
    worker.until(id, "the receipt is back", |view| !view.result_pending).unwrap();
    assert_eq!(worker.send_results_as(id, &given).unwrap().state, TaskState::Succeeded);
    let without = refusal(worker.send_results(id, "r")).unwrap();
    let other = refusal(worker.send_results_as(id, &giving("other", &made))).unwrap();
    assert_eq!([without.code, other.code], [ErrorCode::Conflict; 2]);
    assert_eq!(manager.submit_as(&keyed).unwrap().id, id);

    for (api, role) in [(&manager, Role::Submitted), (&worker, Role::Received)] {
        assert_eq!(api.tasks(role).unwrap().len(), 1);
        assert_eq!(transfer_of(api, id).state, TransferState::Done);
        assert_eq!(api.transfers().unwrap().len(), 2);
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_nothing_is_left_of_it() {
    let team = team();
    let manager = team.api("manager").unwrap();
    let missing = team.path("missing");

    for wrong in [missing.as_path(), Path::new("relative")] {
        let request = with_files(&team.peer("worker"), "x", &[wrong]);
        let refused = refusal(manager.submit_as(&request)).unwrap();
        assert_eq!(refused.code, ErrorCode::InvalidArgument, "{refused:?}");
    }

    assert_eq!(manager.tasks(Role::Submitted).unwrap(), []);
    assert_eq!(manager.transfers().unwrap(), []);
    assert_eq!(outgoing(&team, "manager"), 0);
}

#[test]
fn a_daemon_that_dies_while_it_takes_a_task_leaves_no_files_that_nobody_waits_for() {
    let mut team = team();
    let asked = folder(&team, "src", 48 << 20);
    team.node_mut("worker").kill().unwrap();
    let attach = asked.to_str().unwrap().to_owned();
    let submit = ["task", "submit", "--to", "worker", "--description", "x", "--attach", &attach];

    let mut transfers = 0;
    for round in 1..=6 {
        let asking = team.node("manager").spawn(&submit).unwrap();
        let manager = team.api("manager").unwrap();
        // Once as soon as there is a folder, once as soon as there is a record.
        let begun = || match round % 2 {
            0 => Ok(outgoing(&team, "manager") >= round),
            _ => Ok(manager.transfers()?.len() > transfers),
        };
        eventually("the files are being taken", begun).unwrap();
        team.node_mut("manager").kill().unwrap();
        team.node_mut("manager").restart().unwrap();
        // It asks again as soon as the daemon is back.
        let output = asking.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let id: TaskId = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();

        let manager = team.api("manager").unwrap();
        assert_eq!(manager.task(id).unwrap().state, TaskState::Queued);
        eventually("the others are cancelled", || {
            let views = manager.transfers()?;
            let go_on = views.iter().filter(|view| !view.state.is_terminal());
            Ok(go_on.count() == round)
        })
        .unwrap();
        assert_eq!(transfer_of(&manager, id).state, TransferState::Waiting);
        eventually("what is left of them is gone", || Ok(outgoing(&team, "manager") == round))
            .unwrap();
        transfers = manager.transfers().unwrap().len();
    }
}
