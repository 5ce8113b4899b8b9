//! 10,000 files of 4 KiB.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use pilot_tests::Programs;

use super::ssh::Ssh;
use super::{noise, send};
use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::samples::median;

const FILES: usize = 10_000;
const BYTES: usize = 4096;

/// Turns; the first warms up.
const TURNS: usize = 4;

/// Files/s, in turns with scp -r, rsync -a and tar over ssh. Every file of
/// every turn is another one, for what the receiver holds is not sent again;
/// nothing is removed in between, for that costs the next turn its time.
pub(crate) fn small(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut took: [Vec<f64>; 4] = Default::default();
    block_on(async {
        let pair = Pair::start().await?;
        let folder = pair.team.folder();
        let ssh = Ssh::start(&folder.join("ssh"))?;
        for turn in 0..TURNS {
            let source = folder.join(format!("small-{turn}"));
            fill(&source, u8::try_from(turn)?)?;
            let (_view, ours) = send(&pair, &source).await?;
            let mut turns = vec![ours];
            if let Some(ssh) = &ssh {
                let to = |what: &str| folder.join(format!("{what}-{turn}"));
                turns.push(ssh.scp(&source, &to("scp"))?);
                turns.push(ssh.rsync(&source, &to("rsync"))?);
                turns.push(ssh.tar(&source, &to("tar"))?);
            }
            if turn > 0 {
                took.iter_mut().zip(turns).for_each(|(all, took)| all.push(per_second(took)));
            }
        }
        Ok(())
    })?;
    let [ours, others @ ..] = took;
    let mut lines = vec![Line::value("files_small", "files/s", median(&ours)).with_all(&ours)];
    let named = ["scp -r", "rsync -a", "tar over ssh"].into_iter().zip(others);
    for ((name, theirs), target) in named.zip([8.0, 1.0, 1.0]) {
        if theirs.is_empty() {
            continue;
        }
        let ratios: Vec<f64> =
            ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        lines.push(
            Line::value("files_small_beside", "files/s", median(&ours))
                .in_turns_with(name, median(&theirs), &ratios)
                .ratio_at_least(target),
        );
    }
    Ok(lines)
}

/// Files, no two alike.
fn fill(folder: &Path, seed: u8) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    let content = noise(FILES * BYTES, seed);
    for (number, content) in content.chunks(BYTES).enumerate() {
        fs::write(folder.join(number.to_string()), content)?;
    }
    let synced = std::process::Command::new("sync").arg("-f").arg(folder).status();
    synced.context("cannot sync")?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "there are few files")]
fn per_second(took: Duration) -> f64 {
    FILES as f64 / took.as_secs_f64()
}
