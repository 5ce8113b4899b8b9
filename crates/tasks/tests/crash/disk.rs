//! What survives a crash, watched for changes that must never happen.

use std::collections::{BTreeMap, BTreeSet};

use pilot_proto::{TaskId, TransferId};
use pilot_tasks::{Freight, ReceivedTask, SubmittedTask, TaskState};

/// The disk of one node.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    records: BTreeMap<TaskId, Vec<u8>>,
    /// Encoded task bodies.
    pub(crate) tasks: BTreeMap<TaskId, Vec<u8>>,
    /// Encoded result bodies.
    pub(crate) results: BTreeMap<TaskId, Vec<u8>>,
    /// What this node sends, or has sent.
    pub(crate) transfers: BTreeMap<TransferId, Way>,
    /// Those that no record answers for: to be cancelled at a start.
    pub(crate) strays: BTreeSet<TransferId>,
    /// What has come here, whole.
    pub(crate) inbox: BTreeSet<TransferId>,
    states: BTreeMap<TaskId, Vec<TaskState>>,
    revisions: BTreeMap<TaskId, u64>,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Moving,
    Complete,
    Failed,
    Cancelled,
}

impl Disk {
    pub(crate) fn write_submitted(&mut self, task: &SubmittedTask) {
        let bytes = task.encode().unwrap();
        self.write(task.terms.id, task.revision, task.state(), bytes);
    }

    /// A result that waits for its files is not the end yet: they may fail.
    pub(crate) fn write_received(&mut self, task: &ReceivedTask) {
        let bytes = task.encode().unwrap();
        let state = task.awaits_files().map_or_else(|| task.state(), |_| TaskState::Running);
        self.write(task.terms.id, task.revision, state, bytes);
    }

    /// From now on a record answers for its transfer.
    pub(crate) fn answer_for(&mut self, freight: Option<&Freight>) {
        if let Some(freight) = freight {
            self.strays.remove(&freight.attached.transfer);
        }
    }

    /// Cancels a transfer, if it goes on.
    pub(crate) fn cancel(&mut self, id: TransferId) {
        if let Some(way @ Way::Moving) = self.transfers.get_mut(&id) {
            *way = Way::Cancelled;
        }
        self.strays.remove(&id);
    }

    fn write(&mut self, id: TaskId, revision: u64, state: TaskState, bytes: Vec<u8>) {
        let last = self.revisions.insert(id, revision).unwrap_or_default();
        assert!(revision >= last, "revision {revision} written over {last}");
        let states = self.states.entry(id).or_default();
        if let Some(before) = states.last().copied() {
            assert!(
                !before.is_terminal() || before == state,
                "the task had {before} and was then {state}"
            );
        }
        if states.last() != Some(&state) {
            states.push(state);
        }
        self.records.insert(id, bytes);
    }

    /// Each state the task had on this disk, in order.
    pub(crate) fn states(&self, id: &TaskId) -> &[TaskState] {
        self.states.get(id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn submitted(&self, id: &TaskId) -> Option<SubmittedTask> {
        self.records.get(id).map(|bytes| SubmittedTask::decode(bytes).unwrap())
    }

    pub(crate) fn received(&self, id: &TaskId) -> Option<ReceivedTask> {
        self.records.get(id).map(|bytes| ReceivedTask::decode(bytes).unwrap())
    }

    pub(crate) fn ids(&self) -> Vec<TaskId> {
        self.records.keys().copied().collect()
    }
}
