//! Tasks that come after each other, and what goes from one to the next.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{AcceptedTask, SendResultsRequest, TaskState};
use pilot_tests::Team;
use pilot_tests::api::results;

use crate::crew::{Crew, team};

/// What no result of a task may leave on the manager's disk that goes on from
/// worker to worker.
const SECRET: &str = "passed-on-from-hand-to-hand";

/// Adds its own description to what it was given.
fn append(_: &str, task: &AcceptedTask) -> SendResultsRequest {
    let given: Vec<&str> = task.inputs.iter().filter_map(|input| input.data.as_deref()).collect();
    results(&format!("{}[{}]", task.description, given.join(",")))
}

fn submit(team: &Team, to: &str, description: &str, more: &[&str]) -> String {
    let mut args = vec!["task", "submit", "--to", to, "--description", description];
    args.extend(more);
    team.node("manager").ok(&args).unwrap()
}

/// How often some text is in the files of a folder.
fn found(folder: &Path, text: &str) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            count += found(&entry.path(), text);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            count += bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
        }
    }
    count
}

#[test]
fn a_chain_of_four_passes_each_result_on_and_not_through_the_managers_disk() {
    let workers: [(&str, &[&str]); 3] = [("a", &[]), ("b", &[]), ("c", &[])];
    let team = team(&workers, true);
    let first = submit(&team, "a", SECRET, &["--leave-result"]);
    let second = submit(&team, "b", "two", &["--input-from", &first, "--leave-result"]);
    let third = submit(&team, "c", "three", &["--input-from", &second, "--leave-result"]);
    let fourth = submit(&team, "a", "four", &["--input-from", &third, "--leave-result"]);
    let waits = team.node("manager").json(&["task", "get", &fourth]).unwrap();
    assert_eq!(waits["state"], "queued");
    assert_eq!(waits["reason"], format!("waits for task {third}"));

    let crew = Crew::start(&team, &["a", "b", "c"], append);
    team.node("manager").ok(&["task", "wait", &fourth]).unwrap();

    let order: Vec<String> =
        crew.done.lock().unwrap().iter().map(|(name, id)| format!("{name} {id}")).collect();
    let wanted = [("a", &first), ("b", &second), ("c", &third), ("a", &fourth)];
    assert_eq!(order, wanted.map(|(name, id)| format!("{name} {id}")));
    // The description of the first task is there: it came from here.
    let asked = found(&team.path("manager"), &format!("{SECRET}["));
    assert_eq!(asked, 0, "a result was on the manager's disk");
    let result = team.node("manager").ok(&["task", "result", &fourth]).unwrap();
    assert_eq!(result, format!("four[three[two[{SECRET}[]]]]"));
    assert_eq!(found(&team.path("manager"), &format!("{SECRET}[")), 0, "fetching left it there");
}

#[test]
fn a_diamond_joins_both_results_even_if_the_workers_do_not_know_each_other() {
    let workers: [(&str, &[&str]); 3] = [("a", &[]), ("b", &[]), ("c", &[])];
    let team = team(&workers, false);
    let plan = team.folder().join("plan.jsonl");
    fs::write(
        &plan,
        r#"{"name":"end","to":"a","description":"end","input_from":["left","right"]}
{"name":"left","to":"b","description":"left","input_from":["start"],"leave_result":true}
{"name":"right","to":"c","description":"right","input_from":["start"]}
{"name":"start","to":"a","description":"start"}
"#,
    )
    .unwrap();
    let crew = Crew::start(&team, &["a", "b", "c"], append);

    let manager = team.node("manager");
    let reply = manager.ctl(&["task", "plan", plan.to_str().unwrap(), "--wait"]).unwrap();

    assert_eq!(reply.code, Some(0), "{}", reply.stderr);
    let lines = reply.text();
    let end: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(end["data"], "end[left[start[]],right[start[]]]");
    let done: Vec<TaskId> = crew.done.lock().unwrap().iter().map(|(_, id)| *id).collect();
    let ids: Vec<TaskId> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!((done[0], done[3]), (ids[3], ids[0]));
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn large_files_go_on_with_the_result() {
    let workers: [(&str, &[&str]); 2] = [("a", &[]), ("b", &[])];
    let team = team(&workers, true);
    let made = team.folder().join("made");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("big.bin"), vec![7; 3 << 20]).unwrap();
    let _crew = Crew::start(&team, &["a", "b"], {
        let made = made.clone();
        move |_, task| {
            if task.description == "make" {
                let attach = vec![made.join("big.bin").as_path().into()];
                return SendResultsRequest { attach, ..results("made") };
            }
            let input = task.inputs.first().unwrap();
            let file = input.attachments.first().unwrap();
            let bytes = fs::read(Path::new(&std::path::PathBuf::from(file.path.clone().unwrap())));
            results(&format!(
                "{} {}",
                String::from_utf8_lossy(file.name.as_bytes()),
                bytes.unwrap().len()
            ))
        }
    });

    for left in [&["--leave-result"][..], &[]] {
        let made = submit(&team, "a", "make", left);
        let used = submit(&team, "b", "use", &["--input-from", &made, "--wait"]);
        assert_eq!(used, format!("big.bin {}", 3 << 20));
        let same = submit(&team, "a", "use", &["--input-from", &made, "--wait"]);
        assert_eq!(same, format!("big.bin {}", 3 << 20));
    }
    assert_eq!(found(&team.path("manager").join("inbox"), "no such thing"), 0);
}

