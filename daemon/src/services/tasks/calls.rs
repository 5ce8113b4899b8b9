//! What the local API asks of the tasks service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, Timestamp};
use pilot_local_api::tasks::ProcessRef;
use pilot_proto::TaskId;
use pilot_proto::tasks::{ContentError, ResultBody, TaskBody};
use pilot_store::{Batch, CommitError, ReadError};
use pilot_tasks::{
    CancelError, DeclineError, FinishError, NotAtWork, Process, ReceivedPhase, ReceivedTask,
    RetryError, SubmittedTask, TaskState,
};

use super::TasksService;
use super::desk::Desk;
use super::files::LoadError;
use super::leases::{self, MAX_PROCESSES, ProcessError};
use super::shelf::ShelfError;
use crate::services::watch::Watch;
use crate::store::bodies::{self, Kind, Side};
use crate::store::tasks::{self as rows, Wanted};

/// Why something was not done with a task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Keep(#[from] ShelfError),
    #[error(transparent)]
    Cancel(#[from] CancelError),
    #[error("the task went back to the queue, or to another worker; this one is done with it")]
    NotHeld,
    #[error(transparent)]
    Retry(#[from] RetryError),
    #[error(transparent)]
    Finish(#[from] FinishError),
    #[error(transparent)]
    Decline(#[from] DeclineError),
    #[error(transparent)]
    NotAtWork(#[from] NotAtWork),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("tasks cannot be read")]
    Read(#[from] ReadError),
}

/// Why no task was accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("tasks cannot be read")]
    Read(#[from] ReadError),
    #[error("the content of task {0} is missing")]
    NoBody(TaskId),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A task, in the half that is here.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Submitted(Box<SubmittedTask>),
    Received(Box<ReceivedTask>),
}

/// A task that was just accepted. Dropped before it is [kept](Self::keep), it
/// goes back to the queue: its worker never heard of it.
pub(crate) struct Accepted {
    pub(crate) task: Box<ReceivedTask>,
    pub(crate) body: TaskBody,
    lease: Lease,
}

struct Lease {
    service: Arc<TasksService>,
    id: TaskId,
    revision: u64,
    kept: bool,
}

/// How many tasks are where.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) submitted_live: u64,
    pub(crate) submitted_undelivered: u64,
    pub(crate) received_waiting: u64,
    pub(crate) received_leased: u64,
    pub(crate) leases_bound: u64,
    pub(crate) results_pending: u64,
}

impl TasksService {
    /// Takes a task back.
    pub(crate) async fn cancel(
        &self,
        id: TaskId,
        grace: Duration,
        reason: &str,
    ) -> Result<TaskState, CallError> {
        self.turn(|desk, _, now| {
            desk.fetch_submitted(&self.store, id)?;
            Ok(desk.submitter.cancel(&id, grace, reason, now)?)
        })
        .await?
    }

    /// Begins another attempt at a task.
    pub(crate) async fn retry(&self, id: TaskId) -> Result<(), CallError> {
        self.turn(|desk, batch, now| {
            desk.fetch_submitted(&self.store, id)?;
            let task = desk.submitter.task(&id);
            let (plan, attempt) = match task {
                Some(task) => (task.extras.plan.clone(), task.terms.attempt),
                None => return Err(RetryError::Unknown.into()),
            };
            desk.fetch_all(&self.store, &plan)?;
            desk.submitter.retry(&id, now)?;
            // What came of the attempt before is no more the task's result.
            bodies::set_aside(batch, id, attempt);
            Ok(())
        })
        .await?
    }

    /// Waits up to `patience` for a task and accepts it; that is on disk when
    /// this returns. A claim that was made before gets what it got then. The
    /// lease ends with the process `bind`, if there is one.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        from: Option<NodeId>,
        claim: Option<&str>,
        bind: Option<ProcessRef>,
        patience: Duration,
    ) -> Result<Option<Accepted>, AcceptError> {
        let process = bind.map(leases::find).transpose()?;
        let deadline = Instant::now() + patience;
        let _hand = Waiting::count(&self.waiting);
        loop {
            // Rings from here on are heard, also those before the look below.
            let mut ready = std::pin::pin!(self.ready.notified());
            ready.as_mut().enable();
            let begun = self
                .begin_if(|desk, _, now| {
                    if process.is_some_and(|process| !has_room_for(desk, &process)) {
                        return Some(Err(ProcessError::TooMany));
                    }
                    let again = claim.and_then(|claim| desk.worker.accept_again(claim, process));
                    let acceptor = claim.unwrap_or_default();
                    let id = match again {
                        Some(id) => id,
                        None => desk.worker.accept_bound(from, acceptor, process, now)?,
                    };
                    desk.worker.task(&id).map(|task| Ok(Box::new(task.clone())))
                })
                .await?;
            if let Some((task, turn)) = begun {
                let task = task?;
                let id = task.terms.id;
                let revision = task.revision;
                let lease = Lease { service: Arc::clone(self), id, revision, kept: false };
                turn.done().await?;
                let body = self.task_body(Side::Received, id)?.ok_or(AcceptError::NoBody(id))?;
                return Ok(Some(Accepted { task, body, lease }));
            }
            tokio::select! {
                () = ready => {}
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep_until(deadline.into()) => return Ok(None),
            }
        }
    }

    /// Declines a task.
    pub(crate) async fn decline(&self, id: TaskId, reason: &str) -> Result<(), CallError> {
        self.turn(|desk, _, now| {
            desk.fetch_received(&self.store, id)?;
            Ok(desk.worker.decline(&id, reason, now)?)
        })
        .await?
    }

    /// Puts an accepted task back into the queue, where nobody gets it within
    /// `delay`.
    pub(crate) async fn release(
        &self,
        id: TaskId,
        delay: Duration,
        reason: &str,
    ) -> Result<(), CallError> {
        self.turn(|desk, _, now| {
            desk.fetch_received(&self.store, id)?;
            Ok(desk.worker.put_back(&id, delay, reason, now)?)
        })
        .await?
    }

    /// Refuses what is said of a task by who accepted it under a claim, if it
    /// went back to the queue or to somebody else since.
    pub(crate) fn check_claim(&self, id: TaskId, claim: Option<&str>) -> Result<(), CallError> {
        let Some(claim) = claim else { return Ok(()) };
        let desk = self.desk();
        if desk.worker.is_held_under(&id, claim) { Ok(()) } else { Err(CallError::NotHeld) }
    }

    /// Notes how far a task is; answers whether it should stop.
    pub(crate) async fn progress(
        &self,
        id: TaskId,
        percent: Option<u8>,
        note: Option<&str>,
    ) -> Result<bool, CallError> {
        self.turn(|desk, _, now| {
            desk.fetch_received(&self.store, id)?;
            desk.worker.progress(&id, percent, note, now)?;
            Ok(desk.worker.task(&id).is_some_and(|task| task.cancel.is_some()))
        })
        .await?
    }

    /// A task as it is on disk, if it is here.
    pub(crate) async fn row(&self, id: TaskId) -> Result<Option<Row>, CallError> {
        let in_memory = {
            let desk = self.desk();
            let submitted = desk.submitter.task(&id).cloned().map(Box::new).map(Row::Submitted);
            let row = submitted
                .or_else(|| desk.worker.task(&id).cloned().map(Box::new).map(Row::Received));
            let durable = match &row {
                Some(Row::Submitted(_)) => desk.submitter.is_durable(&id),
                Some(Row::Received(_)) => desk.worker.is_durable(&id),
                None => false,
            };
            row.map(|row| (row, durable))
        };
        if let Some((row, durable)) = in_memory {
            if !durable {
                // What memory says is on its way to the disk.
                self.store.commit(self.store.batch()).await?;
            }
            return Ok(Some(row));
        }
        if let Some(task) = self.store.read(|connection| rows::submitted(connection, id))? {
            return Ok(Some(Row::Submitted(Box::new(task))));
        }
        let received = self.store.read(|connection| rows::received(connection, id))?;
        Ok(received.map(Box::new).map(Row::Received))
    }

    /// Starts watching a task.
    pub(crate) fn watch(&self, id: TaskId) -> Watch<TaskId> {
        self.watchers.watch(id)
    }

    /// The newest tasks of this node as submitter.
    pub(crate) async fn list_submitted(
        &self,
        wanted: Wanted,
        limit: u32,
    ) -> Result<Vec<SubmittedTask>, ReadError> {
        self.store
            .read_blocking(move |connection| rows::list_submitted(connection, &wanted, limit))
            .await
    }

    /// The newest tasks of this node as worker.
    pub(crate) async fn list_received(
        &self,
        state: Option<TaskState>,
        limit: u32,
    ) -> Result<Vec<ReceivedTask>, ReadError> {
        self.store
            .read_blocking(move |connection| rows::list_received(connection, state, limit))
            .await
    }

    /// What is to be done, if it is still kept.
    pub(crate) fn task_body(&self, side: Side, id: TaskId) -> Result<Option<TaskBody>, ReadError> {
        self.store.read(|connection| {
            let body = bodies::get(connection, side, Kind::Task, id)?;
            let body = body.map(|body| TaskBody::decode(&body)).transpose();
            body.map_err(|error| crate::store::undecodable(0, error))
        })
    }

    /// What came out of it, if it is kept.
    pub(crate) fn result_body(
        &self,
        side: Side,
        id: TaskId,
    ) -> Result<Option<ResultBody>, ReadError> {
        self.store.read(|connection| {
            let body = bodies::get(connection, side, Kind::Result, id)?;
            let body = body.map(|body| ResultBody::decode(&body)).transpose();
            body.map_err(|error| crate::store::undecodable(0, error))
        })
    }

    /// What came out of an attempt that was not the last.
    pub(crate) fn attempt_body(
        &self,
        id: TaskId,
        attempt: u32,
    ) -> Result<Option<ResultBody>, ReadError> {
        self.store.read(|connection| {
            let body = bodies::get(connection, Side::Submitted, Kind::Attempt(attempt), id)?;
            body.map(|body| {
                ResultBody::decode(&body).map_err(|error| crate::store::undecodable(0, error))
            })
            .transpose()
        })
    }

    /// How many tasks are where.
    pub(crate) fn counts(&self) -> Counts {
        let desk = self.desk();
        let leases_bound = u64::try_from(desk.worker.bound()).unwrap_or(u64::MAX);
        let mut counts = Counts { leases_bound, ..Counts::default() };
        for task in desk.submitter.tasks() {
            counts.submitted_live += u64::from(!task.state().is_terminal());
            counts.submitted_undelivered += u64::from(task.state() == TaskState::Queued);
        }
        for task in desk.worker.tasks() {
            match &task.phase {
                ReceivedPhase::Queued => counts.received_waiting += 1,
                ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
                    counts.received_leased += 1;
                }
                ReceivedPhase::Finished { .. } => counts.results_pending += 1,
                ReceivedPhase::Closed { .. } => {}
            }
        }
        counts
    }
}

/// A worker process that waits for a task, as long as it does.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn has_room_for(desk: &Desk, process: &Process) -> bool {
    let mut processes = desk.worker.processes();
    processes.len() < MAX_PROCESSES || processes.any(|known| known == process)
}

impl Accepted {
    /// When the run must be over, if it must.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.task.run_until()
    }

    /// The worker is about to hear of it.
    pub(crate) fn keep(mut self) -> (Box<ReceivedTask>, TaskBody) {
        self.lease.kept = true;
        (self.task, self.body)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (service, id, revision) = (Arc::clone(&self.service), self.id, self.revision);
        self.service.tasks.spawn(async move {
            let cause = "whoever asked for it was gone";
            let release = |desk: &mut Desk, _: &mut Batch, now| {
                desk.worker.release(&id, revision, cause, now);
            };
            let released = service.turn(release);
            if let Err(error) = released.await {
                tracing::warn!(%id, %error, "a task could not be put back into the queue");
            }
        });
    }
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
