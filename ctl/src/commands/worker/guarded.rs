//! The guard, as worker run has it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use pilot_local_api::tasks::ProcessRef;
use pilot_local_api::{ApiError, ErrorCode};
use tokio::process::{Child, Command};

use crate::child::Group;
use crate::process;

/// The guard that runs, and whom it is told about.
#[derive(Debug)]
pub(super) struct Guarded {
    /// None once nothing more can be told.
    pipe: Mutex<Option<File>>,
    process: ProcessRef,
}

impl Guarded {
    /// Starts a guard over a folder. The child ends when the pipe does.
    pub(super) fn start(folder: &Path) -> Result<(Self, Child), ApiError> {
        let failed = |error: io::Error| {
            ApiError::new(ErrorCode::Internal, format!("cannot start the guard: {error}"))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["worker", "guard"]).arg(folder).current_dir("/");
        // A group of its own, so that Ctrl-C does not reach it.
        // What ends the task in which this worker may run leaves its guard alone.
        command.env_remove("PILOT_TASK_DIR");
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let gone = || failed(io::ErrorKind::BrokenPipe.into());
        let pid = child.id().ok_or_else(gone)?;
        let stdin = child.stdin.take().ok_or_else(gone)?;
        let pipe = Mutex::new(Some(File::from(stdin.into_owned_fd().map_err(failed)?)));
        Ok((Self { pipe, process: process::of(pid) }, child))
    }

    /// Whom leases are bound to.
    pub(super) const fn process(&self) -> ProcessRef {
        self.process
    }

    /// A group runs.
    pub(super) fn begun(&self, group: Group) {
        self.tell('+', group);
    }

    /// Nobody of a group is left.
    pub(super) fn ended(&self, group: Group) {
        self.tell('-', group);
    }

    /// There is nothing more to guard.
    pub(super) fn close(&self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn tell(&self, sign: char, group: Group) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = pipe.as_mut() {
            let line = format!("{sign}{}\n", group.number());
            // A guard that does not listen is as good as none: it is told by
            // the end of the pipe, and its own end is heard.
            if open.write_all(line.as_bytes()).is_err() {
                *pipe = None;
            }
        }
    }
}
