//! Events between nodes, as whole programs.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod article;
mod durable;
mod lines;
mod on;
mod past;
mod relay;
mod rules;
mod text;

use std::time::Duration;

use pilot_tests::{Node, Process, Team, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// After which an event must be where it is wanted.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes all of which trust the first.
fn team(names: &[&str]) -> Team {
    let team = Team::start(names).unwrap();
    let (hub, others) = names.split_first().unwrap();
    for other in others {
        team.trust(hub, other).unwrap();
    }
    team
}

/// A `pilotctl events …` in the background.
fn start(node: &Node, args: &[&str]) -> Process {
    Process::start(node.command(&[&["events"], args].concat())).unwrap()
}

/// Its next line.
fn next(process: &mut Process) -> Value {
    let line = process.line("", PATIENCE).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

/// What is in `data` of the next lines.
fn data(process: &mut Process, count: usize) -> Vec<Value> {
    (0..count).map(|_| next(process)["data"].take()).collect()
}

/// What is in `data` of all lines that a command printed.
fn data_of(text: &str) -> Vec<Value> {
    let read = |line| serde_json::from_str::<Value>(line).unwrap()["data"].take();
    text.lines().map(read).collect()
}

fn publish(node: &Node, topic: &str, data: &str) -> String {
    let shown = node.ok(&["events", "publish", "--topic", topic, "--data", data]).unwrap();
    shown.split_whitespace().next().unwrap().to_owned()
}

/// Publishes each of these numbers, in one call.
fn publish_all(node: &Node, topic: &str, numbers: std::ops::Range<u64>) {
    let events: Vec<_> = numbers.map(|number| (topic, number.to_string())).collect();
    node.api().unwrap().publish(&events).unwrap();
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(Value::from).collect()
}

/// Until the node has so many subscribers of its own.
fn until_subscribed(node: &Node, count: usize) {
    let api = node.api().unwrap();
    eventually("somebody subscribes", || Ok(api.topics()?.subscribers == count)).unwrap();
}

/// Until a peer listens at `node` for `topic`.
fn until_heard(team: &Team, node: &str, peer: &str, topic: &str) {
    let (api, address) = (team.api(node).unwrap(), team.address(peer));
    eventually(&format!("{peer} listens at {node} for {topic}"), || {
        let peers = api.topics()?.peers;
        Ok(peers.iter().any(|view| {
            view.listening && view.peer == address && view.topics.iter().any(|it| it == topic)
        }))
    })
    .unwrap();
}

fn interrupt(process: &Process) {
    let id = Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
}
