//! Files between two daemons, beside zeros on a bare quinn stream.
//!
//! A file of 1 GB, and 10,000 files of 4 KiB, are sent from one daemon to
//! another through the local API, from the request until the sender says that
//! all is on the receiver's disk and shown. Everything is on the file system of
//! the folder for temporary files; the source is in the page cache. In turns
//! with it the same bytes go as zeros over a bare stream between two processes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_local_api::transfers::{Keep, PathText, SendRequest, TransferState, TransferView};
use pilot_tests::Programs;

use crate::bare;
use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::procfs;
use crate::role::{Orders, Worker};
use crate::samples::median;

pub(crate) const ROLE: &str = "sink";

/// Bytes of the large file, and turns. The first turn warms up.
const LARGE: usize = 1_000_000_000;
const TURNS: usize = 5;

/// The small ones.
const SMALL: usize = 10_000;
const SMALL_BYTES: usize = 4096;

/// Bytes of a write of the bare stream.
const WRITE: usize = 256 * 1024;

/// MB/s of a large file, and what that takes of the processor and the memory.
pub(crate) fn large(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let sink = Worker::start(ROLE, &[])?;
    let sink_addr = sink.addr()?;
    let (mut rates, mut bares, mut cpu, mut bare_cpu) = (vec![], vec![], vec![], vec![]);
    let mut memory = 0.0_f64;
    block_on(async {
        let mut pair = Pair::start().await?;
        let file = pair.team.folder().join("large");
        fs::write(&file, noise(LARGE))?;
        let pids = pids(&mut pair)?;
        for _ in 0..TURNS {
            let before = cpu_times(&[std::process::id(), sink.pid()])?;
            let took = zeros(sink_addr).await?;
            bares.push(rate(took));
            bare_cpu.push(per_gb(cpu_times(&[std::process::id(), sink.pid()])? - before));

            let before = cpu_times(&pids)?;
            let started = Instant::now();
            let view = send(&pair, &file).await?;
            rates.push(rate(started.elapsed()));
            cpu.push(per_gb(cpu_times(&pids)? - before));
            for pid in pids {
                memory = memory.max(procfs::resident_kb(pid)? / 1000.0);
            }
            forget(&pair, &view).await?;
        }
        Ok(())
    })?;
    for values in [&mut rates, &mut bares, &mut cpu, &mut bare_cpu] {
        drop(values.drain(..1));
    }
    let ratios: Vec<f64> = rates.iter().zip(&bares).map(|(rate, bare)| rate / bare).collect();
    let more: Vec<f64> = cpu.iter().zip(&bare_cpu).map(|(ours, bare)| ours / bare).collect();
    Ok(vec![
        Line::value("files_large", "MB/s", median(&rates))
            .with_all(&rates)
            .in_turns_with("zeros over a bare quinn stream", median(&bares), &ratios)
            .ratio_at_least(1.0),
        Line::value("files_large_cpu", "of the bare stream's", median(&more))
            .with_all(&more)
            .with_number("cpu_s_per_gb", median(&cpu))
            .with_number("cpu_s_per_gb_bare", median(&bare_cpu))
            .at_most(1.3),
        Line::value("files_large_memory", "MB", memory).at_most(100.0),
    ])
}

/// Files/s of many small ones.
pub(crate) fn small(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut rates = Vec::new();
    block_on(async {
        let pair = Pair::start().await?;
        let folder = pair.team.folder().join("small");
        fs::create_dir(&folder)?;
        let content = noise(SMALL_BYTES);
        for number in 0..SMALL {
            fs::write(folder.join(number.to_string()), &content)?;
        }
        for _ in 0..TURNS {
            let started = Instant::now();
            let view = send(&pair, &folder).await?;
            let files = f64::from(u32::try_from(SMALL)?);
            rates.push(files / started.elapsed().as_secs_f64());
            forget(&pair, &view).await?;
        }
        Ok(())
    })?;
    drop(rates.drain(..1));
    // Eight times the 2,270 files/s of `scp -r`, measured on such a machine.
    Ok(vec![
        Line::value("files_small", "files/s", median(&rates)).with_all(&rates).at_least(18_160.0),
    ])
}

/// Sends a file or folder, until it is there.
async fn send(pair: &Pair, path: &Path) -> anyhow::Result<TransferView> {
    let request = SendRequest {
        to: pair.worker_address.to_string(),
        paths: vec![PathText::from(path)],
        id: None,
        label: None,
        task: None,
        exclude: Vec::new(),
        gitignore: false,
        expires_ms: None,
        limit: None,
        keep: Keep::InPlace,
    };
    let id = pair.manager.send(&request).await?.id;
    let mut lines = pair.manager.watch_transfer(id).await?;
    while let Some(view) = lines.next().await? {
        if view.state.is_terminal() {
            if view.state != TransferState::Done {
                bail!("the transfer ended otherwise: {view:?}");
            }
            return Ok(view);
        }
    }
    bail!("the watch ended first")
}

async fn forget(pair: &Pair, view: &TransferView) -> anyhow::Result<()> {
    pair.worker.remove_transfer(view.id).await?;
    pair.manager.remove_transfer(view.id).await?;
    Ok(())
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

#[expect(clippy::cast_precision_loss, reason = "a billion is far below 2^52")]
fn rate(took: Duration) -> f64 {
    LARGE as f64 / 1e6 / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a billion is far below 2^52")]
fn per_gb(cpu: Duration) -> f64 {
    cpu.as_secs_f64() / (LARGE as f64 / 1e9)
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
