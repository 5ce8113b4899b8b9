//! Tasks through the local API of two daemons, durable at both.
//!
//! "Submit to result" is from before `POST tasks` until the result's content
//! is here: submit, wait, result at the manager; accept and results at the
//! worker, over connections that the clients keep.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use pilot_local_api::Client;
use pilot_local_api::tasks::{
    AcceptRequest, Params, SendResultsRequest, SubmitRequest, TaskState, WaitQuery,
};
use pilot_proto::PeerRef;
use pilot_tests::Programs;

use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::procfs;
use crate::samples::Samples;

/// Tasks before the clock runs.
const WARM_UP: usize = 200;

const IN_FLIGHT: usize = 64;

/// Workers that wait at once while many tasks are in flight.
const WORKERS: usize = 16;

const RESULT: &str = "done";

/// A task alone: p50 from submit to result.
pub(crate) fn one_in_flight(_: &Programs) -> anyhow::Result<Vec<Line>> {
    block_on(async {
        let pair = Pair::start().await?;
        load(&pair, 1, 1, WARM_UP).await?;
        let run = load(&pair, 1, 1, 1000).await?;
        let disk = appends(pair.team.folder(), 300)?;
        Ok(vec![
            Line::millis("task_api_one", &run.took)
                .at_most(3.0)
                .baseline("five appends of 4 KiB, each with fdatasync", disk.median() * 5.0)
                .with_number("cpu_ms_manager", run.cpu_manager)
                .with_number("cpu_ms_worker", run.cpu_worker),
        ])
    })
}

/// Tasks in a crowd: how many a second.
pub(crate) fn many_in_flight(_: &Programs) -> anyhow::Result<Vec<Line>> {
    block_on(async {
        let pair = Pair::start().await?;
        load(&pair, IN_FLIGHT, WORKERS, WARM_UP * 10).await?;
        let mut rates = Vec::new();
        let mut lines = Vec::new();
        for _ in 0..5 {
            let run = load(&pair, IN_FLIGHT, WORKERS, 5000).await?;
            rates.push(run.per_second());
            lines.push(run);
        }
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().context("nothing was measured")?;
        let run = lines.pop().context("nothing was measured")?;
        Ok(vec![
            Line::value("task_api_many", "tasks/s", median)
                .with_number("p50_ms", run.took.median())
                .with_number("p99_ms", run.took.percentile(99))
                .with("samples", run.took.len().into())
                .with("rates", rates.iter().map(|rate| rate.round()).collect())
                .with_number("cpu_ms_manager", run.cpu_manager)
                .with_number("cpu_ms_worker", run.cpu_worker)
                .with_number("cpu_ms_bench", run.cpu_bench)
                .at_least(3000.0),
        ])
    })
}

/// What each of so many tasks takes, one after the other.
pub(crate) async fn one_by_one(pair: &Pair, tasks: usize) -> anyhow::Result<Samples> {
    Ok(load(pair, 1, 1, tasks).await?.took)
}

/// Does so many tasks, many of them at once.
pub(crate) async fn crowd(pair: &Pair, tasks: usize) -> anyhow::Result<()> {
    load(pair, IN_FLIGHT, WORKERS, tasks).await.map(drop)
}

/// What some tasks took; CPU time is for each task.
struct Run {
    took: Samples,
    wall: Duration,
    cpu_manager: f64,
    cpu_worker: f64,
    cpu_bench: f64,
}

#[expect(clippy::cast_precision_loss, reason = "there are not 2^52 samples")]
impl Run {
    fn per_second(&self) -> f64 {
        self.took.len() as f64 / self.wall.as_secs_f64()
    }
}

/// Does `tasks` tasks with `in_flight` of them at once.
#[expect(clippy::cast_precision_loss, reason = "there are not 2^52 tasks")]
async fn load(pair: &Pair, in_flight: usize, workers: usize, tasks: usize) -> anyhow::Result<Run> {
    let pids = [pid(pair, "manager").await?, pid(pair, "worker").await?, std::process::id()];
    let cpu = |pid| procfs::cpu_time(pid);
    let before = [cpu(pids[0])?, cpu(pids[1])?, cpu(pids[2])?];
    let started = Instant::now();
    let each = tasks / in_flight;
    let submitters =
        try_join_all((0..in_flight).map(|_| submit(&pair.manager, &pair.worker_address, each)));
    let working = join_all((0..workers).map(|_| work(&pair.worker)));
    let took = tokio::select! {
        took = submitters => took?,
        ended = working => {
            ended.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
            anyhow::bail!("all workers ended")
        }
    };
    let wall = started.elapsed();
    let mut all = Samples::default();
    for samples in took {
        all.append(samples);
    }
    let done = all.len() as f64;
    let spent = |index: usize| -> anyhow::Result<f64> {
        let (Some(pid), Some(before)) = (pids.get(index), before.get(index)) else {
            return Ok(0.0);
        };
        Ok((cpu(*pid)?.saturating_sub(*before)).as_secs_f64() * 1e3 / done)
    };
    let (cpu_manager, cpu_worker, cpu_bench) = (spent(0)?, spent(1)?, spent(2)?);
    Ok(Run { took: all, wall, cpu_manager, cpu_worker, cpu_bench })
}

async fn pid(pair: &Pair, name: &str) -> anyhow::Result<u32> {
    let client = if name == "manager" { &pair.manager } else { &pair.worker };
    Ok(client.status().await?.daemon.pid)
}

/// Submits one task after the other, each after the result of the one before.
async fn submit(manager: &Client, to: &PeerRef, tasks: usize) -> anyhow::Result<Samples> {
    let mut took = Samples::default();
    for number in 0..tasks {
        let description = format!("Implement user authentication API route {number}");
        let request = SubmitRequest {
            params: Params(vec![("framework".into(), "gin".into())]),
            ..SubmitRequest::new(to.clone().into(), description)
        };
        let started = Instant::now();
        let task = manager.submit(&request).await?;
        let ended = manager.wait(task.id, WaitQuery::default()).await?;
        if ended.state != TaskState::Succeeded {
            anyhow::bail!("task {} is {}", task.id, ended.state);
        }
        let result = manager.result(task.id).await?;
        took.since(started);
        if result.data.as_deref() != Some(RESULT) {
            anyhow::bail!("task {} has another result", task.id);
        }
    }
    Ok(took)
}

/// Accepts and answers tasks until it is dropped.
async fn work(worker: &Client) -> anyhow::Result<()> {
    let accept = AcceptRequest { timeout_ms: 30_000, ..AcceptRequest::default() };
    loop {
        let Some(task) = worker.accept(&accept).await? else { continue };
        let result =
            SendResultsRequest { data: Some(RESULT.into()), ..SendResultsRequest::default() };
        worker.send_results(task.id, &result).await?;
    }
}

/// What it takes to append 4 KiB to a file and wait for the disk.
fn appends(folder: &Path, count: usize) -> anyhow::Result<Samples> {
    let mut file = File::create(folder.join("appends"))?;
    let mut took = Samples::default();
    for _ in 0..count {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.since(started);
    }
    Ok(took)
}
