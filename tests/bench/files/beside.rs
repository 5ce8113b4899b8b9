//! Tasks while a transfer takes all of the line.

use anyhow::bail;
use pilot_local_api::transfers::TransfersQuery;
use pilot_tests::Programs;

use super::{plant, request};
use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::samples::Samples;
use crate::tasks::one_by_one;

/// Bytes of the file that is on its way meanwhile.
const BYTES: usize = 4_000_000_000;

/// Tasks of each kind of turn, and turns.
const TASKS: usize = 150;
const TURNS: usize = 6;

/// The 99th percentile of a task's round trip, beside that without a transfer.
pub(crate) fn tasks(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let (mut idle, mut busy) = (Samples::default(), Samples::default());
    let mut moved = 0;
    block_on(async {
        let pair = Pair::start().await?;
        let file = pair.team.folder().join("large");
        plant(&file, BYTES, 0)?;
        one_by_one(&pair, TASKS).await?;
        for _ in 0..TURNS {
            idle.append(one_by_one(&pair, TASKS).await?);
            let id = pair.manager.send(&request(&pair, &file)).await?.id;
            busy.append(one_by_one(&pair, TASKS).await?);
            let view = pair.manager.transfer(id).await?;
            if view.state.is_terminal() {
                bail!("the transfer ended before the tasks: {view:?}");
            }
            moved += view.bytes_done;
            pair.manager.cancel_transfer(id).await?;
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
