//! Groups, further attempts, and keys.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use pilot_local_api::tasks::{ResultStatus, SendResultsRequest};
use pilot_tests::api::results;
use serde_json::Value;

use crate::crew::{Crew, team};

fn failed(reason: &str) -> SendResultsRequest {
    let reason = Some(reason.to_owned());
    SendResultsRequest { status: ResultStatus::Failed, reason, ..results("half of it") }
}

#[test]
fn a_file_is_mapped_over_three_workers() {
    let workers: [(&str, &[&str]); 3] = [("a", &[]), ("b", &[]), ("c", &[])];
    let team = team(&workers, false);
    let each = team.folder().join("params.jsonl");
    let lines: String = (0..50).map(|number| format!("{{\"number\": {number}}}\n")).collect();
    fs::write(&each, lines).unwrap();
    let crew = Crew::start(&team, &["a", "b", "c"], |_, task| {
        let number: u64 = task.params.0[0].1.parse().unwrap();
        results(&(number * number).to_string())
    });

    let manager = team.node("manager");
    let args = ["task", "map", "--each", each.to_str().unwrap(), "--description", "square it"];
    let reply = manager.ctl(&[&args[..], &["--group", "squares", "--wait"]].concat()).unwrap();

    assert_eq!(reply.code, Some(0), "{}", reply.stderr);
    let text = reply.text();
    let squares: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["data"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(squares, (0..50).map(|number| number * number).collect::<Vec<_>>());
    let mut shares = BTreeMap::new();
    for (name, _) in crew.done.lock().unwrap().iter() {
        *shares.entry(name.clone()).or_insert(0) += 1;
    }
    assert_eq!(shares.values().sum::<u32>(), 50);
    assert!(shares.len() == 3 && shares.values().all(|share| *share >= 5), "{shares:?}");
    let all = manager.ok(&["task", "wait", "--group", "squares"]).unwrap();
    assert_eq!(all.lines().count(), 50);
    let any = manager.ok(&["task", "wait", "--group", "squares", "--any"]).unwrap();
    assert!(any.ends_with("succeeded"), "{any}");
    let listed = manager.json(&["task", "list", "--group", "squares"]).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 50);
    assert_eq!(manager.ctl(&["task", "wait", "--group", "circles"]).unwrap().code, Some(3));
}

#[test]
fn what_fails_is_tried_again_and_dead_in_the_end() {
    let team = team(&[("a", &[])], false);
    let tries: &'static Mutex<BTreeMap<String, u32>> = Box::leak(Box::default());
    let _crew = Crew::start(&team, &["a"], |_, task| {
        let mut tries = tries.lock().unwrap();
        let tried = tries.entry(task.description.clone()).or_default();
        *tried += 1;
        assert_eq!(*tried, task.attempt);
        match task.description.as_str() {
            "second time" if *tried == 2 => results("done"),
            "never" if task.attempt == 3 => results("by hand"),
            "for good" => SendResultsRequest { no_retry: true, ..failed("nonsense") },
            _ => failed("not yet"),
        }
    });
    let manager = team.node("manager");
    let submit = |description: &str, retries: &str| {
        let args = ["task", "submit", "--to", "a", "--description", description];
        manager.ctl(&[&args[..], &["--retries", retries, "--wait"]].concat()).unwrap()
    };

    let second = submit("second time", "3");
    assert_eq!((second.code, second.text()), (Some(0), "done".to_owned()));
    let never = submit("never", "1");
    assert_eq!(never.code, Some(20));
    let good = submit("for good", "5");
    assert_eq!(good.code, Some(20));
    assert_eq!(tries.lock().unwrap()["for good"], 1);

    let dead = manager.json(&["task", "dead", "list"]).unwrap();
    let dead: Vec<(&str, u64)> = dead
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (task["description"].as_str().unwrap(), task["attempt"].as_u64().unwrap()))
        .collect();
    assert_eq!(dead, [("for good", 1), ("never", 2)]);
    let list = manager.json(&["task", "dead", "list"]).unwrap();
    let id = list[1]["id"].as_str().unwrap();
    let first = manager.ctl(&["task", "result", id, "--attempt", "1"]).unwrap();
    assert_eq!((first.code, first.text()), (Some(20), "half of it".to_owned()));

    manager.ok(&["task", "retry", id]).unwrap();
    manager.ok(&["task", "wait", id]).unwrap();
    assert_eq!(manager.ok(&["task", "result", id]).unwrap(), "by hand");
    assert_eq!(manager.ctl(&["task", "retry", id]).unwrap().code, Some(8));
    assert_eq!(manager.json(&["task", "dead", "list"]).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn of_tasks_with_one_key_one_at_a_time_is_worked_on() {
    let workers: [(&str, &[&str]); 2] = [("a", &[]), ("b", &[])];
    let team = team(&workers, false);
    let busy: &'static Mutex<u32> = Box::leak(Box::default());
    let _crew = Crew::start(&team, &["a", "b"], |_, _| {
        *busy.lock().unwrap() += 1;
        assert_eq!(*busy.lock().unwrap(), 1, "two at once");
        // Long enough for another to begin if it could.
        let until = std::time::Instant::now() + std::time::Duration::from_millis(30);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        *busy.lock().unwrap() -= 1;
        results("")
    });
    let manager = team.node("manager");
    for to in ["a", "b", "any", "a", "b"] {
        let args = ["task", "submit", "--to", to, "--description", "deploy"];
        manager.ok(&[&args[..], &["--exclusive", "prod", "--group", "deploys"]].concat()).unwrap();
    }

    let all = manager.ok(&["task", "wait", "--group", "deploys"]).unwrap();

    assert_eq!(all.matches("succeeded").count(), 5, "{all}");
}
