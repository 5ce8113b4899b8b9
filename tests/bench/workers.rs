//! What `worker run` adds to a command that does nothing.
//!
//! All tasks are in the worker's queue before the clock runs. It stops when
//! `worker run` has ended, which is when the worker's daemon has all results on
//! its disk. Beside it the same command is run as often, as many at once, by
//! nobody but this program.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_local_api::tasks::{SubmitRequest, TaskState, WaitQuery};
use pilot_tests::Programs;

use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::samples::median;

/// Tasks of one turn.
const TASKS: usize = 1000;

/// Commands that run at once.
const SLOTS: usize = 4;

/// Turns, of which the median counts.
const TURNS: usize = 3;

/// The tasks through one worker.
pub(crate) fn serve(_: &Programs) -> anyhow::Result<Vec<Line>> {
    block_on(turns())
}

async fn turns() -> anyhow::Result<Vec<Line>> {
    let pair = Pair::start().await?;
    let (mut overs, mut totals, mut alones) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let total = each(turn(&pair).await?);
        let alone = each(commands_alone()?);
        overs.push(total - alone);
        totals.push(total);
        alones.push(alone);
    }
    Ok(vec![
        Line::value("worker_run", "ms", median(&overs))
            .at_most(3.0)
            .with_number("total_ms", median(&totals))
            .with_number("command_alone_ms", median(&alones))
            .with("tasks", TASKS.into())
            .with("slots", SLOTS.into())
            .with_all(&overs),
    ])
}

/// Milliseconds for each of the tasks.
#[expect(clippy::cast_precision_loss, reason = "there are not 2^52 tasks")]
fn each(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3 / TASKS as f64
}

async fn turn(pair: &Pair) -> anyhow::Result<Duration> {
    let mut ids = Vec::with_capacity(TASKS);
    for number in 0..TASKS {
        let to = pair.worker_address.clone().into();
        let request = SubmitRequest::new(to, format!("task {number}"));
        ids.push(pair.manager.submit(&request).await?.id);
    }
    for id in &ids {
        let mut query = WaitQuery { timeout_ms: None, after_revision: Some(0) };
        loop {
            let view = pair.manager.wait(*id, query).await?;
            if view.state != TaskState::Queued {
                break;
            }
            query.after_revision = Some(view.revision);
        }
    }
    let (tasks, slots) = (TASKS.to_string(), SLOTS.to_string());
    let words = ["worker", "run", "--slots", &slots, "--max-tasks", &tasks, "--", "true"];
    let mut command = pair.team.node("worker").command(&words);
    command.stdout(Stdio::null());
    let began = Instant::now();
    // Nothing else is to be done here meanwhile.
    let status = command.status().context("worker run cannot be run")?;
    let took = began.elapsed();
    if !status.success() {
        bail!("worker run: {status}");
    }
    for id in ids {
        let view = pair.manager.wait(id, WaitQuery::default()).await?;
        if view.state != TaskState::Succeeded {
            bail!("task {id} is {}", view.state);
        }
    }
    Ok(took)
}

/// As often and as many at once.
fn commands_alone() -> anyhow::Result<Duration> {
    let began = Instant::now();
    let run = || -> anyhow::Result<()> {
        for _ in 0..TASKS / SLOTS {
            let mut command = Command::new("true");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.output().context("true cannot be run")?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..SLOTS).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread was lost"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(began.elapsed())
}
