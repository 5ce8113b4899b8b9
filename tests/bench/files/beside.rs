//! Tasks while a transfer takes all of the line that it gets.

use std::fs;

use anyhow::{Context as _, bail};
use pilot_local_api::transfers::TransfersQuery;
use pilot_tests::Programs;

use super::{noise, request};
use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::samples::Samples;
use crate::tasks::one_by_one;

/// Bytes of the file that is sent over and over.
const BYTES: usize = 1_000_000_000;

/// Tasks of each kind of turn, and turns.
const TASKS: usize = 300;
const TURNS: usize = 3;

/// Transfers at once.
const TRANSFERS: usize = 6;

/// The 99th percentile of a task's round trip, beside that without a transfer.
pub(crate) fn tasks(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let (mut idle, mut busy) = (Samples::default(), Samples::default());
    let mut moved = 0;
    block_on(async {
        let pair = Pair::start().await?;
        let file = pair.team.folder().join("large");
        fs::write(&file, noise(BYTES, 0))?;
        one_by_one(&pair, TASKS).await?;
        for _ in 0..TURNS {
            idle.append(one_by_one(&pair, TASKS).await?);
            let mut transfers = Vec::new();
            for _ in 0..TRANSFERS {
                transfers.push(pair.manager.send(&request(&pair, &file)).await?.id);
            }
            busy.append(one_by_one(&pair, TASKS).await?);
            let last = *transfers.last().context("no transfer")?;
            if pair.manager.transfer(last).await?.state.is_terminal() {
                bail!("the transfers ended before the tasks");
            }
            for id in transfers {
                moved += pair.manager.transfer(id).await?.bytes_done;
                pair.manager.cancel_transfer(id).await?;
            }
            // What came of it would not be sent again.
            for view in pair.worker.transfers(&TransfersQuery::default()).await? {
                pair.worker.cancel_transfer(view.id).await?;
                pair.worker.remove_transfer(view.id).await?;
            }
        }
        Ok(())
    })?;
    let [quiet, loud] = [&idle, &busy].map(|samples| samples.percentile(99));
    Ok(vec![
        Line::value("files_beside_tasks", "of the idle p99", loud / quiet)
            .with_number("p99_ms_idle", quiet)
            .with_number("p99_ms_busy", loud)
            .with_number("p50_ms_idle", idle.median())
            .with_number("p50_ms_busy", busy.median())
            .with("bytes_moved", moved.into())
            .at_most(3.0),
    ])
}
