//! The tasks that wait, in the order in which they are accepted.
//!
//! Two kinds of them stand beside the line, so that whoever accepts passes by
//! none of them: those whose time has not come, and those whose exclusive key
//! somebody works under. Of the others with a key only the first stands in it.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::TaskId;

use crate::received::{ReceivedPhase, ReceivedTask};

/// Highest priority first, then the oldest.
type Turn = (Reverse<i16>, Timestamp, TaskId);

#[derive(Debug, Default)]
pub(super) struct Line {
    turns: Turns,
    /// Every task that waits or has a key, so that it can be found again.
    places: BTreeMap<TaskId, Place>,
    keys: BTreeMap<String, Key>,
    /// How many of the places are of tasks that wait.
    waiting: usize,
}

/// Turns of all submitters, and of each.
#[derive(Debug, Default)]
struct Turns {
    all: BTreeSet<Turn>,
    of: BTreeMap<NodeId, BTreeSet<Turn>>,
}

/// Where a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Waits for its time.
    Delayed,
    /// Waits for its turn, under this key if it has one.
    Waiting { submitter: NodeId, turn: Turn, key: Option<String> },
    /// Is worked on under this key.
    Holding { key: String },
}

/// The tasks of one exclusive key.
#[derive(Debug, Default)]
struct Key {
    /// Those that are worked on: one, or those that were when the key was younger.
    holders: BTreeSet<TaskId>,
    waiting: Turns,
}

impl Line {
    /// How many tasks wait, also beside the line.
    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    /// The tasks that can be accepted, in order, of one submitter or of all.
    pub(super) fn in_order(&self, submitter: Option<&NodeId>) -> impl Iterator<Item = TaskId> {
        let turns = match submitter {
            Some(submitter) => self.turns.of.get(submitter),
            None => Some(&self.turns.all),
        };
        turns.into_iter().flatten().map(|(_, _, id)| *id)
    }

    /// Follows a record. Says whether there is one more to be accepted.
    pub(super) fn track(&mut self, task: &ReceivedTask) -> bool {
        let id = task.terms.id;
        let place = place_of(task);
        if self.places.get(&id) == place.as_ref() {
            return false;
        }
        let freed = self.leave(&id);
        let entered = place.is_some_and(|place| self.enter(id, place));
        freed || entered
    }

    pub(super) fn forget(&mut self, id: &TaskId) {
        self.leave(id);
    }

    /// Says whether it stands in the line now.
    fn enter(&mut self, id: TaskId, place: Place) -> bool {
        let ready = match &place {
            Place::Delayed => {
                self.waiting = self.waiting.saturating_add(1);
                false
            }
            Place::Waiting { submitter, turn, key } => {
                self.waiting = self.waiting.saturating_add(1);
                match key {
                    None => {
                        self.turns.insert(*submitter, *turn);
                        true
                    }
                    Some(key) => self.change_key(key, |key| key.waiting.insert(*submitter, *turn)),
                }
            }
            Place::Holding { key } => self.change_key(key, |key| {
                key.holders.insert(id);
            }),
        };
        self.places.insert(id, place);
        ready
    }

    /// Says whether that made room for another one.
    fn leave(&mut self, id: &TaskId) -> bool {
        let Some(place) = self.places.remove(id) else { return false };
        match &place {
            Place::Delayed => {
                self.waiting = self.waiting.saturating_sub(1);
                false
            }
            Place::Waiting { submitter, turn, key } => {
                self.waiting = self.waiting.saturating_sub(1);
                match key {
                    None => {
                        self.turns.remove(submitter, turn);
                        false
                    }
                    Some(key) => self.change_key(key, |key| key.waiting.remove(submitter, turn)),
                }
            }
            Place::Holding { key } => self.change_key(key, |key| {
                key.holders.remove(id);
            }),
        }
    }

    /// Changes what there is of a key; those of it that are first stand in the
    /// line before and after, unless it is held. Says whether there is one now
    /// that can be accepted.
    fn change_key(&mut self, name: &str, change: impl FnOnce(&mut Key)) -> bool {
        let mut key = self.keys.remove(name).unwrap_or_default();
        for (submitter, turn) in key.firsts() {
            self.turns.remove_of(&submitter, &turn);
        }
        if let Some(first) = key.waiting.all.first() {
            self.turns.all.remove(first);
        }
        change(&mut key);
        let is_free = key.holders.is_empty();
        if is_free && let Some(first) = key.waiting.all.first() {
            self.turns.all.insert(*first);
            for (submitter, turn) in key.firsts() {
                self.turns.of.entry(submitter).or_default().insert(turn);
            }
        }
        let is_ready = is_free && !key.waiting.all.is_empty();
        if !key.holders.is_empty() || !key.waiting.all.is_empty() {
            self.keys.insert(name.to_owned(), key);
        }
        is_ready
    }
}

impl Key {
    /// The first of each submitter.
    fn firsts(&self) -> impl Iterator<Item = (NodeId, Turn)> {
        let of = self.waiting.of.iter();
        of.filter_map(|(submitter, turns)| Some((*submitter, *turns.first()?)))
    }
}

impl Turns {
    fn insert(&mut self, submitter: NodeId, turn: Turn) {
        self.all.insert(turn);
        self.of.entry(submitter).or_default().insert(turn);
    }

    fn remove(&mut self, submitter: &NodeId, turn: &Turn) {
        self.all.remove(turn);
        self.remove_of(submitter, turn);
    }

    fn remove_of(&mut self, submitter: &NodeId, turn: &Turn) {
        if let Some(turns) = self.of.get_mut(submitter) {
            turns.remove(turn);
            if turns.is_empty() {
                self.of.remove(submitter);
            }
        }
    }
}

fn place_of(task: &ReceivedTask) -> Option<Place> {
    let key = &task.extras.exclusive;
    match task.phase {
        ReceivedPhase::Queued if task.extras.not_before.is_some() => Some(Place::Delayed),
        ReceivedPhase::Queued => {
            let turn = (Reverse(task.terms.priority), task.received, task.terms.id);
            Some(Place::Waiting { submitter: task.peer, turn, key: key.clone() })
        }
        ReceivedPhase::Accepted { .. } | ReceivedPhase::Running { .. } => {
            key.clone().map(|key| Place::Holding { key })
        }
        ReceivedPhase::Finished { .. } | ReceivedPhase::Closed { .. } => None,
    }
}
