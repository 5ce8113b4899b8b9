//! Files between two daemons, beside what others do with them.
//!
//! Everything is on the file system of the folder for temporary files; sources
//! are in the page cache, and a turn ends when all is on the receiver's disk.

mod beside;
mod far;
mod large;
mod small;
mod ssh;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use pilot_local_api::transfers::{SendRequest, TransferState, TransferView};
use pilot_tests::api::sending;

pub(crate) use beside::tasks;
pub(crate) use far::{lossy, relayed};
pub(crate) use large::{ROLE, large, sink};
pub(crate) use small::small;

use crate::pair::Pair;

fn request(pair: &Pair, path: &Path) -> SendRequest {
    sending(&pair.worker_address, &[path])
}

/// Sends a file or folder, until the sender knows that it is there; how long
/// that takes.
async fn send(pair: &Pair, path: &Path) -> anyhow::Result<(TransferView, Duration)> {
    let started = Instant::now();
    let id = pair.manager.send(&request(pair, path)).await?.id;
    let mut lines = pair.manager.watch_transfer(id).await?;
    while let Some(view) = lines.next().await? {
        if view.state.is_terminal() {
            if view.state != TransferState::Done {
                bail!("the transfer ended otherwise: {view:?}");
            }
            return Ok((view, started.elapsed()));
        }
    }
    bail!("the watch ended first")
}

async fn forget(pair: &Pair, view: &TransferView) -> anyhow::Result<()> {
    pair.worker.remove_transfer(view.id).await?;
    pair.manager.remove_transfer(view.id).await?;
    Ok(())
}

/// MB/s.
#[expect(clippy::cast_precision_loss, reason = "no file here is near 2^52 bytes")]
fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// A file of noise that is on the disk already: nothing of it is left to be
/// written while the clock runs.
fn plant(path: &Path, len: usize, seed: u8) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&noise(len, seed))?;
    Ok(file.sync_all()?)
}

/// Bytes that do not compress, others for each seed.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}
