//! Polo: real tasks leave receipts, and `resolve` shows what they come to.

use std::fs;

use pilot_local_api::tasks::TaskState;
use pilot_tests::{Node, NodeOptions, Team, eventually};
use serde_json::Value;

/// A manager and its friend, who both trust the backend, which does the work.
fn team() -> Team {
    let team = Team::start(&["manager", "backend", "friend"]).unwrap();
    for (one, other) in [("manager", "backend"), ("friend", "backend"), ("friend", "manager")] {
        team.trust(one, other).unwrap();
    }
    team
}

/// How the backend ends a task.
#[derive(Clone, Copy)]
enum End {
    Well,
    Failed,
}

/// One task of the manager for the backend, which ends it so.
fn work(team: &Team, end: End) {
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let submit = ["task", "submit", "--to", "backend", "--description", "build 17"];
    let id = manager.ok(&submit).unwrap();
    let accepted = backend.json(&["task", "accept", "--timeout", "30"]).unwrap();
    assert_eq!(accepted.get("id").and_then(Value::as_str), Some(id.as_str()));
    let ended = match end {
        End::Well => backend.ok(&["task", "send-results", "--task-id", &id, "--data", "done"]),
        End::Failed => backend.ok(&["task", "fail", &id, "--reason", "no disk"]),
    };
    ended.unwrap();
}

fn polo(team: &Team, asking: &str) -> Value {
    team.node(asking).json(&["polo", "backend"]).unwrap()
}

/// Waits until so many of the backend's tasks for the manager count.
fn until_counted(team: &Team, asking: &str, succeeded: u64, failed: u64) -> Value {
    let mut seen = Value::Null;
    eventually(&format!("{succeeded} successes and {failed} failures count"), || {
        seen = polo(team, asking);
        let count = |name: &str| seen.pointer(&format!("/parts/0/{name}"))?.as_u64();
        Ok((count("succeeded"), count("failed")) == (Some(succeeded), Some(failed)))
    })
    .unwrap();
    seen
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn resolve_shows_the_polo_of_work_that_was_done() {
    let team = team();
    let manager = team.node("manager");
    let nothing = manager.ok(&["resolve", "backend"]).unwrap();
    assert!(nothing.contains("polo: 0\n"), "{nothing}");

    work(&team, End::Well);
    until_counted(&team, "manager", 1, 0);
    let one = manager.ok(&["resolve", team.address("backend")]).unwrap();
    assert!(one.contains("polo: 1\n"), "{one}");

    for _ in 0..3 {
        work(&team, End::Well);
    }
    work(&team, End::Failed);
    let view = until_counted(&team, "manager", 4, 1);

    // One at first, then three of half to one and a half each, less the failure.
    let sum = number(&view["parts"][0]["sum"]);
    assert!((1.5..=4.5).contains(&sum), "{view}");
    let adds = 100.0 * (1.0 - (-sum / 100.0).exp());
    assert!((number(&view["parts"][0]["adds"]) - adds).abs() < 0.01, "{view}");
    assert_eq!(number(&view["polo"]), adds.round());
    assert_eq!(view["strangers"]["submitters"], 0);
    assert_eq!(view["history"].as_array().unwrap().len(), 1, "all of it was today: {view}");
    let own = &view["own"];
    assert_eq!([&own["submitted"], &own["succeeded"], &own["failed"]], [5, 4, 1]);
    assert_eq!(number(&own["success_rate"]), 0.8);
    assert!(own["run"]["p50_ms"].as_u64() <= own["run"]["p95_ms"].as_u64(), "{own}");

    // The friend takes the manager's word, and has no figures of its own.
    let friend = until_counted(&team, "friend", 4, 1);
    assert_eq!((&friend["polo"], &friend["own"]["submitted"]), (&view["polo"], &Value::from(0)));
    // The worker sees its own.
    let resolved = team.node("backend").json(&["resolve", team.address("backend")]).unwrap();
    assert_eq!(resolved["polo"], view["polo"]);
}

#[test]
fn polo_is_explained_listed_and_sorted_by() {
    let team = team();
    let manager = team.node("manager");
    work(&team, End::Well);
    until_counted(&team, "manager", 1, 0);

    let text = manager.ok(&["polo", "backend", "--explain", "--history"]).unwrap();
    let peers = manager.ok(&["peers", "--sort", "polo"]).unwrap();

    assert!(text.contains("\npolo: 1\n"), "{text}");
    assert!(text.contains("own tasks: 1 submitted, 1 succeeded, 0 failed, 0 expired"), "{text}");
    let manager_line = format!("manager ({})", team.address("manager"));
    let explained = text.lines().find(|line| line.starts_with(&manager_line));
    assert!(explained.is_some_and(|line| line.contains("+1.0")), "{text}");
    let mut lines = text.lines().skip_while(|line| !line.starts_with("DATE"));
    let today: Vec<&str> = lines.nth(1).unwrap_or_default().split_whitespace().skip(1).collect();
    assert_eq!(today, ["1", "0", "0"], "{text}");

    let names: Vec<&str> =
        peers.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["backend", "friend"], "{peers}");
    let polos = manager.json(&["peers", "--sort", "polo"]).unwrap();
    assert_eq!((&polos[0]["polo"], &polos[1]["polo"]), (&Value::from(1), &Value::from(0)));
}

