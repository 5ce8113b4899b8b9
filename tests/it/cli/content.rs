//! Content that goes through unchanged: arguments, stdin, files, results.

use std::io::Write as _;
use std::process::Stdio;

use pilot_tests::{Node, Reply, Team};
use serde_json::{Value, json};

#[test]
fn an_accepted_task_is_a_bare_object_with_what_was_submitted() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let text = team.path("text");
    std::fs::write(&text, "from a\nfile\n").unwrap();
    let from_file = format!("f=@{}", text.display());
    let params = ["z=1", "a=x=y", "empty=", "dash=-x", "two=a\nb", "at=@@home", &from_file];
    let mut submit = vec!["task", "submit", "--to", "backend", "-description", "--do \"it\"\n"];
    for param in params {
        submit.extend(["--param", param]);
    }
    let file = text.to_str().unwrap();
    submit.extend(["--attach", file, "--priority", "-3", "--deadline", "1h"]);

    let id = manager.ok(&submit).unwrap();
    let printed = backend.ok(&["task", "accept", "--json", "--timeout", "30"]).unwrap();

    let task: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(task["id"], id);
    assert_eq!(task["description"], "--do \"it\"\n");
    let wanted = r#""params":{"z":"1","a":"x=y","empty":"","dash":"-x","two":"a\nb","at":"@home","f":"from a\nfile\n"}"#;
    assert!(printed.contains(wanted), "the order is kept: {printed}");
    assert_eq!(task["from"], team.address("manager"));
    assert_eq!(task["from_name"], "manager");
    assert_eq!(task["attempt"], 1);
    assert!(task["lease_expires_at"].is_string(), "it ends with its deadline: {printed}");
    assert_eq!(task["attachments"], json!([{ "name": "text", "size": 12 }]));
    let out = team.path("out");
    backend.ok(&["task", "attachments", &id, "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(std::fs::read_to_string(out.join("text")).unwrap(), "from a\nfile\n");
}

#[test]
fn every_result_arrives_as_it_was_given() {
    let team = pair();
    let five_mb: Vec<u8> =
        (0..5_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let file = team.path("five");
    std::fs::write(&file, &five_mb).unwrap();
    let at_file = format!("@{}", file.display());
    let long = format!("-{}", "\u{e9}".repeat(50_000));
    let table: [(&[&str], &[u8]); 7] = [
        (&["--data", "plain"], b"plain"),
        (&["--data", &long], long.as_bytes()),
        (&["--data", ""], b""),
        (&[], b""),
        (&["-data", "--data"], b"--data"),
        (&["--data=@@x\n"], b"@x\n"),
        (&["--data", &at_file], &five_mb),
    ];
    for (data, wanted) in table {
        let result = through(&team, data, None);

        assert_eq!(result.code, Some(0), "{}", result.stderr);
        assert!(result.stdout == wanted, "{} bytes for {data:.40?}", result.stdout.len());
    }
    let binary = b"\xff\x00\n\x1b[31m";
    assert_eq!(through(&team, &["--data", "-"], Some(binary)).stdout, binary);
}

#[test]
fn files_of_a_result_are_written_where_they_are_wanted_and_over_nothing() {
    let team = pair();
    let folder = team.path("made");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.txt"), "one").unwrap();
    std::fs::write(folder.join("b.bin"), [0, 255]).unwrap();
    let dir = folder.to_str().unwrap();
    let told = through(&team, &["--data", "see files", "--dir", dir], None);
    let id = told.stderr.split_whitespace().find(|word| word.len() == 36).unwrap();
    let (out, taken) = (team.path("out"), team.path("taken"));
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("b.bin"), "mine").unwrap();
    let manager = team.node("manager");

    let got = manager.ctl(&["task", "result", id, "--out", out.to_str().unwrap()]).unwrap();
    let refused =
        manager.ctl(&["task", "result", id, "--out", taken.to_str().unwrap(), "--json"]).unwrap();

    assert_eq!((told.text().as_str(), got.text().as_str()), ("see files", "see files"));
    assert!(told.stderr.contains("a.txt (3 bytes), b.bin (2 bytes)"), "{}", told.stderr);
    assert_eq!(std::fs::read(out.join("b.bin")).unwrap(), [0, 255]);
    assert_eq!(std::fs::read_to_string(out.join("a.txt")).unwrap(), "one");
    assert_eq!(refused.error_code().as_deref(), Some("conflict"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(taken.join("b.bin")).unwrap(), "mine");
    assert!(!taken.join("a.txt").exists());
}

#[test]
fn more_than_a_task_can_carry_is_refused_and_the_task_lives_on() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let file = team.path("large");
    std::fs::File::create(&file).unwrap().set_len(17 << 20).unwrap();
    let at_file = format!("@{}", file.display());
    let id = manager.ok(&["task", "submit", "--to", "backend", "--description", "x"]).unwrap();
    backend.ok(&["task", "accept"]).unwrap();

    let send = |data| ["task", "send-results", "--task-id", &id, "--data", data, "--json"];
    let refused = backend.ctl(&send(&at_file)).unwrap();
    let sent = backend.ctl(&send("smaller")).unwrap();

    assert_eq!((refused.code, refused.error_code().as_deref()), (Some(10), Some("too_large")));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    manager.ok(&["task", "wait", &id]).unwrap();
    assert_eq!(manager.ok(&["task", "result", &id]).unwrap(), "smaller");
}

#[test]
fn what_a_peer_writes_cannot_command_the_terminal() {
    let team = pair();
    let (manager, backend) = (team.node("manager"), team.node("backend"));
    let evil = "\u{1b}]0;owned\u{7}\u{202e}x\r\n";
    let id = manager.ok(&["task", "submit", "--to", "backend", "--description", evil]).unwrap();
    let accepted = backend.ok(&["task", "accept"]).unwrap();
    backend.ok(&["task", "decline", &id, "--reason", evil]).unwrap();

    let waited = manager.ctl(&["task", "wait", &id]).unwrap();
    let shown = manager.ok(&["task", "get", &id]).unwrap();
    let listed = backend.ok(&["task", "list"]).unwrap();

    assert_eq!(waited.code, Some(21), "{}", waited.stderr);
    for text in [accepted, waited.stderr, shown, listed] {
        let bad = |letter: char| letter == '\u{202e}' || (letter.is_control() && letter != '\n');
        assert!(!text.contains(bad), "{text:?}");
        assert!(text.contains("owned"), "{text:?}");
    }
}

/// A manager and a worker's node that trust each other.
fn pair() -> Team {
    let team = Team::start(&["manager", "backend"]).unwrap();
    team.trust("manager", "backend").unwrap();
    team
}

/// A task whose worker sends these results; what `submit --wait` printed.
fn through(team: &Team, results: &[&str], stdin: Option<&[u8]>) -> Reply {
    let submit = ["task", "submit", "--to", "backend", "--description", "x", "--wait"];
    let waiting = team.node("manager").spawn(&submit).unwrap();
    let backend = team.node("backend");
    let task = backend.json(&["task", "accept", "--timeout", "30"]).unwrap();
    let id = task.get("id").and_then(Value::as_str).unwrap();
    let send = ["task", "send-results", "--task-id", id];
    give(backend, &[&send, results].concat(), stdin.unwrap_or_default());
    waiting.wait_with_output().unwrap().into()
}

fn give(node: &Node, args: &[&str], stdin: &[u8]) {
    let mut command = node.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // Not every command reads it.
    drop(child.stdin.take().unwrap().write_all(stdin));
    assert!(child.wait().unwrap().success());
}
