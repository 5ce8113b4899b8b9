//! Named subscriptions, whatever is stopped and killed.

use std::process::Stdio;

use pilot_tests::{Process, Reply, eventually};
use serde_json::Value;

use crate::{
    PATIENCE, data, data_of, interrupt, next, numbers, publish_all, start, team, until_heard,
    until_subscribed,
};

const NAMED: [&str; 5] = ["subscribe", "--topic", "build.*", "--durable", "me"];

/// The same, until `count` events came.
fn counted(count: &str) -> Vec<&str> {
    [&NAMED[..], &["--count", count, "--timeout", "20s"]].concat()
}

#[test]
fn a_killed_daemon_of_the_subscriber_loses_and_repeats_nothing() {
    let mut team = team(&["backend", "qa"]);
    let mut reader = start(team.node("qa"), &NAMED);
    until_heard(&team, "backend", "qa", "build.*");
    publish_all(team.node("backend"), "build.done", 0..300);
    assert_eq!(data(&mut reader, 100), numbers(0..100));

    team.node_mut("qa").kill().unwrap();
    reader.error("waiting for the daemon", PATIENCE).unwrap();
    publish_all(team.node("backend"), "build.done", 300..600);
    team.node_mut("qa").restart().unwrap();
    publish_all(team.node("backend"), "build.done", 600..900);

    assert_eq!(data(&mut reader, 800), numbers(100..900));
    assert_eq!(reader.errors().matches("waiting for the daemon").count(), 1);
}

#[test]
fn a_killed_publisher_loses_and_repeats_nothing() {
    let mut team = team(&["backend", "qa"]);
    let mut reader = start(team.node("qa"), &NAMED);
    until_heard(&team, "backend", "qa", "build.*");
    publish_all(team.node("backend"), "build.done", 0..300);

    team.node_mut("backend").kill().unwrap();
    team.node_mut("backend").restart().unwrap();
    publish_all(team.node("backend"), "build.done", 300..600);

    assert_eq!(data(&mut reader, 600), numbers(0..600));
}

#[test]
fn what_was_counted_is_acknowledged_and_no_more() {
    let team = team(&["backend", "qa"]);
    let first = start(team.node("qa"), &counted("30"));
    until_heard(&team, "backend", "qa", "build.*");
    publish_all(team.node("backend"), "build.done", 0..100);
    let mut first = first;
    assert_eq!(data(&mut first, 30), numbers(0..30));
    assert_eq!(first.wait(PATIENCE).unwrap().code(), Some(0));

    let second = team.node("qa").ctl(&[&["events"], &counted("70")[..]].concat()).unwrap();

    assert_eq!((second.code, data_of(&second.text())), (Some(0), numbers(30..100)));
}

#[test]
fn a_killed_reader_is_followed_at_once_by_one_that_misses_nothing() {
    let team = team(&["backend", "qa"]);
    let mut first = start(team.node("qa"), &NAMED);
    until_heard(&team, "backend", "qa", "build.*");
    publish_all(team.node("backend"), "build.done", 0..100);
    assert_eq!(data(&mut first, 50), numbers(0..50));
    first.kill().unwrap();

    let mut second = start(team.node("qa"), &NAMED);

    publish_all(team.node("backend"), "build.done", 100..200);
    let begins = next(&mut second)["data"].as_u64().unwrap();
    // What the first had printed it may have acknowledged, and nothing else.
    assert!(begins <= 100, "{begins}");
    let rest = usize::try_from(199 - begins).unwrap();
    assert_eq!(data(&mut second, rest), numbers(begins + 1..200));
}

#[test]
fn an_interrupt_acknowledges_what_was_printed() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let mut reader = start(backend, &NAMED);
    until_subscribed(backend, 1);
    publish_all(backend, "build.done", 0..20);
    assert_eq!(data(&mut reader, 20), numbers(0..20));

    interrupt(&reader);

    assert_eq!(reader.wait(PATIENCE).unwrap().code(), Some(130));
    assert_eq!(reader.errors(), "");
    let again = [&["events"], &NAMED[..], &["--timeout", "300ms"]].concat();
    let again = backend.ctl(&again).unwrap();
    assert_eq!((again.code, again.text()), (Some(5), String::new()), "{}", again.stderr);
}

#[test]
fn an_interrupt_ends_one_that_nobody_reads() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let mut command = backend.command(&[&["events"], &NAMED[..]].concat());
    let reader = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until_subscribed(backend, 1);
    let much = format!("\"{}\"", "x".repeat(10_000));
    let events: Vec<_> = (0..100).map(|_| ("build.done", much.clone())).collect();
    backend.api().unwrap().publish(&events).unwrap();
    // So that it has something to write, which nobody reads.
    eventually("all are published", || {
        Ok(backend.json(&["events", "cursors"])?[0]["behind"].as_u64() > Some(0))
    })
    .unwrap();

    let pid = rustix::process::Pid::from_child(&reader);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let reply = Reply::from(reader.wait_with_output().unwrap());

    assert_eq!((reply.code, reply.stderr.as_str()), (Some(130), ""));
    let whole = |line: &&str| serde_json::from_str::<Value>(line).is_ok();
    let printed = reply.text().lines().filter(whole).count();
    let again = backend.ctl(&[&["events"], &counted("100")[..5], &["--count", "1"]].concat());
    let first: Value = serde_json::from_str(&again.unwrap().text()).unwrap();
    let seq = usize::try_from(first["seq"].as_u64().unwrap()).unwrap();
    assert!(seq <= printed + 1, "{printed} were printed, and it goes on with {seq}");
}

#[test]
fn what_nobody_read_is_not_acknowledged() {
    let team = team(&["backend"]);
    let backend = team.node("backend");
    let mut command = backend.command(&[&["events"], &NAMED[..]].concat());
    let mut reader = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until_subscribed(backend, 1);
    drop(reader.stdout.take());
    publish_all(backend, "build.done", 0..10);

    let closed = Reply::from(reader.wait_with_output().unwrap());
    let again = backend.ctl(&[&["events"], &counted("10")[..]].concat()).unwrap();

    assert_eq!((closed.code, closed.stderr.as_str()), (Some(141), ""));
    assert_eq!((again.code, data_of(&again.text())), (Some(0), numbers(0..10)));
}

#[test]
fn without_a_name_it_ends_with_the_daemon() {
    let mut team = team(&["backend"]);
    let mut reader: Process = start(team.node("backend"), &["subscribe", "--topic", "a", "--json"]);
    until_subscribed(team.node("backend"), 1);

    team.node_mut("backend").kill().unwrap();

    assert_eq!(reader.wait(PATIENCE).unwrap().code(), Some(6));
    assert!(reader.errors().contains("\"daemon_not_running\""), "{}", reader.errors());
}
