//! Pilot in a lab: its programs, a worker, and a transfer that runs on.

pub(crate) mod contract;
pub(crate) mod overlay;
pub(crate) mod stream;
pub(crate) mod worker;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Time between two questions to a daemon, so that asking takes no core from the asked.
const PACE: Duration = Duration::from_millis(10);

/// Asks again and again until it is yes; how long that took.
pub(crate) fn until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    while !is_so().with_context(|| format!("while waiting until {what}"))? {
        if start.elapsed() > patience {
            bail!("not within {patience:?}: {what}");
        }
        thread::park_timeout(PACE);
    }
    Ok(start.elapsed())
}
