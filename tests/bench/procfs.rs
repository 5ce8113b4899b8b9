//! What the kernel says of a process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Resident memory, in kB.
pub(crate) fn resident_kb(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(number.parse()?)
}

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
