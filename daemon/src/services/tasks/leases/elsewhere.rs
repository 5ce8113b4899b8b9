//! Processes where there is neither `/proc` nor pidfd: only their number, and
//! whether there is one. A number that was given again is taken for the process
//! that had it before.

use std::io;

use pilot_tasks::Process;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::ProcessError;

/// The process of this number. When it started cannot be compared.
pub(super) fn find(pid: u32, started: Option<u64>) -> Result<Process, ProcessError> {
    let process = Process { pid, started: started.unwrap_or_default(), boot: 0 };
    if is_there(&process) { Ok(process) } else { Err(ProcessError::NoSuch { pid }) }
}

/// Nobody tells.
pub(super) async fn gone(_process: &Process) -> io::Result<()> {
    core::future::ready(Err(io::ErrorKind::Unsupported.into())).await
}

/// Whether there is a process of this number, whosever it is.
pub(super) fn is_there(process: &Process) -> bool {
    let number = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    number.is_some_and(|number| test_kill_process(number) != Err(Errno::SRCH))
}
