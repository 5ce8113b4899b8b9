//! Placement: who does a task that names no worker.

use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::TaskState;
use pilot_tests::api::results;
use pilot_tests::{Team, eventually};
use serde_json::Value;

use crate::crew::{Crew, team};

const GPU: &[&str] = &["--tag", "gpu=a100", "--tag", "region=eu"];
const US: &[&str] = &["--tag", "gpu=a100", "--tag", "region=us"];
const CPU: &[&str] = &["--tag", "region=eu"];

fn submit(team: &Team, to: &str, more: &[&str]) -> String {
    let mut args = vec!["task", "submit", "--to", to, "--description", "work"];
    args.extend(more);
    team.node("manager").ok(&args).unwrap()
}

fn why(explained: &Value, name: &str) -> (bool, String) {
    let candidates = explained["candidates"].as_array().unwrap();
    let found = candidates.iter().find(|candidate| candidate["peer"]["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is not among {explained}"));
    (found["chosen"] == true, found["why"].as_str().unwrap().to_owned())
}

#[test]
fn the_right_one_is_found_and_it_is_said_why() {
    let team = team(&[("gpu", GPU), ("us", US), ("cpu", CPU)], false);
    let _crew = Crew::start(&team, &["gpu", "us", "cpu"], |name, _| results(name));
    let manager = team.node("manager");

    let id = submit(&team, "tag:gpu=a100", &["--require", "region=eu"]);
    manager.ok(&["task", "wait", &id]).unwrap();

    assert_eq!(manager.ok(&["task", "result", &id]).unwrap(), "gpu");
    let explained = manager.json(&["task", "explain", &id]).unwrap();
    assert_eq!(explained["chosen"]["name"], "gpu");
    assert!(why(&explained, "gpu").0);
    assert_eq!(why(&explained, "us"), (false, "has no tag region=eu".to_owned()));
    assert_eq!(why(&explained, "cpu"), (false, "has no tag gpu=a100".to_owned()));
    let text = manager.ok(&["task", "explain", &id]).unwrap();
    assert!(text.contains("asked for: tag:gpu=a100 tag:region=eu"), "{text}");
    let odd = manager.ctl(&[
        "task",
        "submit",
        "--to",
        "gpu",
        "--description",
        "x",
        "--require",
        "region=eu",
    ]);
    assert_eq!(odd.unwrap().code, Some(2), "a peer is a peer");
}

#[test]
fn what_nobody_can_take_says_so_and_waits_until_somebody_can() {
    let mut team = team(&[("cpu", CPU)], false);
    let id = submit(&team, "tag:gpu=a100", &[]);
    let reason = |team: &Team| {
        let task = team.node("manager").json(&["task", "get", &id]).unwrap();
        task["reason"].as_str().unwrap_or_default().to_owned()
    };
    let wanted = "no trusted peer that allows this node its tasks has gpu=a100";
    eventually("it says that nobody can take it", || Ok(reason(&team) == wanted)).unwrap();

    team.add("gpu", GPU).unwrap();
    team.trust("manager", "gpu").unwrap();
    let crew = Crew::start(&team, &["gpu"], |name, _| results(name));

    let task: TaskId = id.parse().unwrap();
    team.api("manager").unwrap().until_state(task, TaskState::Succeeded).unwrap();
    assert_eq!(crew.done.lock().unwrap().len(), 1);
    assert_eq!(submit(&team, "any", &["--require", "gpu=a100", "--wait"]), "gpu");
}

#[test]
fn who_is_away_or_declines_is_passed_over() {
    let mut team = team(&[("one", CPU), ("two", CPU)], false);
    let api = team.api("manager").unwrap();
    team.node_mut("two").kill().unwrap();
    let id: TaskId = submit(&team, "any", &[]).parse().unwrap();
    let placed = api.until(id, "it is at one", |view| view.state == TaskState::Delivered).unwrap();
    assert_eq!(placed.peer.unwrap().name.unwrap().to_string(), "one");

    team.node_mut("two").restart().unwrap();
    let crew = Crew::start(&team, &["two"], |name, _| results(name));
    team.node("one").ok(&["task", "decline", &id.to_string(), "--reason", "not today"]).unwrap();

    api.until_state(id, TaskState::Succeeded).unwrap();
    assert_eq!(crew.done.lock().unwrap().len(), 1);
    let task = team.node("manager").json(&["task", "get", &id.to_string()]).unwrap();
    assert_eq!(
        (&task["attempt"], &task["attempts"][0]["reason"]),
        (&2.into(), &"not today".into())
    );
    let explained = team.node("manager").json(&["task", "explain", &id.to_string()]).unwrap();
    assert_eq!(why(&explained, "one"), (false, "declined it".to_owned()));
}

#[test]
fn files_of_a_pools_task_are_copied_when_it_is_submitted() {
    let team = team(&[("one", CPU)], false);
    let file = team.folder().join("notes.bin");
    std::fs::write(&file, vec![1; 2 << 20]).unwrap();
    let id = submit(&team, "any", &["--attach", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let _crew = Crew::start(&team, &["one"], |_, task| {
        let path = std::path::PathBuf::from(task.attachments[0].path.clone().unwrap());
        results(&std::fs::read(path).unwrap().len().to_string())
    });

    let manager = team.node("manager");
    manager.ok(&["task", "wait", &id]).unwrap();

    assert_eq!(manager.ok(&["task", "result", &id]).unwrap(), (2 << 20).to_string());
}