#[test]
fn polo_goes_with_the_key_to_a_new_machine() {
    let mut team = team();
    work(&team, End::Well);
    let before = until_counted(&team, "manager", 1, 0);
    team.node_mut("backend").kill().unwrap();
    let home = team.path("new").join("backend");
    fs::create_dir_all(&home).unwrap();
    for folder in [team.path("new"), home.clone()] {
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(folder, only_ours).unwrap();
    }
    fs::copy(team.node("backend").home().join("node.key"), home.join("node.key")).unwrap();

    let registry = Some(team.rendezvous.addr().to_string());
    let options = NodeOptions { registry, flags: Vec::new() };
    let mut moved = Node::start(team.programs(), &team.path("new"), "backend", options).unwrap();
    assert_eq!(moved.registered().unwrap(), team.address("backend"));

    let after = polo(&team, "manager");
    assert_eq!((&after["polo"], &after["parts"]), (&before["polo"], &before["parts"]));
    let resolved = team.node("manager").ok(&["resolve", "backend"]).unwrap();
    assert!(resolved.contains("polo: 1\n"), "{resolved}");
}

#[test]
fn work_that_was_done_without_the_rendezvous_counts_when_it_is_back() {
    let mut team = team();
    work(&team, End::Well);
    until_counted(&team, "manager", 1, 0);
    team.rendezvous.kill().unwrap();

    // More than go into one request.
    let (manager, backend) = (team.api("manager").unwrap(), team.api("backend").unwrap());
    for task in 0..70 {
        let id = manager.submit(&team.peer("backend"), &format!("build {task}")).unwrap().id;
        assert_eq!(backend.accept().unwrap().id, id);
        backend.send_results(id, "done").unwrap();
        manager.until_state(id, TaskState::Succeeded).unwrap();
    }
    eventually("the manager notices that nobody tells", || {
        let view = polo(&team, "manager");
        Ok(view["polo"].is_null() && view["problem"].is_string())
    })
    .unwrap();
    let away = polo(&team, "manager");
    assert_eq!(away["own"]["succeeded"], 71, "the own figures stay: {away}");
    team.node_mut("backend").kill().unwrap();
    team.rendezvous.restart().unwrap();
    team.node_mut("backend").restart().unwrap();

    until_counted(&team, "manager", 71, 0);
    let metrics = team.node("backend").api().unwrap();
    eventually("nothing is owed any more", || {
        let text = metrics.metrics()?;
        Ok(text.contains("pilot_receipts_owed 0\n")
            && text.contains("pilot_receipts_put_total{outcome=\"counted\"} 70\n"))
    })
    .unwrap();
}
