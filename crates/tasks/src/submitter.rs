//! The submitter's half: from `submit` until the worker's result is here.
//!
//! A task ends once: by the worker's signed result, or by this node's own
//! decision (cancelled before it was delivered, deadline passed, refused for
//! good). A result that comes after that is kept, confirmed and changes
//! nothing. Only the peer a task was given to can change it.

mod again;
mod deadline;
mod files;
mod holding;
mod incoming;
mod sending;
mod stop;
mod submission;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pilot_identity::{NodeId, NodeKey, Timestamp};
use pilot_proto::{TaskId, TransferId};

use crate::outbox::Outbox;
use crate::outgoing::Outgoing;
use crate::shelf::Shelf;
use crate::submitted::SubmittedTask;
use crate::terms::earlier;

pub use again::RetryError;
use holding::Holding;
pub use holding::Placing;
pub use incoming::{Keep, ResultFacts, ResultVerdict};
pub use stop::{CancelError, TrustLoss};
pub use submission::{Submission, SubmitError, Submitted};

/// Tasks that have not ended, or of which the worker still has to be told
/// something. Beyond it new ones are refused with [`SubmitError::Full`].
pub const MAX_LIVE_TASKS: usize = 100_000;

/// The submitter's half of all tasks of a node.
///
/// See the [crate] for what its driver has to do.
#[derive(Debug)]
pub struct Submitter {
    key: Arc<NodeKey>,
    max_tasks: usize,
    shelf: Shelf<SubmittedTask>,
    /// Tasks in memory by their idempotency key.
    keys: BTreeMap<String, TaskId>,
    holding: Holding,
    outbox: Outbox,
    outputs: VecDeque<SubmitterOutput>,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitterOutput {
    /// Put this record on disk, with the body that came with the input.
    Persist(Box<SubmittedTask>),
    /// Tell whoever watches this task.
    Changed {
        /// The task.
        id: TaskId,
        /// Its revision.
        revision: u64,
    },
    /// There is something for this peer: once its link has room, call
    /// [`Submitter::handle_link_ready`].
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
    /// The task has ended before its files were there, and they are of no more
    /// use: cancel the transfer. To be remembered in the commit of the `Persist`
    /// before it; cancelling is harmless if the transfer has ended, too.
    Unload(TransferId),
    /// There is something among [`Submitter::unplaced`].
    Place,
}

impl Submitter {
    /// A submitter without tasks that signs with `key` and holds at most
    /// `max_tasks` of them (see [`MAX_LIVE_TASKS`]).
    #[must_use]
    pub fn new(key: Arc<NodeKey>, max_tasks: usize) -> Self {
        Self {
            key,
            max_tasks,
            shelf: Shelf::default(),
            keys: BTreeMap::new(),
            holding: Holding::default(),
            outbox: Outbox::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Puts in a record from the disk. Does nothing for a task that is
    /// already in memory. A settled one leaves again after the next input
    /// about it, so restore it right before that input.
    pub fn restore(&mut self, record: SubmittedTask) {
        let id = record.terms.id;
        if self.shelf.contains(&id) {
            return;
        }
        self.remember_key(&record);
        self.shelf.restore(record);
        self.enter(&id);
        // It may have been handed to a link before.
        self.note_handed(&id);
        self.schedule(&id);
    }

    /// What is to be done next, until `None`.
    pub fn poll_output(&mut self) -> Option<SubmitterOutput> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if !self.follow_next() {
                return None;
            }
        }
    }

    /// When [`Submitter::handle_timeout`] wants to be called. It
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

    /// Whether a task with this idempotency key is in memory. Before a
    /// `submit` with a key that is not, the shell looks for it on disk and
    /// restores its record.
    #[must_use]
    pub fn knows_key(&self, idempotency_key: &str) -> bool {
        self.keys.contains_key(idempotency_key)
    }

    /// The task, if it is in memory.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&SubmittedTask> {
        self.shelf.get(id)
    }

    /// All tasks in memory, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &SubmittedTask> {
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

    /// Takes note of a change of the record: next revision, onto the disk,
    /// watchers told.
    fn commit(&mut self, id: &TaskId) {
        let left: Vec<TransferId> = match self.shelf.get_mut(id) {
            Some(task) => std::mem::take(&mut task.extras.unload),
            None => Vec::new(),
        };
        let Some(task) = self.shelf.changed(id) else { return };
        let (id, revision) = (task.terms.id, task.revision);
        let ended = task.ending().is_some();
        let waited_for = task.ending().and_then(|_| task.awaits_files());
        let of_no_use = waited_for.map(|files| files.transfer);
        self.outputs.push_back(SubmitterOutput::Persist(Box::new(task.clone())));
        self.outputs.extend(left.into_iter().chain(of_no_use).map(SubmitterOutput::Unload));
        self.outputs.push_back(SubmitterOutput::Changed { id, revision });
        if ended {
            self.note_ended(&id);
        }
    }

    /// Makes sure that an answer which repeats a promise waits for the commit
    /// of that promise, if that is still under way.
    fn promise_again(&mut self, id: &TaskId) {
        if let Some(task) = self.shelf.get(id)
            && !self.shelf.is_durable(id)
        {
            self.outputs.push_back(SubmitterOutput::Persist(Box::new(task.clone())));
        }
    }

    fn remember_key(&mut self, task: &SubmittedTask) {
        self.keys.extend(task.idempotency_key.clone().map(|key| (key, task.terms.id)));
    }

    /// Lets go of a task that has ended, owes nothing and is on disk so.
    fn sweep(&mut self, id: &TaskId) {
        let settled = self.shelf.get(id).is_some_and(SubmittedTask::is_settled);
        if !settled || !self.shelf.is_durable(id) {
            return;
        }
        self.outbox.forget(id);
        let key = self.shelf.get(id).and_then(|task| task.idempotency_key.as_ref());
        if let Some(key) = key {
            self.keys.remove(key);
        }
        self.shelf.remove(id);
    }
}

#[cfg(test)]
mod tests;
