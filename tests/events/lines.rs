//! `events publish --lines`.

use std::io::Write as _;
use std::process::{Child, Stdio};

use pilot_tests::{Node, Reply};
use serde_json::json;

use crate::{PATIENCE, data, next, numbers, start, team, until_heard, until_subscribed};

fn publishing(node: &Node, args: &[&str]) -> Child {
    let mut command = node.command(&[&["events", "publish", "--lines"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Publishes all of these lines.
fn published(node: &Node, args: &[&str], lines: &str) -> Reply {
    let mut child = publishing(node, args);
    // It may end before it has read all.
    drop(child.stdin.take().unwrap().write_all(lines.as_bytes()));
    child.wait_with_output().unwrap().into()
}

#[test]
fn ten_thousand_lines_arrive_in_order_and_none_is_left_out() {
    let team = team(&["manager", "backend"]);
    let wanted = ["subscribe", "--topic", "log.>", "--slow", "catch-up", "--count", "10000"];
    let mut subscriber = start(team.node("manager"), &wanted);
    until_heard(&team, "backend", "manager", "log.>");
    let lines: String = (0..10_000).map(|number| format!("{number}\n")).collect();

    let reply = published(team.node("backend"), &["--topic", "log.line"], &lines);

    let told = "10000 events (1 to 10000)  queued for 1 peer\n";
    assert_eq!((reply.code, reply.text()), (Some(0), told.to_owned()), "{}", reply.stderr);
    assert_eq!(data(&mut subscriber, 10_000), numbers(0..10_000));
    assert_eq!(subscriber.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_line_is_published_while_the_next_is_not_there_yet() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let mut subscriber = start(backend, &["subscribe", "--topic", "a.>"]);
    until_subscribed(backend, 1);
    let mut child = publishing(backend, &["--json"]);
    let mut stdin = child.stdin.take().unwrap();

    for number in 0..3 {
        writeln!(stdin, r#"{{"topic":"a.{number}","data":{number}}}"#).unwrap();
        let event = next(&mut subscriber);
        assert_eq!(
            (&event["topic"], &event["data"]),
            (&json!(format!("a.{number}")), &json!(number))
        );
    }
    // The last line may lack its end.
    stdin.write_all(br#"{"topic":"a.kept","data":null,"retain":false}"#).unwrap();
    drop(stdin);

    assert_eq!(next(&mut subscriber)["topic"], "a.kept");
    let reply = Reply::from(child.wait_with_output().unwrap());
    assert_eq!(reply.code, Some(0), "{}", reply.stderr);
    let batches: Vec<serde_json::Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<_> = batches.iter().map(|batch| batch["last_seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
}

#[test]
fn a_line_that_is_no_event_is_told_and_those_before_it_are_published() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let good = "{\"topic\":\"a\",\"data\":1}\n\n";
    let table = [
        ("{\"topic\":\"a\"", 2, "line 5 of stdin: it is no event"),
        (
            "{\"topic\":\"a..b\",\"data\":1}",
            2,
            "line 5 of stdin: \"a..b\": there is an empty token",
        ),
        ("{\"topic\":\"task.x\",\"data\":1}", 4, "line 5 of stdin: \"task.x\": only the daemon"),
    ];
    for (wrong, code, why) in table {
        let reply = published(backend, &[], &format!("{good}{good}{wrong}\n{good}"));

        assert_eq!(reply.code, Some(code), "{}", reply.stderr);
        assert!(reply.stderr.contains(why), "{}", reply.stderr);
        assert!(reply.stderr.contains("; the 2 before it were published"), "{}", reply.stderr);
    }
    assert_eq!(backend.api().unwrap().topics().unwrap().topics[0].count, 6);
    let nothing = published(backend, &["--topic", "a"], "1\n{\n");
    assert!(nothing.stderr.contains("line 2 of stdin: it is no JSON"), "{}", nothing.stderr);
}
