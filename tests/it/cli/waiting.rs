//! Waiting for tasks: endings, signals, time-outs, restarts.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};

use pilot_tests::{Reply, Team, eventually};
use serde_json::Value;

#[test]
fn each_ending_has_its_exit_code() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let submit = || {
        let id = manager.ok(&["task", "submit", "--to", "backend", "--description", "x"]).unwrap();
        backend.ok(&["task", "accept", "--timeout", "30"]).unwrap();
        id
    };
    let fails = submit();
    backend.ok(&["task", "fail", &fails, "--reason", "no disk"]).unwrap();
    let declined = submit();
    backend.ok(&["task", "decline", &declined, "--reason", "no gpu"]).unwrap();
    let cancelled = submit();
    manager.ok(&["task", "cancel", &cancelled, "--grace", "0", "--reason", "enough"]).unwrap();
    let expired = manager
        .ok(&["task", "submit", "--to", "backend", "--description", "x", "--deadline", "50ms"])
        .unwrap();
    let running = submit();

    let endings = [
        (&fails, 20, "task_failed", "no disk"),
        (&declined, 21, "task_declined", "no gpu"),
        (&cancelled, 22, "task_cancelled", "enough"),
        (&expired, 23, "task_expired", "deadline"),
        (&running, 24, "still_running", "it goes on"),
    ];
    for (id, exit, code, why) in endings {
        let limit = if exit == 24 { "50ms" } else { "10s" };
        let waited = manager.ctl(&["task", "wait", id, "--timeout", limit, "--json"]).unwrap();
        let result = manager.ctl(&["task", "result", id, "--json"]).unwrap();

        assert_eq!(waited.code, Some(exit), "{}", waited.stderr);
        assert_eq!(waited.error_code().as_deref(), Some(code));
        assert!(waited.stderr.contains(why), "{}", waited.stderr);
        assert_eq!(result.code, Some(exit), "{}", result.stderr);
    }
}

#[test]
fn several_are_waited_for_until_one_or_all_have_ended() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let submit = |what: &str| {
        manager.ok(&["task", "submit", "--to", "backend", "--description", what]).unwrap()
    };
    let (first, second) = (submit("1"), submit("2"));
    let any = manager.spawn(&["task", "wait", "--any", &first, &second]).unwrap();
    let all = manager.spawn(&["task", "wait", "--all", &first, &second, "--json"]).unwrap();
    let task = backend.json(&["task", "accept"]).unwrap();
    backend.ok(&["task", "send-results", "--task-id", task["id"].as_str().unwrap()]).unwrap();

    let any = Reply::from(any.wait_with_output().unwrap());
    backend.ok(&["task", "accept"]).unwrap();
    backend.ok(&["task", "fail", &second, "--reason", "why"]).unwrap();
    let all = Reply::from(all.wait_with_output().unwrap());

    assert_eq!((any.code, any.text()), (Some(0), format!("{first}  succeeded\n")));
    assert_eq!(all.code, Some(20), "{}", all.stderr);
    let tasks: Value = serde_json::from_str(&all.text()).unwrap();
    assert_eq!((&tasks[0]["state"], &tasks[1]["state"]), (&"succeeded".into(), &"failed".into()));
}

#[test]
fn a_signal_stops_the_waiting_and_not_the_task() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    for (signal, exit) in [("-INT", 130), ("-TERM", 143)] {
        let submit = ["task", "submit", "--to", "backend", "--description", "x", "--wait"];
        let mut child = manager.spawn(&submit).unwrap();
        let (id, said) = id_said(&mut child);
        assert!(
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );

        let stopped = Reply::from(child.wait_with_output().unwrap());

        let said: String = said.lines().map_while(Result::ok).collect();
        assert_eq!((stopped.code, stopped.text()), (Some(exit), String::new()));
        assert!(said.contains(&format!("pilotctl task wait {id}")), "{said}");
        backend.ok(&["task", "accept", "--timeout", "30"]).unwrap();
        backend.ok(&["task", "send-results", "--task-id", &id, "--data", "done"]).unwrap();
        manager.ok(&["task", "wait", &id]).unwrap();
        assert_eq!(manager.ok(&["task", "result", &id]).unwrap(), "done");
    }
}

