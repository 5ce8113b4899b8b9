//! What the kernel says of a process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

pub(crate) use pilot_tests::resident_kb;

/// How long the threads that are alive have run, exact to the nanosecond.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let mut total = Duration::ZERO;
    for task in fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
        // A thread may have ended meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let ran = text.split_whitespace().next().context("no run time")?;
        total += Duration::from_nanos(ran.parse()?);
    }
    Ok(total)
}
