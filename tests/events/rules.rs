//! What is refused, and what is listed.

use serde_json::json;

use crate::{publish, start, team, until_heard, until_subscribed};

#[test]
fn what_cannot_be_is_refused_with_its_code_and_nothing_is_published() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let large = format!("\"{}\"", "x".repeat(256 * 1024));
    std::fs::write(team.path("large"), large).unwrap();
    let large = format!("@{}", team.path("large").display());
    let publish = |topic, data| vec!["publish", "--topic", topic, "--data", data];
    let table: Vec<(Vec<&str>, i32, &str)> = vec![
        (publish("a.b", "ready"), 2, "invalid_argument"),
        (publish("a.b", ""), 2, "invalid_argument"),
        (publish("a.*", "1"), 2, "invalid_argument"),
        (publish("a..b", "1"), 2, "invalid_argument"),
        (publish("task.done", "1"), 4, "not_allowed"),
        (publish("a.b", &large), 10, "too_large"),
        (publish("a.b", "@/nowhere"), 3, "not_found"),
        (vec!["publish", "--topic", "a.b"], 2, "invalid_argument"),
        (vec!["publish", "--data", "1"], 2, "invalid_argument"),
        (vec!["publish", "--topic", "a.b", "--data", "1", "--lines"], 2, "invalid_argument"),
        (vec!["publish", "--topic", "sys.x", "--lines"], 4, "not_allowed"),
        (vec!["subscribe"], 2, "invalid_argument"),
        (vec!["subscribe", "--topic", "a.>.b"], 2, "invalid_argument"),
        (vec!["subscribe", "--topic", "a", "--from", "nobody"], 3, "unknown_peer"),
        (vec!["subscribe", "--topic", "a", "--last", "1", "--since", "1m"], 2, "invalid_argument"),
        (vec!["subscribe", "--topic", "a", "--durable", "a b"], 2, "invalid_argument"),
        (vec!["on", "--topic", "a"], 2, "invalid_argument"),
        (vec!["on", "--topic", "a", "--parallel", "65", "--", "true"], 2, "invalid_argument"),
        (vec!["cursors", "rm", "nobodys"], 3, "unknown_cursor"),
        (
            vec!["relay", "rm", "--from", "backend", "--to", "backend", "--topic", "a"],
            3,
            "not_found",
        ),
        (
            vec!["relay", "add", "--from", "backend", "--to", "backend", "--topic", "a"],
            2,
            "invalid_argument",
        ),
        (vec!["topics", "--home", "/nowhere"], 6, "daemon_not_running"),
    ];
    for (args, exit, code) in table {
        let reply = backend.ctl(&[&["events", "--json"][..], &args].concat()).unwrap();

        assert_eq!(reply.code, Some(exit), "{args:?}: {}", reply.stderr);
        assert_eq!(reply.error_code().as_deref(), Some(code), "{args:?}: {}", reply.stderr);
        assert_eq!(reply.text(), "", "{args:?}");
    }
    assert_eq!(backend.api().unwrap().topics().unwrap().topics, []);
}

#[test]
fn data_that_is_no_json_is_told_with_how_to_quote_it() {
    let team = team(&["backend"]);

    let args = ["events", "publish", "--topic", "a.b", "--data", "it's ready"];
    let reply = team.node("backend").ctl(&args).unwrap();

    assert_eq!(
        reply.stderr,
        "error: --data is no JSON: expected value at line 1 column 1; nothing was published \
         [invalid_argument]\n\
         try: pilotctl events publish --topic a.b --data '\"it'\\''s ready\"'  # a text is quoted\n"
    );
}

#[test]
fn topics_and_names_are_listed() {
    let team = team(&["backend", "qa"]);
    let (backend, qa) = (team.node("backend"), team.node("qa"));
    let none = qa.ctl(&["events", "cursors"]).unwrap();
    assert_eq!((none.text(), none.stderr.trim()), (String::new(), "no named subscriptions"));
    let mut reader = start(qa, &["subscribe", "--topic", "build.*", "--durable", "me"]);
    until_subscribed(qa, 1);
    until_heard(&team, "backend", "qa", "build.*");
    let second = qa.ctl(&["events", "subscribe", "--topic", "b", "--durable", "me", "--json"]);
    let second = second.unwrap();
    let used = qa.ctl(&["events", "cursors", "rm", "me", "--json"]).unwrap();
    publish(backend, "build.done", "1");

    let topics = backend.ok(&["events", "topics"]).unwrap();
    let names = qa.json(&["events", "cursors"]).unwrap();
    reader.kill().unwrap();
    until_subscribed(qa, 0);
    let removed = qa.ok(&["events", "cursors", "rm", "me"]).unwrap();

    assert_eq!((second.code, second.error_code().as_deref()), (Some(8), Some("conflict")));
    assert_eq!((used.code, used.error_code().as_deref()), (Some(8), Some("conflict")));
    assert!(topics.starts_with("TOPIC"), "{topics}");
    let of_backend = format!("build.done  backend ({})", team.address("backend"));
    assert!(topics.contains(&of_backend), "{topics}");
    assert!(topics.contains(&format!("qa ({})", team.address("qa"))), "{topics}");
    assert!(topics.ends_with("subscribers on this node: 0"), "{topics}");
    let known = json!([{ "name": "me", "topics": ["build.*"], "in_use": true, "behind": 0 }]);
    assert_eq!(names, known);
    assert_eq!(removed, "me  removed");
    assert_eq!(qa.json(&["events", "cursors"]).unwrap(), json!([]));
}
