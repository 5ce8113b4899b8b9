//! `events on`: a command for each event.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use pilot_tests::{Node, Process, Team};
use serde_json::Value;

use crate::{PATIENCE, interrupt, publish, publish_all, start, team, until_subscribed};

/// `events on` for what was published here, with a script of the shell.
fn on<'a>(args: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["on", "--topic", "build.*"], args, &["--", "sh", "-c", script]].concat()
}

fn ran(node: &Node, args: &[&str], script: &str) -> pilot_tests::Reply {
    node.ctl(&[&["events"], &on(args, script)[..]].concat()).unwrap()
}

fn gates(team: &Team, count: u64) -> String {
    for number in 0..count {
        let made = Command::new("mkfifo").arg(team.path(&format!("gate-{number}"))).status();
        assert!(made.unwrap().success());
    }
    team.path("gate-").display().to_string()
}

/// Lets the command go on that reads this; waits for it to come there.
fn open(gates: &str, number: u64) {
    fs::write(Path::new(&format!("{gates}{number}")), "").unwrap();
}

#[test]
fn a_command_finds_the_event_on_stdin_and_in_its_environment() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let id = publish(backend, "build.done", r#"{"ok": true, "text": "a'b\"c $(x)"}"#);
    let script = r#"cat; echo "$PILOT_EVENT_ID"; echo "$PILOT_EVENT_TOPIC $PILOT_EVENT_FROM \
$PILOT_EVENT_FROM_NAME $PILOT_EVENT_SEQ"; echo "$PILOT_EVENT_AT"; echo "$PILOT_EVENT_DATA""#;

    let reply = ran(backend, &["--last", "1", "--count", "1"], script);

    assert_eq!((reply.code, reply.stderr.as_str()), (Some(0), ""));
    let text = reply.text();
    let lines: Vec<&str> = text.lines().collect();
    let event: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((event["id"].as_str().unwrap(), lines[1]), (id.as_str(), id.as_str()));
    assert_eq!(lines[2], format!("build.done {} backend 1", team.address("backend")));
    assert_eq!(lines[3], event["at"].as_str().unwrap());
    assert_eq!(lines[4], r#"{"ok": true, "text": "a'b\"c $(x)"}"#);
}

#[test]
fn no_more_commands_run_at_once_than_is_said() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let gates = gates(&team, 6);
    publish_all(backend, "build.done", 0..6);
    let script = format!(
        r#"echo "begin $PILOT_EVENT_DATA"; cat "{gates}$PILOT_EVENT_DATA"; echo "end $PILOT_EVENT_DATA""#
    );
    let args = ["--last", "6", "--count", "6", "--parallel", "2"];
    let mut running = start(backend, &on(&args, &script));

    // The second is let go first, so that both must run.
    let (mut at_once, mut most, mut ended) = (BTreeSet::new(), 0, 0);
    let mut opened = BTreeSet::new();
    while ended < 6 {
        let line = running.line("", PATIENCE).unwrap();
        match line.split_once(' ').unwrap() {
            ("begin", number) => {
                at_once.insert(number.parse::<u64>().unwrap());
            }
            (_, number) => {
                at_once.remove(&number.parse().unwrap());
                ended += 1;
            }
        }
        most = most.max(at_once.len());
        if at_once.len() == 2 || ended >= 4 && !at_once.is_empty() {
            let last = *at_once.last().unwrap();
            if opened.insert(last) {
                open(&gates, last);
            }
        }
    }

    assert_eq!(most, 2);
    assert_eq!(running.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_command_that_fails_is_told_and_the_next_runs() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    publish_all(backend, "build.done", 0..3);
    let args = ["--last", "3", "--count", "3"];

    let reply = ran(backend, &args, r#"echo "$PILOT_EVENT_DATA"; exit "$PILOT_EVENT_DATA""#);
    let absent = backend.ctl(&[
        "events",
        "on",
        "--topic",
        "build.*",
        "--last",
        "1",
        "--json",
        "--",
        "/nowhere/x",
    ]);

    assert_eq!((reply.code, reply.text().as_str()), (Some(0), "0\n1\n2\n"), "{}", reply.stderr);
    let told: Vec<&str> = reply.stderr.lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("event ") && told[0].ends_with(": CMD ended with 1"), "{told:?}");
    assert!(told[1].ends_with(": CMD ended with 2"), "{told:?}");
    let absent = absent.unwrap();
    assert_eq!((absent.code, absent.error_code().as_deref()), (Some(3), Some("not_found")));
    assert!(absent.stderr.contains("cannot run /nowhere/x"), "{}", absent.stderr);
}

#[test]
fn with_a_name_a_command_is_run_again_until_it_succeeds() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let once = team.path("once").display().to_string();
    let script = format!(r#"mkdir "{once}" 2>/dev/null && exit 7; echo "$PILOT_EVENT_DATA""#);
    let mut running = start(backend, &on(&["--durable", "me", "--count", "2"], &script));
    until_subscribed(backend, 1);

    publish_all(backend, "build.done", 0..2);

    assert_eq!(running.line("", PATIENCE).unwrap(), "0");
    assert_eq!(running.line("", PATIENCE).unwrap(), "1");
    assert_eq!(running.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(running.errors().contains(": CMD ended with 7; again in 1 s"), "{}", running.errors());
    let rest = ran(backend, &["--durable", "me", "--timeout", "300ms"], "echo again");
    assert_eq!((rest.code, rest.text()), (Some(5), String::new()), "{}", rest.stderr);
}

#[test]
fn an_interrupt_ends_the_command_and_leaves_its_event_unacknowledged() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let gates = gates(&team, 1);
    let script = format!(
        r#"if test "$PILOT_EVENT_DATA" = 0; then echo done; exit; fi
trap 'echo asked to end; exit' TERM; cat "{gates}0""#
    );
    let mut running: Process = start(backend, &on(&["--durable", "me"], &script));
    until_subscribed(backend, 1);
    publish_all(backend, "build.done", 0..2);
    running.line("done", PATIENCE).unwrap();
    // Once somebody reads there.
    let gate = fs::File::options().write(true).open(format!("{gates}0")).unwrap();

    interrupt(&running);

    running.line("asked to end", PATIENCE).unwrap();
    assert_eq!(running.wait(PATIENCE).unwrap().code(), Some(130));
    drop(gate);
    let rest = ran(backend, &["--durable", "me", "--count", "1"], r#"echo "$PILOT_EVENT_DATA""#);
    assert_eq!((rest.code, rest.text().as_str()), (Some(0), "1\n"), "{}", rest.stderr);
}
