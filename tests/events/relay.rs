//! Events of one specialist for another, through the hub.

use serde_json::json;

use crate::{next, publish, start, team, until_heard};

const RULE: [&str; 6] = ["--from", "backend", "--to", "qa", "--topic", "specialist.*"];

#[test]
fn specialists_hear_each_other_only_while_the_hub_lets_them() {
    let team = team(&["hub", "backend", "qa"]);
    let (hub, backend) = (team.node("hub"), team.node("backend"));
    let relay = |word: &str| hub.ok(&[&["events", "relay", word], &RULE[..]].concat()).unwrap();
    let mut all = start(hub, &["subscribe", "--topic", "specialist.*"]);
    let mut qa = start(team.node("qa"), &["subscribe", "--topic", "specialist.*"]);
    until_heard(&team, "backend", "hub", "specialist.*");
    until_heard(&team, "hub", "qa", "specialist.*");

    publish(backend, "specialist.backend.ready", "1");
    while next(&mut all)["data"] != 1 {}
    // The hub has it, and what the hub publishes now is the first that comes.
    publish(hub, "specialist.hub", "10");
    assert_eq!(next(&mut qa)["data"], 10);

    let said = relay("add");
    assert_eq!(
        said,
        format!(
            "qa ({}) may now hear what backend ({}) publishes about specialist.*, through this node",
            team.address("qa"),
            team.address("backend")
        )
    );
    let rules = json!([{ "from": team.address("backend"), "to": team.address("qa"),
        "topic": "specialist.*" }]);
    assert_eq!(hub.json(&["events", "relay", "list"]).unwrap(), rules);
    publish(backend, "other.topic", "1");
    let id = publish(backend, "specialist.backend.ready", "2");
    let event = next(&mut qa);
    assert_eq!((&event["id"], &event["data"]), (&json!(id), &json!(2)));
    assert_eq!(event["via"], team.address("hub"));
    // The tester does not know the backend, and names it by its key.
    let key = backend.api().unwrap().whoami().unwrap().identity.public_key.to_string();
    assert!(key.starts_with(event["from"].as_str().unwrap()), "{event} is not of {key}");

    relay("rm");
    publish(backend, "specialist.backend.ready", "3");
    while next(&mut all)["data"] != 3 {}
    publish(hub, "specialist.hub", "11");
    assert_eq!(next(&mut qa)["data"], 11);
    assert_eq!(hub.json(&["events", "relay", "list"]).unwrap(), json!([]));
}
