//! Words, errors and exit codes.

use std::io::Read as _;
use std::process::{Command, Stdio};

use pilot_tests::{Node, NodeOptions, Programs, Team};
use serde_json::Value;

/// An id that no node has.
const NOBODYS: &str = "01900000-0000-7000-8000-000000000000";

/// The address of the third node of a team: private, its name is not told.
const STRANGER: &str = "1:0001.0000.0003";

#[test]
fn every_error_has_its_exit_code_and_is_one_json_object() {
    let team = Team::start(&["manager", "backend", "stranger"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&["nonsense"], 2, "invalid_argument"),
        (&["task", "submit", "--to", "backend"], 2, "invalid_argument"),
        (&["task", "get", "7"], 2, "invalid_argument"),
        (&["trust", "not a peer"], 2, "invalid_argument"),
        (
            &["task", "submit", "--to", "backend", "--description", "x", "--param", "=v"],
            2,
            "invalid_argument",
        ),
        (&["task", "accept", "--timeout", "soon"], 2, "invalid_argument"),
        (&["resolve", "nobody"], 3, "unknown_peer"),
        (&["task", "submit", "--to", "backnd", "--description", "x"], 3, "unknown_peer"),
        (&["task", "get", NOBODYS], 3, "unknown_task"),
        (&["task", "wait", NOBODYS], 3, "unknown_task"),
        (&["task", "send-results", "--task-id", NOBODYS, "--data", "x"], 3, "unknown_task"),
        (&["task", "submit", "--to", "backend", "--description", "@/nowhere"], 3, "not_found"),
        (&["task", "submit", "--to", STRANGER, "--description", "x"], 4, "not_trusted"),
        (&["ping", STRANGER], 4, "not_trusted"),
        (&["trust", "check", STRANGER], 4, "not_trusted"),
        (
            &["trust", STRANGER, "--fingerprint", "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"],
            4,
            "fingerprint_mismatch",
        ),
        (&["task", "accept", "--timeout", "0"], 5, "no_task"),
        (&["whoami", "--home", "/nowhere"], 6, "daemon_not_running"),
    ];
    let manager = team.node("manager");
    for (args, exit, code) in table {
        let reply = manager.ctl(&[*args, &["--json"]].concat()).unwrap();

        assert_eq!(reply.code, Some(*exit), "{args:?}: {}", reply.stderr);
        assert_eq!(reply.text(), "", "{args:?}");
        let error: Value = serde_json::from_str(&reply.stderr).unwrap();
        assert_eq!(error["error"]["code"], *code, "{args:?}");
        for field in ["message", "hint", "retryable", "details"] {
            assert!(error["error"].get(field).is_some(), "{args:?}: no {field}");
        }
        let plain = manager.ctl(args).unwrap();
        assert_eq!((plain.code, plain.text()), (Some(*exit), String::new()), "{args:?}");
        assert!(plain.stderr.starts_with("error: "), "{args:?}: {}", plain.stderr);
    }
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest_and_nothing_is_sent() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let manager = team.node("manager");

    let reply = manager.ctl(&["task", "submit", "--to", "backedn", "--description", "x"]).unwrap();

    assert!(reply.stderr.contains("did you mean backend?"), "{}", reply.stderr);
    assert!(reply.stderr.contains("try: pilotctl resolve backend"), "{}", reply.stderr);
    assert_eq!(manager.json(&["task", "list"]).unwrap(), Value::Array(vec![]));
}

#[test]
fn long_flags_take_one_dash_or_two_before_and_after_the_command() {
    let team = Team::start(&["manager"]).unwrap();
    let home = team.node("manager").home().to_str().unwrap().to_owned();
    let ways: [&[&str]; 5] = [
        &["-home", &home, "whoami", "-json"],
        &["--home", &home, "--json", "whoami"],
        &["whoami", "-home", &home, "--json"],
        &[&format!("-home={home}"), "whoami", "--json"],
        &["--socket", &format!("{home}/pilot.sock"), "whoami", "-json"],
    ];
    for words in ways {
        let output = team.programs().command("pilotctl").args(words).output().unwrap();

        let node: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(node["address"], "1:0001.0000.0001", "{words:?}");
    }
}

#[test]
fn a_peer_is_named_by_address_by_name_or_by_key() {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    let manager = team.node("manager");
    let key = manager.json(&["resolve", "backend"]).unwrap()["public_key"].clone();

    for peer in [team.address("backend"), "backend", key.as_str().unwrap()] {
        let found = manager.json(&["resolve", peer]).unwrap();
        let pinged = manager.json(&["ping", peer, "-c", "1"]).unwrap();

        assert_eq!(found["address"], team.address("backend"));
        assert!(pinged["rtt_us"].is_number(), "{pinged}");
    }
}

#[test]
fn a_daemon_that_has_no_rendezvous_is_useful_and_says_so() {
    let programs = Programs::built().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let alone = NodeOptions { registry: Some("127.0.0.1:9".to_owned()), flags: vec![] };
    let node = Node::start(&programs, folder.path(), "alone", alone).unwrap();

    let whoami = node.json(&["whoami"]).unwrap();
    let status = node.json(&["status"]).unwrap();
    let unknown = node.ctl(&["resolve", "1:0001.0000.0002", "--json"]).unwrap();

    assert!(whoami.get("address").is_none() && whoami["public_key"].is_string());
    assert_eq!(status["rendezvous"]["connected"], false);
    assert_eq!(unknown.code, Some(7), "{}", unknown.stderr);
    assert_eq!(unknown.error_code().as_deref(), Some("rendezvous_unreachable"));
}

#[test]
fn help_and_version_are_data_and_no_words_are_an_error() {
    let pilotctl = |words: &[&str]| {
        let programs = Programs::built().unwrap();
        programs.command("pilotctl").args(words).stdin(Stdio::null()).output().unwrap()
    };
    for words in [&["--help"][..], &["-help"], &["-h"], &["task", "submit", "-help"]] {
        let output = pilotctl(words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: pilotctl"), "{words:?}");
    }
    let version = pilotctl(&["--version"]);
    assert!(version.stdout.starts_with(b"pilotctl "), "{version:?}");
    let nothing = pilotctl(&[]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(2), 0));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_without_a_word() {
    let team = Team::start(&["manager"]).unwrap();
    let mut command: Command = team.node("manager").command(&["whoami"]);
    // A pipe whose reading end is closed before the program writes.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();

    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(said, "");
}
