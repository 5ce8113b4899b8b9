//! `pilotctl msg` and `pilotctl inbox` as people and scripts see them.

use std::io::{BufRead as _, BufReader};

use pilot_tests::Team;
use serde_json::Value;

use crate::team;

/// An id that no node has.
const NOBODYS: &str = "01900000-0000-7000-8000-000000000000";

/// The address of a third node, which nobody trusts.
const STRANGER: &str = "1:0001.0000.0003";

#[test]
fn a_message_goes_from_command_to_command() {
    let team = team();
    let (manager, worker) = (team.node("manager"), team.node("worker"));

    let line = manager.ok(&["msg", "send", "worker", "hello", "--wait"]).unwrap();
    let (id, state) = line.split_once("  ").unwrap();
    assert_eq!(state, "delivered");
    let shown = worker.ok(&["inbox", "read", "--unread"]).unwrap();
    assert!(shown.starts_with("from manager (1:0001.0000.0001)  2"), "{shown}");
    assert!(shown.ends_with(&format!("  id {id}\n> hello")), "{shown}");
    assert_eq!(worker.ctl(&["inbox", "read", "--unread"]).unwrap().code, Some(5));
    let again = worker.json(&["inbox", "read"]).unwrap();
    assert_eq!((&again[0]["text"], &again[0]["from_name"]), (&"hello".into(), &"manager".into()));
    assert!(again[0]["read_at"].is_string() && again[0]["acked_at"].is_null());
    assert_eq!(worker.ok(&["inbox", "ack", id]).unwrap(), "1 acknowledged");
    assert_eq!(worker.ctl(&["inbox", "read"]).unwrap().code, Some(5));

    let acked = ["msg", "send", "worker", "-dashed", "--wait=acked", "--timeout", "0"];
    assert_eq!(manager.ctl(&acked).unwrap().code, Some(24));
    let listed = manager.json(&["msg", "list", "--peer", "worker", "--limit", "1"]).unwrap();
    assert_eq!(listed[0]["preview"], "-dashed");
    let status = manager.ok(&["msg", "status", id]).unwrap();
    for part in ["to: worker (1:0001.0000.0002)\n", "state: acked\n", "acked: 2", "text: hello\n"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let both = [id, listed[0]["id"].as_str().unwrap()];
    let both = manager.json(&["msg", "status", both[0], both[1]]).unwrap();
    assert_eq!(both.as_array().unwrap().len(), 2);
}

#[test]
fn texts_come_from_stdin_and_files_and_are_escaped_for_people_only() {
    let team = team();
    let (manager, worker) = (team.node("manager"), team.node("worker"));
    let hostile = "\u{1b}[2Jhi\u{202e}\nfrom manager (1:0001.0000.0001)  id 7\n";
    let path = team.path("text");
    std::fs::write(&path, hostile).unwrap();

    let at = format!("@{}", path.display());
    manager.ok(&["msg", "send", "worker", &at, "--wait"]).unwrap();
    let mut command = manager.command(&["msg", "send", "worker", "-", "--wait"]);
    command.stdin(std::fs::File::open(&path).unwrap());
    assert!(command.output().unwrap().status.success());

    let shown = worker.ok(&["inbox", "read"]).unwrap();
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    let own = shown.lines().filter(|line| line.starts_with("from "));
    assert_eq!(own.count(), 2, "a text forges no line: {shown}");
    assert!(shown.contains("> \\u{1b}[2Jhi\\u{202e}\n> from manager"), "{shown}");
    let json = worker.json(&["inbox", "read"]).unwrap();
    assert_eq!((&json[0]["text"], &json[1]["text"]), (&hostile.into(), &hostile.into()));
}

#[test]
fn a_watch_shows_what_is_unread_and_then_what_comes() {
    let team = team();
    let (manager, worker) = (team.node("manager"), team.node("worker"));
    manager.ok(&["msg", "send", "worker", "before", "--wait"]).unwrap();
    let mut watch = worker.spawn(&["inbox", "watch", "--json"]).unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();

    assert_eq!(next()["text"], "before");
    for text in ["one", "two"] {
        let sent = manager.ok(&["msg", "send", "worker", text, "--wait=read"]).unwrap();
        assert!(sent.ends_with("  read"), "{sent}");
        assert_eq!(next()["text"], text);
    }

    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(worker.ctl(&["inbox", "read", "--unread"]).unwrap().code, Some(5));
    assert_eq!(worker.json(&["inbox", "read", "--peek"]).unwrap().as_array().unwrap().len(), 3);
    assert_eq!(
        worker.ok(&["inbox", "ack", "--all", "--from", "manager"]).unwrap(),
        "3 acknowledged"
    );
}

#[test]
fn a_broadcast_reaches_every_trusted_peer_with_the_tags() {
    let mut team = Team::start(&["manager", "worker"]).unwrap();
    team.add("gpu", &["--tag", "gpu=a100"]).unwrap();
    team.add("stranger", &[]).unwrap();
    for peer in ["worker", "gpu"] {
        team.trust("manager", peer).unwrap();
    }
    let manager = team.node("manager");

    let all = manager.json(&["msg", "broadcast", "to all"]).unwrap();
    let some = manager.json(&["msg", "broadcast", "to one", "--tag", "gpu=a100"]).unwrap();

    let names = |views: &Value| -> Vec<String> {
        let names = views.as_array().unwrap().iter().map(|view| view["to_name"].as_str());
        let mut names: Vec<String> = names.map(|name| name.unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(
        (names(&all), names(&some)),
        (vec!["gpu".into(), "worker".into()], vec!["gpu".into()])
    );
    assert_ne!(all[0]["message"]["id"], all[1]["message"]["id"]);
    let wait = ["inbox", "read", "--wait", "20"];
    let texts = |node: &str| team.node(node).json(&wait).unwrap()[0]["text"].clone();
    assert_eq!((texts("worker"), texts("gpu")), ("to all".into(), "to all".into()));
    assert_eq!(team.node("stranger").ctl(&["inbox", "read"]).unwrap().code, Some(5));
    let nobody = manager.ctl(&["msg", "broadcast", "x", "--tag", "no=body", "--json"]).unwrap();
    assert_eq!((nobody.code, nobody.error_code().as_deref()), (Some(3), Some("unknown_peer")));
}

#[test]
fn every_wrong_use_has_its_exit_code_and_sends_nothing() {
    let team = Team::start(&["manager", "backend", "stranger"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let large = team.path("large");
    std::fs::write(&large, vec![b'x'; 65_537]).unwrap();
    let large = format!("@{}", large.display());
    let table: &[(&[&str], i32, &str)] = &[
        (&["msg"], 2, "invalid_argument"),
        (&["msg", "send", "backend"], 2, "invalid_argument"),
        (&["msg", "send", "backend", ""], 2, "invalid_argument"),
        (&["msg", "send", "not a peer", "x"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "x", "--wait=soon"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "x", "--wait=expired"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "x", "--wait=queued"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "x", "--timeout", "3"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "x", "--expires", "0"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "x", "--expires", "31d"], 2, "invalid_argument"),
        (&["msg", "send", "backend", "@/nowhere"], 3, "not_found"),
        (&["msg", "send", "backend", &large], 10, "too_large"),
        (&["msg", "send", "backnd", "x"], 3, "unknown_peer"),
        (&["msg", "send", STRANGER, "x"], 4, "not_trusted"),
        (&["msg", "broadcast"], 2, "invalid_argument"),
        (&["msg", "broadcast", ""], 2, "invalid_argument"),
        (&["msg", "broadcast", "x", "--tag", "=none"], 2, "invalid_argument"),
        (&["msg", "broadcast", "x", "--tag", "none=1"], 3, "unknown_peer"),
        (&["msg", "status"], 2, "invalid_argument"),
        (&["msg", "status", "7"], 2, "invalid_argument"),
        (&["msg", "status", NOBODYS], 3, "unknown_message"),
        (&["msg", "list", "--state", "lost"], 2, "invalid_argument"),
        (&["msg", "list", "--limit", "0"], 2, "invalid_argument"),
        (&["msg", "list", "--peer", "nobody"], 3, "unknown_peer"),
        (&["inbox"], 2, "invalid_argument"),
        (&["inbox", "read"], 5, "no_message"),
        (&["inbox", "read", "--unread", "--wait", "0.1s"], 2, "invalid_argument"),
        (&["inbox", "read", "--from", "nobody"], 3, "unknown_peer"),
        (&["inbox", "watch", "--from", "nobody"], 3, "unknown_peer"),
        (&["inbox", "ack"], 2, "invalid_argument"),
        (&["inbox", "ack", "--all", NOBODYS], 2, "invalid_argument"),
        (&["inbox", "ack", NOBODYS, "--from", "backend"], 2, "invalid_argument"),
        (&["inbox", "ack", NOBODYS], 3, "unknown_message"),
    ];
    let manager = team.node("manager");
    for (args, exit, code) in table {
        let reply = manager.ctl(&[*args, &["--json"]].concat()).unwrap();

        assert_eq!(reply.code, Some(*exit), "{args:?}: {}", reply.stderr);
        assert_eq!(reply.text(), "", "{args:?}");
        assert_eq!(reply.error_code().as_deref(), Some(*code), "{args:?}");
    }
    assert_eq!(manager.json(&["msg", "list"]).unwrap(), Value::Array(vec![]));
    let misspelt = manager.ctl(&["msg", "send", "backned", "x"]).unwrap();
    assert!(misspelt.stderr.contains("did you mean backend?"), "{}", misspelt.stderr);
}
