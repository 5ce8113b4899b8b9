//! The main job, on real processes: a manager hands tasks to three specialists.
//!
//! Starts a rendezvous and four daemons on loopback, sets up trust as a hub
//! and spokes, runs a task on each specialist, shows that a specialist cannot
//! submit to another, and prints what happened and when. `--keep` leaves
//! everything running until Ctrl-C, to go on by hand.

mod story;
mod worker;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use pilot_tests::{Programs, Team};
use serde_json::Value;
use story::Story;
use worker::Worker;

/// The specialists, and what the manager wants of each.
const SPECIALISTS: [(&str, &str, &str); 3] = [
    ("backend", "Implement user authentication API routes", "framework=gin"),
    ("ml", "Train a login risk scoring model", "model_type=gradient_boosting"),
    ("qa", "Write and run tests for the 2FA API endpoints", "coverage_target=90"),
];

/// `pilotctl` when the peer is not trusted.
const NOT_TRUSTED: i32 = 4;

fn main() -> ExitCode {
    let keep = std::env::args().skip(1).any(|arg| arg == "--keep");
    match run(keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if stderr is closed.
            drop(writeln!(io::stderr(), "the demonstration failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(keep: bool) -> anyhow::Result<()> {
    let mut story = Story::begin();
    story.tell("building the three programs (the first time takes a few minutes)")?;
    let programs = Programs::built()?;

    story.chapter("a rendezvous, a manager and three specialists")?;
    let team = Team::start(&["manager", "backend", "ml", "qa"])?;
    story.tell(&format!(
        "rendezvous on {} (pid {})",
        team.rendezvous.addr(),
        team.rendezvous.pid()
    ))?;
    for name in ["manager", "backend", "ml", "qa"] {
        story.tell(&format!("{name:8} is {}", team.address(name)))?;
    }

    story.chapter("trust: the manager is the hub, nobody else trusts anybody")?;
    for (name, _, _) in SPECIALISTS {
        team.trust("manager", name)?;
        story.tell(&format!("manager and {name} trust each other"))?;
    }

    story.chapter("a task for each specialist")?;
    let workers: Vec<Worker> =
        SPECIALISTS.iter().map(|(name, _, _)| Worker::start(team.node(name))).collect();
    for (name, description, param) in SPECIALISTS {
        give(&mut story, &team, name, description, param)?;
    }
    drop(workers);

    story.chapter("a specialist cannot submit to another")?;
    let backend = team.node("backend");
    let args = ["task", "submit", "--to", team.address("qa"), "--description", "x", "--json"];
    let refused = backend.ctl(&args)?;
    if refused.code != Some(NOT_TRUSTED) {
        bail!("backend could submit to qa: {:?} {}", refused.code, refused.stderr);
    }
    let code = refused.error_code().context("no error code")?;
    story.tell(&format!("backend -> qa: refused with {code}, exit code {NOT_TRUSTED}"))?;

    story.chapter("to go on by hand")?;
    by_hand(&mut story, &team, &programs, keep)?;
    if keep {
        story.tell("everything runs until Ctrl-C")?;
        wait_for_interrupt()?;
    }
    drop(team);
    story.tell("stopped, and the folder is gone")
}

fn give(
    story: &mut Story,
    team: &Team,
    name: &str,
    description: &str,
    param: &str,
) -> anyhow::Result<()> {
    let manager = team.node("manager");
    story.tell(&format!("manager -> {name:8} {description:?} --param {param} --wait"))?;
    let to = team.address(name);
    let args = ["task", "submit", "--to", to, "--description", description, "--param", param];
    let reply = manager.ctl(&[args.as_slice(), &["--wait"]].concat())?;
    if reply.code != Some(0) {
        bail!("the task for {name} ended with {:?}: {}", reply.code, reply.stderr);
    }
    story.tell(&format!("{name:8} -> manager {:?}", reply.text().trim_end()))?;
    let id = reply.stderr.split_whitespace().find(|word| word.len() == 36);
    let task = manager.json(&["task", "get", id.context("no task id on stderr")?])?;
    for change in task.get("history").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| change.get(name).and_then(Value::as_str).unwrap_or_default();
        story.note(&format!("{} {:10} {}", field("at"), field("state"), field("cause")))?;
    }
    Ok(())
}

fn by_hand(story: &mut Story, team: &Team, programs: &Programs, keep: bool) -> anyhow::Result<()> {
    if !keep {
        story
            .note("cargo demo --keep          # the same, and everything goes on running; then:")?;
    }
    story.note(&format!("export PATH={}:$PATH", programs.folder().display()))?;
    for (name, what) in [("manager", "the manager's pilotctl"), ("backend", "the backend's")] {
        story
            .note(&format!("export PILOT_HOME={}   # {what}", team.node(name).home().display()))?;
        if name == "manager" {
            story
                .note("pilotctl status; pilotctl peers; pilotctl trust list; pilotctl task list")?;
            story.note("pilotctl task submit --to backend --description 'hello' --wait &")?;
        } else {
            story.note("pilotctl task accept --json --timeout 30")?;
            story.note("pilotctl task send-results --task-id ID --data 'done'")?;
        }
    }
    Ok(())
}

/// Ends with the process: Ctrl-C goes to the whole group, daemons included.
fn wait_for_interrupt() -> io::Result<()> {
    let mut line = String::new();
    // Nothing is asked: the end of stdin, or Ctrl-C, is the end.
    while io::stdin().read_line(&mut line)? > 0 {
        line.clear();
    }
    Ok(())
}
