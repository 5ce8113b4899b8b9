//! A file of 2 GB, beside zeros on a bare quinn stream and beside scp.
//!
//! From the request until the sender says that all is on the receiver's disk
//! and shown. In turns with it as many zeros go over a bare stream between two
//! processes, to nowhere, and the file by scp. The daemons send datagrams as
//! large as loopback takes, which bare quinn does not try; a second pair sends
//! no larger ones than Ethernet takes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pilot_tests::{Programs, Team};

use super::ssh::Ssh;
use super::{forget, plant, send};
use crate::bare;
use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::procfs;
use crate::role::{Orders, Worker};
use crate::samples::median;

pub(crate) const ROLE: &str = "sink";

/// Bytes of the large file, and turns. The first turn warms up.
const LARGE: usize = 2_000_000_000;
const TURNS: usize = 5;

/// The name of the baseline.
const BARE: &str = "zeros over a bare quinn stream";

/// Bytes of a write of the bare stream.
const WRITE: usize = 256 * 1024;

/// MB/s of a large file, and what that takes of the processor and the memory.
pub(crate) fn large(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let sink = Worker::start(ROLE, &[])?;
    let sink_addr = sink.addr()?;
    let (mut rates, mut bares, mut cpu, mut bare_cpu) = (vec![], vec![], vec![], vec![]);
    let (mut ordinary, mut scp) = (vec![], vec![]);
    let mut memory = 0.0_f64;
    block_on(async {
        let mut pair = Pair::start().await?;
        let file = pair.team.folder().join("large");
        plant(&file, LARGE, 0)?;
        let ssh = Ssh::start(&pair.team.folder().join("ssh"))?;
        let pids = pids(&mut pair)?;
        let plain = without_jumbo_frames().await?;
        for _ in 0..TURNS {
            let before = cpu_times(&[std::process::id(), sink.pid()])?;
            let took = zeros(sink_addr).await?;
            bares.push(rate(took));
            bare_cpu.push(per_gb(cpu_times(&[std::process::id(), sink.pid()])? - before));

            let before = cpu_times(&pids)?;
            let (view, took) = send(&pair, &file).await?;
            rates.push(rate(took));
            cpu.push(per_gb(cpu_times(&pids)? - before));
            for pid in pids {
                memory = memory.max(procfs::resident_kb(pid)? / 1000.0);
            }
            forget(&pair, &view).await?;

            let (view, took) = send(&plain, &file).await?;
            ordinary.push(rate(took));
            forget(&plain, &view).await?;

            if let Some(ssh) = &ssh {
                let copy = pair.team.folder().join("copy");
                scp.push(rate(ssh.scp(&file, &copy)?));
                fs::remove_file(copy)?;
            }
        }
        Ok(())
    })?;
    for values in [&mut rates, &mut ordinary, &mut bares, &mut cpu, &mut bare_cpu, &mut scp] {
        drop(values.drain(..values.len().min(1)));
    }
    let to_bare = |rates: &[f64]| -> Vec<f64> {
        rates.iter().zip(&bares).map(|(rate, bare)| rate / bare).collect()
    };
    let more: Vec<f64> = cpu.iter().zip(&bare_cpu).map(|(ours, bare)| ours / bare).collect();
    let mut lines = vec![
        Line::value("files_large", "MB/s", median(&rates))
            .with_all(&rates)
            .in_turns_with(BARE, median(&bares), &to_bare(&rates))
            .ratio_at_least(1.0),
        Line::value("files_large_ordinary_frames", "MB/s", median(&ordinary))
            .with_all(&ordinary)
            .in_turns_with(BARE, median(&bares), &to_bare(&ordinary)),
        Line::value("files_large_cpu", "of the bare stream's", median(&more))
            .with_all(&more)
            .with_number("cpu_s_per_gb", median(&cpu))
            .with_number("cpu_s_per_gb_bare", median(&bare_cpu))
            .at_most(1.3),
        Line::value("files_large_memory", "MB", memory).at_most(100.0),
    ];
    if !scp.is_empty() {
        let ratios: Vec<f64> = rates.iter().zip(&scp).map(|(rate, scp)| rate / scp).collect();
        lines.push(
            Line::value("files_large_beside", "MB/s", median(&rates))
                .in_turns_with("scp with AES-256-GCM", median(&scp), &ratios)
                .ratio_at_least(1.5),
        );
    }
    Ok(lines)
}

/// Two daemons that send no larger datagrams than Ethernet takes.
async fn without_jumbo_frames() -> anyhow::Result<Pair> {
    let mut team = Team::start(&[])?;
    for name in ["manager", "worker"] {
        team.add(name, &["--jumbo-frames=false"])
            .with_context(|| format!("{name} does not start"))?;
    }
    Pair::of(team).await
}

/// How long zeros take over a bare stream, until the last one was counted.
async fn zeros(addr: std::net::SocketAddr) -> anyhow::Result<Duration> {
    let (_client, connection) = bare::bulk_connection(addr).await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let buffer = vec![0; WRITE];
    let started = Instant::now();
    let mut left = LARGE;
    while left > 0 {
        let piece = buffer.get(..left.min(WRITE)).context("no piece")?;
        send.write_all(piece).await?;
        left -= piece.len();
    }
    send.finish()?;
    let mut counted = [0; 8];
    recv.read_exact(&mut counted).await?;
    Ok(started.elapsed())
}

/// The other end of it.
pub(crate) fn sink(_args: &[String]) -> anyhow::Result<()> {
    block_on(async {
        let server = bare::bulk_server()?;
        let addr = server.local_addr()?;
        let serving = async {
            loop {
                let connection = server.accept().await.context("closed")?.accept()?.await?;
                let (mut send, mut recv) = connection.accept_bi().await?;
                let mut buffer = vec![0; WRITE];
                let mut bytes: u64 = 0;
                while let Some(len) = recv.read(&mut buffer).await? {
                    bytes += u64::try_from(len)?;
                }
                send.write_all(&bytes.to_be_bytes()).await?;
                send.finish()?;
                connection.closed().await;
            }
        };
        let mut orders = Orders::taken(&addr.to_string()).await?;
        tokio::select! {
            () = orders.gone() => Ok(()),
            served = serving => served,
        }
    })
}

fn pids(pair: &mut Pair) -> anyhow::Result<[u32; 2]> {
    let mut pid = |name| {
        pair.team.node_mut(name).process().map(|process| process.pid()).context("no process")
    };
    Ok([pid("manager")?, pid("worker")?])
}

fn cpu_times(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| procfs::cpu_time(*pid)).sum()
}

fn rate(took: Duration) -> f64 {
    super::rate(LARGE, took)
}

#[expect(clippy::cast_precision_loss, reason = "two billion is far below 2^52")]
fn per_gb(cpu: Duration) -> f64 {
    cpu.as_secs_f64() / (LARGE as f64 / 1e9)
}
