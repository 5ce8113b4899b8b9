//! Trust as an operator sets it up, narrows it and ends it.

use std::process::Child;

use pilot_tests::{Reply, Team, eventually};
use serde_json::{Value, json};

#[test]
fn trust_is_mutual_in_either_order_and_repeating_it_changes_nothing() {
    let team = Team::start(&["one", "two"]).unwrap();
    let (one, two) = (team.node("one"), team.node("two"));

    let asked = one.json(&["trust", team.address("two")]).unwrap();
    eventually("two is asked", || {
        Ok(two.json(&["trust", "pending"])?.as_array().is_some_and(|asking| asking.len() == 1))
    })
    .unwrap();
    let completed = two.json(&["trust", team.address("one")]).unwrap();
    eventually("one knows", || Ok(one.ctl(&["trust", "check", "two"])?.code == Some(0))).unwrap();
    let again = one.json(&["trust", "two"]).unwrap();

    assert_eq!(asked["state"], "requested");
    assert_eq!(asked["fingerprint"], two.json(&["whoami"]).unwrap()["fingerprint"]);
    assert_eq!((&completed["state"], &again["state"]), (&json!("trusted"), &json!("trusted")));
    assert_eq!(two.json(&["trust", "pending"]).unwrap(), json!([]));
    assert_eq!(one.json(&["trust", "list"]).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn trust_is_refused_to_another_key_than_the_named_one() {
    let team = Team::start(&["one", "two", "three"]).unwrap();
    let one = team.node("one");
    let print = |name: &str| {
        let node = team.node(name).json(&["whoami"]).unwrap();
        node["fingerprint"].as_str().unwrap().to_owned()
    };
    let trust = |fingerprint: &str| {
        one.ctl(&["trust", team.address("two"), "--fingerprint", fingerprint, "--json"]).unwrap()
    };

    let refused = trust(&print("three"));
    let asked = trust(&print("two"));

    assert_eq!(refused.code, Some(4));
    assert_eq!(refused.error_code().as_deref(), Some("fingerprint_mismatch"));
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
}

#[test]
fn trust_that_is_narrowed_lets_nothing_else_in() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let submit = ["task", "submit", "--to", "backend", "--description", "x"];
    backend.ok(&["trust", "manager", "--allow", "data,events"]).unwrap();

    // The receiver decides: what the manager believes does not count.
    let id = manager.ctl(&submit).unwrap();
    let told = match id.code {
        Some(0) => manager.ctl(&["task", "wait", id.text().trim(), "--json"]).unwrap(),
        _ => manager.ctl(&[&submit[..], &["--json"]].concat()).unwrap(),
    };
    let shown = backend.json(&["trust", "show", "manager"]).unwrap();
    backend.ok(&["trust", "manager", "--allow", "tasks"]).unwrap();
    eventually("the manager has the wider grant", || {
        Ok(manager.json(&["trust", "show", "backend"])?["they_allow"] == json!(["tasks"]))
    })
    .unwrap();
    let id = manager.ok(&submit).unwrap();

    assert_ne!(told.code, Some(0));
    assert!(told.stderr.contains("allow"), "{}", told.stderr);
    assert_eq!(shown["i_allow"], json!(["data", "events"]));
    let task = backend.json(&["task", "accept", "--timeout", "30"]).unwrap();
    assert_eq!(task["id"], id.as_str());
}

#[test]
fn trust_that_expires_is_over_by_itself() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    manager.ok(&["trust", team.address("backend"), "--expires", "1s"]).unwrap();
    let completed = backend.json(&["trust", team.address("manager")]).unwrap();

    eventually("it is over", || Ok(backend.ctl(&["trust", "check", "manager"])?.code == Some(4)))
        .unwrap();

    assert_eq!(completed["state"], "trusted");
    assert!(completed["expires_at"].is_string(), "{completed}");
    let args = ["task", "submit", "--to", "manager", "--description", "x", "--json"];
    assert_eq!(backend.ctl(&args).unwrap().code, Some(4));
}

#[test]
fn untrust_holds_at_once_for_open_tunnels_and_queued_work() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    manager.ok(&["ping", "backend", "-c", "1"]).unwrap();
    let submit = ["task", "submit", "--to", "backend", "--description", "x"];
    let queued = manager.ok(&submit).unwrap();
    let waiting: Child = manager.spawn(&["task", "wait", &queued, "--json"]).unwrap();
    eventually("it is in the queue", || {
        Ok(backend.json(&["task", "list"])?.as_array().is_some_and(|list| list.len() == 1))
    })
    .unwrap();

    let ended = backend.json(&["untrust", "manager"]).unwrap();
    let accepted = backend.ctl(&["task", "accept", "--timeout", "0", "--json"]).unwrap();

    assert_eq!(accepted.code, Some(5), "untrusted work is given out: {}", accepted.text());
    assert_ne!(ended["state"], "trusted");
    let refused = manager.ctl(&["ping", "backend", "-c", "1", "--json"]).unwrap();
    assert_eq!(refused.code, Some(4), "{} {}", refused.text(), refused.stderr);
    eventually("the manager knows", || {
        Ok(manager.ctl(&[&submit[..], &["--json"]].concat())?.code == Some(4))
    })
    .unwrap();
    let waited = Reply::from(waiting.wait_with_output().unwrap());
    assert_ne!(waited.code, Some(0));
    let task: Value = serde_json::from_str(&waited.text()).unwrap();
    assert!(task["reason"].as_str().is_some_and(|why| why.contains("trust")), "{task}");
}

#[test]
fn untrust_is_learnt_by_a_peer_that_was_away() {
    let mut team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    team.node_mut("backend").kill().unwrap();

    team.node("manager").ok(&["untrust", "backend"]).unwrap();
    team.node_mut("backend").restart().unwrap();

    eventually("backend knows", || {
        Ok(team.node("backend").ctl(&["trust", "check", "manager"])?.code == Some(4))
    })
    .unwrap();
    let args = ["task", "submit", "--to", "backend", "--description", "x", "--json"];
    let refused = team.node("manager").ctl(&args).unwrap();
    assert_eq!(refused.error_code().as_deref(), Some("not_trusted"));
}
