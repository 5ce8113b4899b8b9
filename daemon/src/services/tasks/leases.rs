//! Leases that end with a process.
//!
//! Each process that has leases is watched once, however many it has: whoever
//! works on 64 tasks is one process. What it had goes back to the queue as soon
//! as it is gone, also if that was while the daemon was down.

#[cfg(target_os = "linux")]
#[path = "leases/linux.rs"]
mod process;

#[cfg(not(target_os = "linux"))]
#[path = "leases/elsewhere.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pilot_local_api::tasks::ProcessRef;
use pilot_tasks::Process;
use tokio_util::sync::CancellationToken;

use super::{TRY_AGAIN, TasksService};

/// Processes that may have leases at once. Each costs a file descriptor;
/// beyond it an accept for another one is refused.
pub(super) const MAX_PROCESSES: usize = 256;

/// How often it is looked whether a process is still there, where the system
/// does not tell.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why a lease cannot end with a process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("there is no process {pid} on this machine")]
    NoSuch { pid: u32 },
    #[error("process {pid} is another one than was meant: that one is gone")]
    Another { pid: u32 },
    #[error("process {pid} cannot be looked at")]
    Unreadable {
        pid: u32,
        #[source]
        source: io::Error,
    },
    #[error("leases end with {MAX_PROCESSES} processes already")]
    TooMany,
}

/// The processes that are watched, each with what ends its watch.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<Process, CancellationToken>>);

impl Leases {
    /// What ends the watch of this process; none if it is watched already.
    fn begin(&self, process: Process) -> Option<CancellationToken> {
        let mut watched = self.lock();
        if watched.contains_key(&process) {
            return None;
        }
        let ended = CancellationToken::new();
        watched.insert(process, ended.clone());
        Some(ended)
    }

    fn end(&self, process: &Process) {
        if let Some(ended) = self.lock().remove(process) {
            ended.cancel();
        }
    }

    fn watched(&self) -> Vec<Process> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Process, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process that somebody names, if it is there.
pub(super) fn find(named: ProcessRef) -> Result<Process, ProcessError> {
    process::find(named.pid, named.started)
}

impl TasksService {
    /// Watches a process until it is gone, or has no lease any more.
    pub(super) fn watch_process(self: &Arc<Self>, process: Process) {
        let Some(ended) = self.leases.begin(process) else { return };
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = service.stop.cancelled() => {}
                () = gone(&process) => service.end_leases(&process).await,
            }
        });
    }

    pub(super) fn unwatch_process(&self, process: &Process) {
        self.leases.end(process);
    }

    /// Watches those processes, and no others, that have leases now.
    pub(super) fn watch_processes(self: &Arc<Self>) {
        let wanted: BTreeSet<Process> = self.desk().worker.processes().copied().collect();
        for process in self.leases.watched() {
            if !wanted.contains(&process) {
                self.unwatch_process(&process);
            }
        }
        for process in wanted {
            self.watch_process(process);
        }
    }

    async fn end_leases(self: &Arc<Self>, process: &Process) {
        tracing::info!(pid = process.pid, "a worker process is gone");
        loop {
            let ended = self.turn(|desk, _, now| desk.worker.handle_process_gone(process, now));
            match ended.await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "leases could not be ended; it is tried again");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = tokio::time::sleep(TRY_AGAIN) => {}
                    }
                }
            }
        }
    }
}

/// Returns once a process is gone. Cancel safe.
async fn gone(process: &Process) {
    let told = process::gone(process).await;
    if let Err(error) = told {
        tracing::debug!(pid = process.pid, %error, "the end of a process is looked for");
        while process::is_there(process) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests;