#[test]
fn a_wait_outlives_the_daemons_it_waits_on() {
    let mut team = pair();
    let submit = ["task", "submit", "--to", "backend", "--description", "x", "--wait"];
    let mut child = team.node("manager").spawn(&submit).unwrap();
    let (id, _said) = id_said(&mut child);
    let watch = team.node("manager").spawn(&["task", "watch", &id, "--json"]).unwrap();
    team.node("backend").ok(&["task", "accept", "--timeout", "30"]).unwrap();

    team.node_mut("manager").kill().unwrap();
    let send = ["task", "send-results", "--task-id", &id, "--data", "survived"];
    team.node("backend").ok(&send).unwrap();
    team.node_mut("backend").kill().unwrap();
    team.node_mut("manager").restart().unwrap();
    team.node_mut("backend").restart().unwrap();

    let waited = Reply::from(child.wait_with_output().unwrap());
    let watched = Reply::from(watch.wait_with_output().unwrap());
    assert_eq!((waited.code, waited.text().as_str()), (Some(0), "survived"));
    let revisions: Vec<u64> = watched
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["revision"].as_u64().unwrap())
        .collect();
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "{revisions:?}");
    assert!(watched.text().lines().last().unwrap().contains("succeeded"), "{}", watched.text());
}

#[test]
fn results_wait_for_a_daemon_that_restarts() {
    let mut team = pair();
    let submit = ["task", "submit", "--to", "backend", "--description", "x"];
    let id = team.node("manager").ok(&submit).unwrap();
    team.node("backend").ok(&["task", "accept", "--timeout", "30"]).unwrap();
    team.node_mut("backend").kill().unwrap();

    let send = ["task", "send-results", "--task-id", &id, "--data", "patience"];
    let mut child = team.node("backend").spawn(&send).unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    team.node_mut("backend").restart().unwrap();
    let sent = child.wait_with_output().unwrap();

    assert!(said.contains("trying again"), "{said}");
    assert_eq!(sent.status.code(), Some(0));
    team.node("manager").ok(&["task", "wait", &id]).unwrap();
    assert_eq!(team.node("manager").ok(&["task", "result", &id]).unwrap(), "patience");
}

#[test]
fn a_repeated_submit_with_the_same_key_is_the_same_task() {
    let team = pair();
    let manager = team.node("manager");
    let submit = |what: &'static str| {
        ["task", "submit", "--to", "backend", "--description", what, "--idempotency-key", "k1"]
    };

    let first = manager.ok(&submit("x")).unwrap();
    let second = manager.ok(&submit("x")).unwrap();
    let reworded = manager.ok(&submit("y")).unwrap();

    assert_eq!((&second, &reworded), (&first, &first));
    assert_eq!(manager.json(&["task", "list"]).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_worker_tells_how_far_it_is_and_learns_of_a_cancel() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let submit = ["task", "submit", "--to", "backend", "--description", "x"];
    let id = manager.ok(&submit).unwrap();
    backend.ok(&["task", "accept", "--timeout", "30"]).unwrap();

    let before = backend.ok(&["task", "progress", &id, "40", "--note", "-- half --"]).unwrap();
    manager.ok(&["task", "cancel", &id]).unwrap();
    eventually("the worker learns of the cancel", || {
        Ok(backend.ok(&["task", "progress", &id, "50"])? == "cancel requested")
    })
    .unwrap();
    backend.ok(&["task", "fail", &id, "--reason", "stopped"]).unwrap();

    assert_eq!(before, "go on");
    let ended = manager.ctl(&["task", "wait", &id, "--json"]).unwrap();
    let task: Value = serde_json::from_str(&ended.text()).unwrap();
    assert_eq!((&task["percent"], &task["note"]), (&50.into(), &"-- half --".into()));
    assert_eq!(ended.code, Some(20), "{}", ended.stderr);
}

fn pair() -> Team {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    team
}

/// The id that `submit --wait` says first, and what it says after it.
fn id_said(child: &mut Child) -> (String, BufReader<std::process::ChildStderr>) {
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let id = line.split_whitespace().find(|word| word.len() == 36).unwrap().to_owned();
    (id, said)
}
