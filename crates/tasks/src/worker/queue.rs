//! Who is next, who has what, and how many tasks each submitter has here.

mod line;

use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::NodeId;
use pilot_proto::TaskId;

use crate::received::{Process, ReceivedPhase, ReceivedTask};

use line::Line;

/// An index over the worker's records; holds nothing of its own.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: Line,
    /// Every task whose result its submitter has not confirmed.
    open: BTreeMap<TaskId, NodeId>,
    open_of: BTreeMap<NodeId, usize>,
    /// Accepted tasks of which nothing more was said, by acceptor.
    taken: BTreeSet<(String, TaskId)>,
    takers: BTreeMap<TaskId, String>,
    /// Tasks whose lease ends with a process, by process.
    bound: BTreeMap<Process, BTreeSet<TaskId>>,
    processes: BTreeMap<TaskId, Process>,
}

/// What a change of a record led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tracked {
    /// That there is a task to be accepted that was not before.
    pub(super) ready: bool,
    /// A process that has its first lease.
    pub(super) bound: Option<Process>,
    /// A process that has no lease any more.
    pub(super) unbound: Option<Process>,
}

impl Queue {
    /// How many tasks nobody has accepted, also those that cannot be just now.
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open_of(&self, submitter: &NodeId) -> usize {
        self.open_of.get(submitter).copied().unwrap_or_default()
    }

    /// Whether the submitter has not confirmed the result of this task.
    pub(super) fn is_open(&self, id: &TaskId) -> bool {
        self.open.contains_key(id)
    }

    /// The tasks that can be accepted, in order, of one submitter or of all.
    pub(super) fn in_order(&self, submitter: Option<&NodeId>) -> impl Iterator<Item = TaskId> {
        self.line.in_order(submitter)
    }

    /// The first task that `acceptor` has accepted and said nothing more of.
    pub(super) fn taken_by(&self, acceptor: &str) -> Option<TaskId> {
        let from = (acceptor.to_owned(), TaskId::from_bytes([0; 16]));
        let (taker, id) = self.taken.range(from..).next()?;
        (taker == acceptor).then_some(*id)
    }

    /// The processes with which leases end.
    pub(super) fn processes(&self) -> impl ExactSizeIterator<Item = &Process> {
        self.bound.keys()
    }

    /// How many leases end with a process.
    pub(super) fn bound(&self) -> usize {
        self.processes.len()
    }

    /// The tasks whose lease ends with this process.
    pub(super) fn bound_to(&self, process: &Process) -> impl Iterator<Item = TaskId> {
        self.bound.get(process).into_iter().flatten().copied()
    }

    /// Follows a record.
    pub(super) fn track(&mut self, task: &ReceivedTask) -> Tracked {
        let id = task.terms.id;
        self.give_back(&id);
        if let ReceivedPhase::Accepted { acceptor, .. } = &task.phase {
            self.taken.insert((acceptor.clone(), id));
            self.takers.insert(id, acceptor.clone());
        }
        let (bound, unbound) = self.bind(id, task.extras.bound.filter(|_| task.is_leased()));
        let ready = self.line.track(task);
        if task.is_closed() {
            self.uncount(&id);
        } else {
            self.count(id, task.peer);
        }
        Tracked { ready, bound, unbound }
    }

    /// Lets go of a task that has ended.
    pub(super) fn forget(&mut self, id: &TaskId) {
        self.line.forget(id);
        self.give_back(id);
        self.uncount(id);
    }

    /// Follows with which process a lease ends: the one that has its first
    /// lease now, and the one that has none any more.
    fn bind(&mut self, id: TaskId, process: Option<Process>) -> (Option<Process>, Option<Process>) {
        let before = self.processes.get(&id).copied();
        if before == process {
            return (None, None);
        }
        let unbound = before.filter(|before| {
            self.processes.remove(&id);
            let Some(tasks) = self.bound.get_mut(before) else { return false };
            tasks.remove(&id);
            let is_last = tasks.is_empty();
            if is_last {
                self.bound.remove(before);
            }
            is_last
        });
        let bound = process.filter(|process| {
            self.processes.insert(id, *process);
            let tasks = self.bound.entry(*process).or_default();
            tasks.insert(id);
            tasks.len() == 1
        });
        (bound, unbound)
    }

    fn count(&mut self, id: TaskId, submitter: NodeId) {
        if self.open.insert(id, submitter).is_none() {
            let count = self.open_of.entry(submitter).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn uncount(&mut self, id: &TaskId) {
        if let Some(submitter) = self.open.remove(id)
            && let Some(count) = self.open_of.get_mut(&submitter)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.open_of.remove(&submitter);
            }
        }
    }

    fn give_back(&mut self, id: &TaskId) {
        if let Some(taker) = self.takers.remove(id) {
            self.taken.remove(&(taker, *id));
        }
    }
}