#[test]
fn what_comes_after_a_failure_is_cancelled_or_done_as_asked() {
    let team = team(&[("a", &[])], false);
    let _crew = Crew::start(&team, &["a"], |_, task| {
        if task.description == "break" {
            SendResultsRequest {
                status: pilot_local_api::tasks::ResultStatus::Failed,
                reason: Some("broken".to_owned()),
                ..results("")
            }
        } else {
            results(&task.description)
        }
    });
    let manager = team.node("manager");
    let broken = submit(&team, "a", "break", &[]);

    let behind = manager.ctl(&[
        "task",
        "submit",
        "--to",
        "a",
        "--description",
        "x",
        "--after",
        &broken,
        "--wait",
    ]);
    let anyway =
        submit(&team, "a", "tidy up", &["--after", &broken, "--on-dep-failure", "run", "--wait"]);

    let behind = behind.unwrap();
    assert_eq!(behind.code, Some(22), "{}", behind.stderr);
    assert!(behind.stderr.contains("which it comes after, failed"), "{}", behind.stderr);
    assert_eq!(anyway, "tidy up");
}

#[test]
fn tasks_that_would_wait_for_each_other_are_refused_and_shown() {
    let team = team(&[("a", &[])], false);
    let plan = team.folder().join("ring.jsonl");
    let line = |name: &str, after: &str| {
        format!(
            "{{\"name\":\"{name}\",\"to\":\"a\",\"description\":\"x\",\"after\":[\"{after}\"]}}\n"
        )
    };
    fs::write(&plan, [line("one", "two"), line("two", "three"), line("three", "one")].concat())
        .unwrap();

    let reply = team.node("manager").ctl(&["task", "plan", plan.to_str().unwrap()]).unwrap();

    assert_eq!(reply.code, Some(2), "{}", reply.stderr);
    assert!(reply.stderr.contains("one after two after three after one"), "{}", reply.stderr);
    let api = team.api("manager").unwrap();
    assert!(api.tasks(pilot_local_api::tasks::Role::Submitted).unwrap().is_empty());
    let unknown = team.node("manager").ctl(&[
        "task",
        "submit",
        "--to",
        "a",
        "--description",
        "x",
        "--after",
        "01900000-0000-7000-8000-000000000000",
    ]);
    assert_eq!(unknown.unwrap().code, Some(3));
}

#[test]
fn a_manager_that_dies_goes_on_with_what_it_planned() {
    let mut team = team(&[("a", &[])], false);
    let first = submit(&team, "a", "one", &[]);
    let second = submit(&team, "a", "two", &["--input-from", &first]);
    team.node_mut("manager").kill().unwrap();
    team.node_mut("manager").restart().unwrap();

    let _crew = Crew::start(&team, &["a"], append);

    let id = second.parse().unwrap();
    team.api("manager").unwrap().until_state(id, TaskState::Succeeded).unwrap();
    assert_eq!(team.node("manager").ok(&["task", "result", &second]).unwrap(), "two[one[]]");
}
