//! Processes by `/proc` and pidfd.

use std::{fs, io};

use pilot_tasks::Process;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ProcessError;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The process of this number, if it is the one that started then.
pub(super) fn find(pid: u32, started: Option<u64>) -> Result<Process, ProcessError> {
    let unreadable = |source| ProcessError::Unreadable { pid, source };
    let Some(found) = started_at(pid).map_err(unreadable)? else {
        return Err(ProcessError::NoSuch { pid });
    };
    if started.is_some_and(|started| started != found) {
        return Err(ProcessError::Another { pid });
    }
    Ok(Process { pid, started: found, boot: boot().map_err(unreadable)? })
}

/// Returns once a process is gone; an error if the system does not tell when.
/// Cancel safe.
pub(super) async fn gone(process: &Process) -> io::Result<()> {
    let number = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let Some(number) = number else { return Ok(()) };
    let descriptor = match pidfd_open(number, PidfdFlags::NONBLOCK) {
        Ok(descriptor) => descriptor,
        Err(Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // The descriptor is of whoever has the number now; that is the one that
    // was meant if it has it still.
    if !is_there(process) {
        return Ok(());
    }
    #[expect(
        deprecated,
        reason = "its unsafe successor is for what may close its descriptor meanwhile; the owner \
                  of this one is moved in, and closes it after it was taken off the poll"
    )]
    let watched = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
    watched.readable().await.map(drop)
}

/// Whether a process is there. One of which it cannot be told is.
pub(super) fn is_there(process: &Process) -> bool {
    boot().map_or(true, |boot| boot == process.boot)
        && started_at(process.pid).map_or(true, |started| started == Some(process.started))
}

/// When the process of this number started; none if there is none, or one that
/// has ended and whose parent has not asked how.
fn started_at(pid: u32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => started_of(&stat).map_err(|()| io::ErrorKind::InvalidData.into()),
        // Gone before it was opened, or while it was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Field 22 of a line of `/proc/PID/stat`. The second is the program's name,
/// in which there may be anything; the last `)` ends it.
pub(super) fn started_of(stat: &str) -> Result<Option<u64>, ()> {
    let (_, fields) = stat.rsplit_once(')').ok_or(())?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next().ok_or(())?;
    let started = fields.nth(18).and_then(|field| field.parse().ok()).ok_or(())?;
    Ok((!matches!(state, "Z" | "X")).then_some(started))
}

/// Which run of the machine this is.
fn boot() -> io::Result<u128> {
    let digits = fs::read_to_string(BOOT_ID)?.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).map_err(|_| io::ErrorKind::InvalidData.into())
}
