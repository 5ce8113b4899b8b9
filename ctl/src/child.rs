//! Commands that are run as children: each leads a process group of its own,
//! so that what it starts can be ended with it.

use core::time::Duration;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::process::ExitStatus;

use pilot_local_api::{ApiError, ErrorCode};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::time::timeout;

/// The process group that a child leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group(Pid);

impl Group {
    /// None if the child was waited for already.
    pub(crate) fn of(child: &Child) -> Option<Self> {
        Self::from_number(child.id()?)
    }

    /// None for what is no number of a group.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        // 1 is the group of the first process of all, which is nobody's child.
        let number = i32::try_from(number).ok().filter(|number| *number > 1)?;
        Pid::from_raw(number).map(Self)
    }

    /// The number of its leader.
    pub(crate) fn number(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Asks all of it to end.
    pub(crate) fn ask(self) {
        // There may be nobody left.
        let _: rustix::io::Result<()> = kill_process_group(self.0, Signal::TERM);
    }

    /// Ends all of it.
    pub(crate) fn kill(self) {
        // There may be nobody left.
        let _: rustix::io::Result<()> = kill_process_group(self.0, Signal::KILL);
    }
}

/// Asks a child and all that it started to end, and makes them after `grace`.
pub(crate) async fn end(child: &mut Child, grace: Duration) -> io::Result<()> {
    let Some(group) = Group::of(child) else { return Ok(()) };
    group.ask();
    if timeout(grace, child.wait()).await.is_err() {
        group.kill();
        child.wait().await?;
    }
    Ok(())
}

/// How a child ended, in words.
pub(crate) fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The error of a command that could not be started.
pub(crate) fn not_run(name: &OsStr, kind: ErrorKind, why: &str) -> ApiError {
    let code = if kind == ErrorKind::NotFound {
        ErrorCode::NotFound
    } else if kind == ErrorKind::PermissionDenied {
        ErrorCode::NotAllowed
    } else {
        ErrorCode::Internal
    };
    ApiError::new(code, format!("cannot run {}: {why}", name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_means_more_than_one_group() {
        for number in [0, 1, u32::MAX] {
            assert_eq!(Group::from_number(number), None);
        }
        assert_eq!(Group::from_number(77).unwrap().number(), 77);
    }
}
