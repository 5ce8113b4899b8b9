//! Who is next, and how many tasks each submitter has here.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::TaskId;

use crate::received::{ReceivedPhase, ReceivedTask};

/// Highest priority first, then the oldest.
type Turn = (Reverse<i16>, Timestamp, TaskId);

/// An index over the worker's records; holds nothing of its own.
#[derive(Debug, Default)]
pub(super) struct Queue {
    all: BTreeSet<Turn>,
    of: BTreeMap<NodeId, BTreeSet<Turn>>,
    /// Every task whose result its submitter has not confirmed.
    open: BTreeMap<TaskId, NodeId>,
    open_of: BTreeMap<NodeId, usize>,
    turns: BTreeMap<TaskId, (NodeId, Turn)>,
    /// Accepted tasks of which nothing more was said, by acceptor.
    taken: BTreeSet<(String, TaskId)>,
    takers: BTreeMap<TaskId, String>,
}

impl Queue {
    /// How many tasks nobody has accepted.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn open_of(&self, submitter: &NodeId) -> usize {
        self.open_of.get(submitter).copied().unwrap_or_default()
    }

    /// The tasks that can be accepted, in order, of one submitter or of all.
    pub(super) fn in_order(&self, submitter: Option<&NodeId>) -> impl Iterator<Item = TaskId> {
        let turns = match submitter {
            Some(submitter) => self.of.get(submitter),
            None => Some(&self.all),
        };
        turns.into_iter().flatten().map(|(_, _, id)| *id)
    }

    /// The first task that `acceptor` has accepted and said nothing more of.
    pub(super) fn taken_by(&self, acceptor: &str) -> Option<TaskId> {
        let from = (acceptor.to_owned(), TaskId::from_bytes([0; 16]));
        let (taker, id) = self.taken.range(from..).next()?;
        (taker == acceptor).then_some(*id)
    }

    /// Follows a record. Says whether it can be accepted.
    pub(super) fn track(&mut self, task: &ReceivedTask) -> bool {
        let id = task.terms.id;
        self.give_back(&id);
        if let ReceivedPhase::Accepted { acceptor, .. } = &task.phase {
            self.taken.insert((acceptor.clone(), id));
            self.takers.insert(id, acceptor.clone());
        }
        match task.phase {
            ReceivedPhase::Queued => {
                self.count(id, task.peer);
                let turn = (Reverse(task.terms.priority), task.received, id);
                self.all.insert(turn);
                self.of.entry(task.peer).or_default().insert(turn);
                self.turns.insert(id, (task.peer, turn));
                true
            }
            ReceivedPhase::Accepted { .. }
            | ReceivedPhase::Running { .. }
            | ReceivedPhase::Finished { .. } => {
                self.count(id, task.peer);
                self.leave(&id);
                false
            }
            ReceivedPhase::Closed { .. } => {
                self.forget(&id);
                false
            }
        }
    }

    pub(super) fn forget(&mut self, id: &TaskId) {
        self.leave(id);
        self.give_back(id);
        if let Some(submitter) = self.open.remove(id)
            && let Some(count) = self.open_of.get_mut(&submitter)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.open_of.remove(&submitter);
            }
        }
    }

    fn count(&mut self, id: TaskId, submitter: NodeId) {
        if self.open.insert(id, submitter).is_none() {
            let count = self.open_of.entry(submitter).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn give_back(&mut self, id: &TaskId) {
        if let Some(taker) = self.takers.remove(id) {
            self.taken.remove(&(taker, *id));
        }
    }

    fn leave(&mut self, id: &TaskId) {
        let Some((submitter, turn)) = self.turns.remove(id) else { return };
        self.all.remove(&turn);
        if let Some(turns) = self.of.get_mut(&submitter) {
            turns.remove(&turn);
            if turns.is_empty() {
                self.of.remove(&submitter);
            }
        }
    }
}
