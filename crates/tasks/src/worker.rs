//! The worker's half: from the offer until the submitter has the result.
//!
//! An offer that was confirmed is worked on at most once and ends once; its
//! result is kept until the submitter's countersigned receipt is here. Nobody
//! but the submitter of a task can say anything about it: the same id from
//! another node is refused.

mod deadline;
mod ending;
mod files;
mod incoming;
mod lease;
mod queue;
mod sending;
mod stop;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pilot_identity::{NodeId, NodeKey, Timestamp};
use pilot_proto::TaskId;

use crate::outbox::Outbox;
use crate::outgoing::Outgoing;
use crate::received::{Process, ReceivedTask};
use crate::shelf::Shelf;
use crate::terms::earlier;

use queue::{Queue, Tracked};

pub use ending::{DeclineError, FinishError, Finished, Work, WorkOutcome};
pub use incoming::{OfferFacts, OfferVerdict};
pub use lease::MAX_LOST;
pub use work::NotAtWork;

/// How much a worker takes. Beyond it offers are refused with `QueueFull`, and
/// the submitter tries again later.
///
/// All tasks count whose result the submitter has not confirmed, so that a
/// submitter who never confirms fills only its own share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Tasks of all submitters.
    pub in_all: usize,
    /// Tasks of one submitter.
    pub per_submitter: usize,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { in_all: 100_000, per_submitter: 10_000 }
    }
}

/// The worker's half of all tasks of a node.
///
/// See the [crate] for what its driver has to do.
#[derive(Debug)]
pub struct Worker {
    key: Arc<NodeKey>,
    limits: WorkerLimits,
    shelf: Shelf<ReceivedTask>,
    queue: Queue,
    outbox: Outbox,
    /// The revision of a live task that its submitter was last told. Not on
    /// disk: telling it again after a restart is harmless.
    told: BTreeMap<TaskId, u64>,
    outputs: VecDeque<WorkerOutput>,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerOutput {
    /// Put this record on disk, with the body that came with the input.
    Persist {
        /// The record.
        record: Box<ReceivedTask>,
        /// The encoded result body, if the machine itself made it (declined,
        /// cancelled, expired). Goes into the same commit.
        result_body: Option<Vec<u8>>,
    },
    /// Tell whoever watches this task.
    Changed {
        /// The task.
        id: TaskId,
        /// Its revision.
        revision: u64,
    },
    /// A task can be accepted: wake one who waits in `accept`.
    Ready,
    /// There is something for this peer: once its link has room, call
    /// [`Worker::handle_link_ready`].
    Owed {
        /// The peer.
        to: NodeId,
    },
    /// Send these, in order.
    Send {
        /// The peer.
        to: NodeId,
        /// At least one.
        requests: Vec<Outgoing>,
    },
    /// The submitter has the result: the bodies of this task may be deleted.
    /// Belongs into the commit of the `Persist` before it; done later, a crash
    /// in between leaves the bodies behind.
    ForgetBody(TaskId),
    /// The submitter wants no result of this task, so what was asked is of no
    /// more use and may be deleted; the result stays. As above, best in the
    /// commit of the `Persist` before it.
    ForgetTask(TaskId),
    /// A new attempt has begun: the result of the one before it is nobody's
    /// any more and may be deleted. As above.
    ForgetResult(TaskId),
    /// Leases end with this process from now on: look when it is gone, and say
    /// so by [`Worker::handle_process_gone`]. It may be gone already.
    Bound(Process),
    /// No lease ends with this process any more.
    Unbound(Process),
}

impl Worker {
    /// A worker without tasks that signs receipts with `key`.
    #[must_use]
    pub fn new(key: Arc<NodeKey>, limits: WorkerLimits) -> Self {
        Self {
            key,
            limits,
            shelf: Shelf::default(),
            queue: Queue::default(),
            outbox: Outbox::default(),
            told: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Puts in a record from the disk. Does nothing for a task that is
    /// already in memory. A settled one leaves again after the next input
    /// about it, so restore it right before that input.
    pub fn restore(&mut self, record: ReceivedTask) {
        let id = record.terms.id;
        if self.shelf.contains(&id) {
            return;
        }
        let tracked = self.queue.track(&record);
        self.shelf.restore(record);
        self.on_tracked(tracked);
        self.schedule(&id);
    }

    /// What is to be done next, until `None`.
    pub fn poll_output(&mut self) -> Option<WorkerOutput> {
        self.outputs.pop_front()
    }

    /// When [`Worker::handle_timeout`] wants to be called. It
    /// also wants to be when the clock was set back.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        earlier(self.shelf.first_due(), self.outbox.first_pause_end())
    }

    /// This revision of a task is on disk.
    pub fn handle_persisted(&mut self, id: &TaskId, revision: u64) {
        self.shelf.persisted(id, revision);
        self.schedule(id);
        self.sweep(id);
    }

    /// Whether the task is in memory and its newest revision on disk.
    #[must_use]
    pub fn is_durable(&self, id: &TaskId) -> bool {
        self.shelf.is_durable(id)
    }

    /// Whether the task is in memory.
    #[must_use]
    pub fn knows(&self, id: &TaskId) -> bool {
        self.shelf.contains(id)
    }

    /// The task, if it is in memory.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&ReceivedTask> {
        self.shelf.get(id)
    }

    /// All tasks in memory, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &ReceivedTask> {
        self.shelf.iter()
    }

    /// How many tasks are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelf.len()
    }

    /// Whether no task is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shelf.len() == 0
    }

    /// How many tasks nobody has accepted, also those that cannot be just now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes note of a change of the record: next revision, onto the disk
    /// with a result body made here, watchers and waiting workers told.
    fn commit(&mut self, id: &TaskId, result_body: Option<Vec<u8>>) {
        let Some(task) = self.shelf.changed(id) else { return };
        let (id, revision) = (task.terms.id, task.revision);
        let tracked = self.queue.track(task);
        let record = Box::new(task.clone());
        self.outputs.push_back(WorkerOutput::Persist { record, result_body });
        self.outputs.push_back(WorkerOutput::Changed { id, revision });
        self.on_tracked(tracked);
    }

    fn on_tracked(&mut self, tracked: Tracked) {
        self.outputs.extend(tracked.unbound.map(WorkerOutput::Unbound));
        self.outputs.extend(tracked.bound.map(WorkerOutput::Bound));
        self.outputs.extend(tracked.ready.then_some(WorkerOutput::Ready));
    }

    /// Makes sure that an answer which repeats a promise waits for the commit
    /// of that promise, if that is still under way.
    fn promise_again(&mut self, id: &TaskId) {
        if let Some(task) = self.shelf.get(id)
            && !self.shelf.is_durable(id)
        {
            let record = Box::new(task.clone());
            self.outputs.push_back(WorkerOutput::Persist { record, result_body: None });
        }
    }

    /// Lets go of a task that has ended, owes nothing and is on disk so.
    fn sweep(&mut self, id: &TaskId) {
        let settled = self.shelf.get(id).is_some_and(ReceivedTask::is_settled);
        if settled && self.shelf.is_durable(id) {
            self.outbox.forget(id);
            self.queue.forget(id);
            self.told.remove(id);
            self.shelf.remove(id);
        }
    }
}

#[cfg(test)]
mod tests;
