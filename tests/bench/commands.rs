//! What somebody at a terminal waits for: programs from start to end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_tests::{NodeOptions, Programs, Team};
use serde_json::Value;

use crate::line::Line;
use crate::load::{self, block_on};
use crate::pair::{self, Pair};
use crate::samples::Samples;

/// `pilotctl whoami` beside a program that does nothing.
pub(crate) fn whoami(_: &Programs) -> anyhow::Result<Vec<Line>> {
    const RUNS: usize = 300;
    let team = Team::start(&["manager"])?;
    let node = team.node("manager");
    let (mut ours, mut nothing) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        ours.push(timed(&mut node.command(&["whoami"]))?);
        nothing.push(timed(&mut Command::new("/bin/true"))?);
    }
    Ok(vec![Line::millis("whoami", &ours).at_most(3.0).baseline("/bin/true", nothing.median())])
}

/// A daemon from the start of its process until it is registered: the first
/// time, with an empty home, and again after a kill.
pub(crate) fn start(programs: &Programs) -> anyhow::Result<Vec<Line>> {
    const RUNS: usize = 50;
    let team = Team::start(&[])?;
    let (mut first, mut again) = (Samples::default(), Samples::default());
    let mut nothing = Samples::default();
    for run in 0..RUNS {
        let options =
            NodeOptions { registry: Some(team.rendezvous.addr().to_string()), flags: Vec::new() };
        let name = format!("node{run}");
        let started = Instant::now();
        let mut node = pilot_tests::Node::start(programs, team.folder(), &name, options)?;
        node.registered()?;
        first.since(started);
        node.kill()?;
        let started = Instant::now();
        node.restart()?;
        node.registered()?;
        again.since(started);
        nothing.push(timed(&mut Command::new("/bin/true"))?);
        node.kill()?;
    }
    let line = |name, samples: &Samples| {
        Line::millis(name, samples).at_most(20.0).baseline("/bin/true", nothing.median())
    };
    Ok(vec![line("start_first", &first), line("start_after_kill", &again)])
}

/// Two private nodes that were never trusted: from the first `trust` until
/// both say that they trust each other.
pub(crate) fn trust(_: &Programs) -> anyhow::Result<Vec<Line>> {
    const RUNS: usize = 30;
    let mut team = Team::start(&[])?;
    let mut samples = Samples::default();
    for run in 0..RUNS {
        let (one, other) = (format!("one{run}"), format!("other{run}"));
        let one_address = team.add(&one, &[])?.parse()?;
        let other_address = team.add(&other, &[])?.parse()?;
        let clients = [pair::client(team.node(&one)), pair::client(team.node(&other))];
        let [one_client, other_client] = &clients;
        samples.push(block_on(async {
            let started = Instant::now();
            pair::trust(one_client, &one_address, other_client, &other_address).await?;
            Ok(started.elapsed())
        })?);
        team.node_mut(&one).kill()?;
        team.node_mut(&other).kill()?;
    }
    Ok(vec![Line::millis("trust", &samples).at_most(200.0)])
}

/// A task by three processes: a worker's `task accept` waits, `task submit
/// --wait` is started, then `task send-results`; until `submit` has printed
/// the result and ended.
pub(crate) fn task(_: &Programs) -> anyhow::Result<Vec<Line>> {
    const RUNS: usize = 100;
    let pair = block_on(Pair::start())?;
    let (manager, worker) = (pair.team.node("manager"), pair.team.node("worker"));
    let to = pair.team.address("worker");
    let (mut samples, mut nothing) = (Samples::default(), Samples::default());
    for _ in 0..RUNS {
        let accept = worker.spawn(&["task", "accept", "--json", "--timeout", "30"])?;
        await_accept(&pair)?;
        let started = Instant::now();
        let submit = manager.spawn(&[
            "task",
            "submit",
            "--to",
            to,
            "--description",
            "Implement user authentication API routes",
            "--param",
            "framework=gin",
            "--wait",
        ])?;
        let accepted = accept.wait_with_output()?;
        let task: Value = serde_json::from_slice(&accepted.stdout)
            .with_context(|| String::from_utf8_lossy(&accepted.stderr).into_owned())?;
        let id = task.get("id").and_then(Value::as_str).context("no id")?;
        worker.ok(&["task", "send-results", "--task-id", id, "--data", "done"])?;
        let result = submit.wait_with_output()?;
        samples.since(started);
        if !result.status.success() || result.stdout.trim_ascii() != b"done" {
            bail!("submit ended with {}", result.status);
        }
        let mut three = Duration::ZERO;
        for _ in 0..3 {
            three += timed(&mut Command::new("/bin/true"))?;
        }
        nothing.push(three);
    }
    Ok(vec![
        Line::millis("task_processes", &samples)
            .at_most(40.0)
            .baseline("/bin/true three times", nothing.median()),
    ])
}

/// Gives the worker's `accept` the time to reach its daemon: a process starts
/// in far less than what several requests over the same socket take.
fn await_accept(pair: &Pair) -> anyhow::Result<()> {
    block_on(async {
        let enough = Instant::now() + load::ACCEPT_HEAD_START;
        while Instant::now() < enough {
            pair.worker.whoami().await?;
        }
        Ok(())
    })
}

fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    let took = started.elapsed();
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(took)
}
