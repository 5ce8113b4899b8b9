//! Who comes late, and when a subscription ends.

use pilot_tests::Node;
use serde_json::json;

use crate::{data_of, numbers, publish, publish_all, team};

/// Runs `events subscribe` to its end: its exit code and what is in `data`.
fn heard(node: &Node, args: &[&str]) -> (Option<i32>, Vec<serde_json::Value>) {
    let reply = node.ctl(&[&["events", "subscribe"], args].concat()).unwrap();
    (reply.code, data_of(&reply.text()))
}

#[test]
fn a_tester_that_comes_late_gets_what_is_kept_and_what_it_asks_for() {
    let team = team(&["backend", "qa"]);
    let (backend, qa) = (team.node("backend"), team.node("qa"));
    let retained = ["events", "publish", "--topic", "specialist.backend.ready", "--retain"];
    for data in ["\"no\"", "\"yes\""] {
        backend.ok(&[&retained[..], &["--data", data]].concat()).unwrap();
    }
    let ids: Vec<String> =
        ["1", "2", "3"].iter().map(|data| publish(backend, "build.done", data)).collect();
    let one = ["--count", "1", "--timeout", "20s"];
    let asked = |args: &[&str]| heard(qa, &[args, &one].concat());

    assert_eq!(asked(&["--topic", "specialist.*"]), (Some(0), vec![json!("yes")]));
    assert_eq!(asked(&["--topic", "build.*", "--last", "1"]), (Some(0), vec![json!(3)]));
    assert_eq!(asked(&["--topic", "build.*", "--since", &ids[1]]), (Some(0), vec![json!(3)]));
    assert_eq!(asked(&["--topic", "build.*", "--since", "10m"]), (Some(0), vec![json!(1)]));
    let named = ["--topic", "build.*", "--last", "3", "--from", "backend"];
    assert_eq!(asked(&named), (Some(0), vec![json!(1)]));

    // What came while nobody listened here is of the past, too.
    publish(backend, "build.done", "4");
    assert_eq!(asked(&["--topic", "build.*", "--last", "1"]), (Some(0), vec![json!(4)]));

    // The value goes with null.
    backend.ok(&[&retained[..], &["--data", "null"]].concat()).unwrap();
    let gone = heard(qa, &["--topic", "specialist.*", "--timeout", "500ms"]);
    assert_eq!(gone, (Some(5), vec![]));
}

#[test]
fn it_ends_after_so_many_events_or_so_much_time() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    publish_all(backend, "build.done", 0..10);
    let all = ["--topic", "build.*", "--last", "10"];
    let asked = |args: &[&str]| heard(backend, &[&all, args].concat());

    assert_eq!(asked(&["--count", "3"]), (Some(0), numbers(0..3)));
    assert_eq!(asked(&["--timeout", "2s"]), (Some(0), numbers(0..10)));
    let other = backend.ctl(&["events", "subscribe", "--topic", "x", "--timeout", "0", "--json"]);
    let other = other.unwrap();
    assert_eq!((other.code, other.error_code().as_deref()), (Some(5), Some("no_event")));
    assert!(other.stderr.contains("no event came within 0s"), "{}", other.stderr);
}
