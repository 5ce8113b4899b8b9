//! Who has a task: taken, given back, or lost with the process that had it.

use core::time::Duration;

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::{ResultBody, ResultExtras};
use pilot_proto::text::Text;

use super::NotAtWork;
use super::Worker;
use crate::received::{Process, ReceivedPhase};
use crate::shelf::Record as _;

/// Bytes of what an acceptor calls itself; longer names are cut.
const MAX_ACCEPTOR: usize = 128;

/// How often the process of a task's lease may be gone before the task itself
/// is held to be what kills it, and fails for good.
pub const MAX_LOST: u32 = 3;

/// Leases that one call of [`Worker::handle_process_gone`] ends, so that one
/// drain stays small.
const BATCH: usize = 1_000;

const GONE: &str = "its worker process is gone";

impl Worker {
    /// Takes the task whose turn it is: highest priority, then the one that
    /// waits longest; with `from`, only tasks of that submitter. `acceptor`
    /// is what the worker process calls itself. Passed by are tasks whose time
    /// is over or has not come, and those of an exclusive key under which
    /// somebody works.
    ///
    /// The task may be handed out once this drain's commit is on disk.
    pub fn accept(
        &mut self,
        from: Option<NodeId>,
        acceptor: &str,
        now: Timestamp,
    ) -> Option<TaskId> {
        self.accept_bound(from, acceptor, None, now)
    }

    /// As [`Worker::accept`]; the lease ends with `process`, if there is one.
    pub fn accept_bound(
        &mut self,
        from: Option<NodeId>,
        acceptor: &str,
        process: Option<Process>,
        now: Timestamp,
    ) -> Option<TaskId> {
        let live = |id: &TaskId| {
            self.shelf.get(id).is_some_and(|task| task.due().is_none_or(|due| due > now))
        };
        let id = self.queue.in_order(from.as_ref()).find(live)?;
        let task = self.shelf.get_mut(&id)?;
        let acceptor = Text::<MAX_ACCEPTOR>::clipped(acceptor).into_string();
        task.extras.bound = process;
        task.enter(ReceivedPhase::Accepted { at: now, acceptor }, now, "accepted");
        self.commit(&id, None);
        Some(id)
    }

    /// The task that `acceptor` accepted before, if nothing more was said of
    /// it: whoever got no answer to its accept asks again under the same name.
    /// From then on, releasing what was accepted first does nothing. The lease
    /// ends with `process`, if there is one, else as it would have.
    ///
    /// It may be handed out again once this drain's commit is on disk.
    pub fn accept_again(&mut self, acceptor: &str, process: Option<Process>) -> Option<TaskId> {
        let id = self.queue.taken_by(acceptor)?;
        if let Some(task) = self.shelf.get_mut(&id) {
            task.extras.bound = process.or(task.extras.bound);
        }
        self.commit(&id, None);
        Some(id)
    }

    /// Puts an accepted task back into the queue, in its old place: nobody
    /// ever heard that it was theirs. `revision` is the task's as it was
    /// accepted: does nothing if anything has happened to it since.
    pub fn release(&mut self, id: &TaskId, revision: u64, cause: &str, now: Timestamp) {
        let Some(task) = self.shelf.get(id) else { return };
        if task.revision == revision && matches!(task.phase, ReceivedPhase::Accepted { .. }) {
            self.requeue(id, cause, now);
        }
    }

    /// A worker gives a task back, in its old place; nobody gets it within
    /// `delay`. One that is to be cancelled ends so.
    ///
    /// # Errors
    ///
    /// [`NotAtWork`] if no worker has such a task.
    pub fn put_back(
        &mut self,
        id: &TaskId,
        delay: Duration,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), NotAtWork> {
        let Some(task) = self.shelf.get_mut(id) else { return Err(NotAtWork::Unknown) };
        match &task.phase {
            ReceivedPhase::Queued => Err(NotAtWork::NotAccepted),
            ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
                task.extras.released = task.extras.released.saturating_add(1);
                task.extras.not_before = (!delay.is_zero()).then(|| now.saturating_add(delay));
                let reason = if reason.is_empty() { "its worker gave it back" } else { reason };
                self.requeue(id, reason, now);
                Ok(())
            }
            ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => {
                let state = task.state();
                self.sweep(id);
                Err(NotAtWork::Ended { state })
            }
        }
    }

    /// A process is gone: what it had goes back to the queue, in its old
    /// place. A task that lost [`MAX_LOST`] processes fails instead. Handles a
    /// bounded number of leases: true if there are more.
    pub fn handle_process_gone(&mut self, process: &Process, now: Timestamp) -> bool {
        let lost: Vec<TaskId> = self.queue.bound_to(process).take(BATCH).collect();
        for id in &lost {
            self.on_lost(id, now);
        }
        self.queue.bound_to(process).next().is_some()
    }

    /// Whether a task is still held under this claim: not if it is back in the
    /// queue or somebody else has it. One that has ended was.
    #[must_use]
    pub fn is_held_under(&self, id: &TaskId, claim: &str) -> bool {
        match self.shelf.get(id).map(|task| &task.phase) {
            Some(
                ReceivedPhase::Accepted { acceptor, .. } | ReceivedPhase::Running { acceptor, .. },
            ) => acceptor == claim,
            Some(ReceivedPhase::Queued) => false,
            Some(ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. }) | None => true,
        }
    }

    /// The processes with which leases end.
    pub fn processes(&self) -> impl ExactSizeIterator<Item = &Process> {
        self.queue.processes()
    }

    /// How many leases end with a process.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.queue.bound()
    }

    fn on_lost(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        task.extras.lost = task.extras.lost.saturating_add(1);
        let lost = task.extras.lost;
        if lost < MAX_LOST || task.cancel.is_some() {
            self.requeue(id, GONE, now);
            return;
        }
        let reason =
            format!("its worker process died under it {lost} times: it may be what kills it");
        let body = ResultBody {
            reason: Text::clipped(&reason),
            extras: ResultExtras { lost: true, ..ResultExtras::default() },
            ..ResultBody::default()
        };
        self.end_with(id, Outcome::Failed, body, now);
    }

    /// Puts a leased task back into the queue, or ends it if it is to be cancelled.
    fn requeue(&mut self, id: &TaskId, cause: &str, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        if let Some(cancel) = &task.cancel {
            let outcome = task.stopped_as();
            let cause =
                if outcome == Outcome::Expired { cancel.reason.clone() } else { cause.to_owned() };
            self.end_by_daemon(id, outcome, &cause, now);
            return;
        }
        // What its last worker said of it is no more how far it is.
        task.percent = None;
        task.note = String::new();
        task.enter(ReceivedPhase::Queued, now, cause);
        self.commit(id, None);
    }
}
