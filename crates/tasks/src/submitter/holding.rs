//! Tasks that are not offered yet: they come after others, share a key, wait
//! for a worker or for their next attempt.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pilot_identity::{Digest, NodeId, Outcome, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::tasks::Attached;

use super::{Submitter, SubmitterOutput};
use crate::freight::Freight;
use crate::placement::{Pool, Verdict};
use crate::plan::Wait;
use crate::submitted::{SubmittedPhase, SubmittedTask};

/// Highest priority first, then the oldest.
type Turn = (Reverse<i16>, Timestamp, TaskId);

/// Who waits for what. An index over the records, rebuilt from them.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// By a task, those that come after it.
    dependents: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// By a key, the task under way.
    holders: BTreeMap<String, TaskId>,
    /// By a key, those that wait for it.
    waiting: BTreeMap<String, BTreeSet<Turn>>,
    /// Tasks for which the shell has something to do before they are offered.
    unplaced: BTreeSet<Turn>,
    /// Tasks that have ended and whose dependents were not told.
    ended: VecDeque<Ended>,
    /// Tasks whose offer was handed to a link, or may have been.
    handed: BTreeSet<TaskId>,
}

/// A task that has ended and that concerns others.
#[derive(Debug)]
struct Ended {
    id: TaskId,
    outcome: Outcome,
    at: Timestamp,
    /// The key that is free now.
    key: Option<String>,
}

/// A worker for a task that waits for one, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// Who does it.
    pub to: NodeId,
    /// Length and digest of its encoded body, if that is another one now: it
    /// goes into the same commit.
    pub body: Option<(u64, Digest)>,
    /// Its files, on their way to this worker.
    pub attached: Option<Attached>,
    /// What was thought of everybody.
    pub verdicts: Vec<Verdict>,
}

impl Submitter {
    /// Goes on with what was held when the machine was made from the records;
    /// once, after all of them were restored.
    pub fn resume(&mut self, now: Timestamp) {
        let held = self.shelf.iter().filter(|task| task.is_held()).map(|task| task.terms.id);
        let held: Vec<TaskId> = held.collect();
        for id in held {
            self.advance(&id, now);
        }
    }

    /// The tasks for which a worker is to be found, or inputs to be made
    /// ready, in the order of their turns; at most `max` of those that are alike,
    /// so that what nobody can do is not in the way of the others.
    #[must_use]
    pub fn unplaced(&self, max: usize) -> Vec<TaskId> {
        let mut taken: BTreeMap<(Option<&Pool>, &[NodeId]), usize> = BTreeMap::new();
        let mut ids = Vec::new();
        for (_, _, id) in &self.holding.unplaced {
            let Some(task) = self.shelf.get(id) else { continue };
            let alike = (task.extras.plan.pool.as_ref(), task.extras.declined_by.as_slice());
            let count = taken.entry(alike).or_default();
            if *count < max {
                *count += 1;
                ids.push(*id);
            }
        }
        ids
    }

    /// Whether there is anything among [`Submitter::unplaced`].
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.holding.unplaced.is_empty()
    }

    /// The tasks of each worker that are not over.
    #[must_use]
    pub fn given(&self) -> BTreeMap<NodeId, usize> {
        let mut given = BTreeMap::new();
        for task in self.shelf.iter().filter(|task| task.ending().is_none() && !task.is_held()) {
            let count: &mut usize = given.entry(task.peer).or_default();
            *count += 1;
        }
        given
    }

    /// A worker was found for a task that waits for one: it is offered from
    /// now on. False, and nothing changes, if it does not wait any more.
    pub fn place(&mut self, id: &TaskId, placing: Placing, now: Timestamp) -> bool {
        let Some(task) = self.shelf.get_mut(id).filter(|task| task.unplaced().is_some()) else {
            return false;
        };
        let cause = if task.extras.plan.pool.is_some() {
            "a worker was chosen"
        } else {
            "its inputs are known"
        };
        task.peer = placing.to;
        task.extras.placed = true;
        task.extras.verdicts = placing.verdicts;
        if let Some((len, digest)) = placing.body {
            task.extras.asked.get_or_insert(task.terms.body_digest);
            (task.terms.body_len, task.terms.body_digest) = (len, digest);
        }
        if placing.attached.is_some() {
            task.freight = placing.attached.map(Freight::on_its_way);
        }
        task.offer(now, cause);
        let turn = turn_of(task);
        self.holding.unplaced.remove(&turn);
        self.holding.handed.remove(id);
        self.commit(id);
        true
    }

    /// Nobody can do a task that waits for a worker, for this reason.
    pub fn not_placed(&mut self, id: &TaskId, why: &str, verdicts: Vec<Verdict>, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        let SubmittedPhase::Held { wait: Wait::Worker { why: known }, .. } = &mut task.phase else {
            return;
        };
        let (new, first) = (known != why, known.is_empty());
        why.clone_into(known);
        if new || task.extras.verdicts.len() != verdicts.len() {
            task.extras.verdicts = verdicts;
            // Said once and then only as its reason: it changes with every look.
            if first {
                task.history.note(now, task.state(), why);
            }
            self.commit(id);
        }
    }

    /// The files or inputs of a task that waits for a worker cannot be made
    /// ready, for good: it ends.
    pub fn cannot_place(&mut self, id: &TaskId, reason: &str, now: Timestamp) {
        if let Some(task) = self.shelf.get_mut(id).filter(|task| task.unplaced().is_some()) {
            task.end_by_daemon(Outcome::Failed, reason, now);
            self.commit(id);
        }
    }

    /// Takes back a task of a pool whose worker cannot be reached: another is
    /// looked for. False, and nothing changes, if it was handed to that one.
    pub fn take_back(&mut self, id: &TaskId, now: Timestamp) -> bool {
        let handed = self.holding.handed.contains(id);
        let Some(task) = self.shelf.get_mut(id).filter(|task| {
            let is_queued = matches!(task.phase, SubmittedPhase::Queued { .. });
            is_queued && !handed && task.extras.plan.pool.is_some()
        }) else {
            return false;
        };
        task.leave_worker();
        task.hold(Wait::Worker { why: String::new() }, now, "its worker is not reached");
        let turn = turn_of(task);
        self.holding.unplaced.insert(turn);
        self.outputs.push_back(SubmitterOutput::Place);
        self.commit(id);
        true
    }

    /// Moves a held task on as far as it gets.
    pub(super) fn advance(&mut self, id: &TaskId, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id) else { return };
        let SubmittedPhase::Held { wait, .. } = &task.phase else { return };
        let turn = turn_of(task);
        let plan = &task.extras.plan;
        let wanted = if plan.awaited().next().is_some() {
            Some(Wait::Tasks)
        } else if let Wait::Pause { until } = wait
            && *until > now
        {
            Some(wait.clone())
        } else if !self.holding.take_key(plan.exclusive.as_deref(), turn) {
            Some(Wait::Key)
        } else if plan.needs_preparation() {
            self.holding.unplaced.insert(turn);
            self.outputs.push_back(SubmitterOutput::Place);
            match wait {
                Wait::Worker { .. } => Some(wait.clone()),
                Wait::Tasks | Wait::Pause { .. } | Wait::Key => {
                    Some(Wait::Worker { why: String::new() })
                }
            }
        } else {
            None
        };
        match wanted {
            Some(wanted) if wanted == *wait => return,
            Some(wanted) => {
                let cause = cause_of(&wanted);
                task.hold(wanted, now, cause);
            }
            None => task.offer(now, "nothing holds it any more"),
        }
        self.commit(id);
    }

    /// Takes note that a task has ended; its dependents follow in the same drain.
    pub(super) fn note_ended(&mut self, id: &TaskId) {
        let Some(task) = self.shelf.get(id) else { return };
        let turn = turn_of(task);
        let key = task.extras.plan.exclusive.clone();
        self.holding.unplaced.remove(&turn);
        self.holding.handed.remove(id);
        let Some(ending) = task.ending() else { return };
        let (id, outcome, at) = (*id, ending.outcome, ending.at);
        // Whoever has to be told to stop may still be at it.
        let is_free = !task.owes_cancel();
        let key = key.filter(|key| self.holding.leave_queue(key, &turn) && is_free);
        if key.is_some() || self.holding.dependents.contains_key(&id) {
            self.holding.ended.push_back(Ended { id, outcome, at, key });
        }
    }

    /// Tells those that come after the next task that has ended, and who
    /// shares its key. False if there is none.
    pub(super) fn follow_next(&mut self) -> bool {
        let Some(Ended { id, outcome, at, key }) = self.holding.ended.pop_front() else {
            return false;
        };
        let next = key.and_then(|key| self.holding.free(&key, &id));
        if let Some(next) = next {
            self.advance(&next, at);
        }
        for dependent in self.holding.dependents.remove(&id).unwrap_or_default() {
            self.on_dependency_over(&dependent, &id, outcome, at);
        }
        true
    }

    fn on_dependency_over(&mut self, id: &TaskId, over: &TaskId, outcome: Outcome, now: Timestamp) {
        let Some(task) = self.shelf.get_mut(id).filter(|task| task.is_held()) else { return };
        let mut awaited = task.extras.plan.after.iter_mut();
        let Some(dependency) = awaited.find(|known| known.id == *over && !known.over) else {
            return;
        };
        dependency.over = true;
        let dispensable = task.extras.plan.run_anyway && !task.extras.plan.inputs.contains(over);
        if outcome != Outcome::Succeeded && !dispensable {
            let reason = without(over, outcome);
            task.end_by_daemon(Outcome::Cancelled, &reason, now);
            self.commit(id);
        } else if task.extras.plan.awaited().next().is_some() {
            self.commit(id);
        } else {
            self.advance(id, now);
        }
    }

    /// Enters a task into the index, new or from the disk. Says how a task
    /// that it comes after has ended, if it cannot be done for that.
    pub(super) fn enter(&mut self, id: &TaskId) {
        let Some(task) = self.shelf.get(id) else { return };
        if task.ending().is_some() && !task.owes_cancel() {
            return;
        }
        if task.is_held() {
            for awaited in task.extras.plan.awaited() {
                self.holding.dependents.entry(awaited).or_default().insert(*id);
            }
        } else if let Some(key) = &task.extras.plan.exclusive {
            self.holding.holders.insert(key.clone(), *id);
        }
    }

    /// An offer of it is handed to a link, or was by who wrote the record.
    pub(super) fn note_handed(&mut self, id: &TaskId) {
        let is_offered = |task: &SubmittedTask| {
            task.extras.plan.pool.is_some() && matches!(task.phase, SubmittedPhase::Queued { .. })
        };
        if self.shelf.get(id).is_some_and(is_offered) {
            self.holding.handed.insert(*id);
        }
    }

    pub(super) fn forget_handed(&mut self, id: &TaskId) {
        self.holding.handed.remove(id);
    }
}

impl Holding {
    /// Takes the key for a task, or lets it wait for it.
    fn take_key(&mut self, key: Option<&str>, turn: Turn) -> bool {
        let Some(key) = key else { return true };
        let (_, _, id) = turn;
        match self.holders.get(key) {
            Some(holder) if *holder != id => {
                self.waiting.entry(key.to_owned()).or_default().insert(turn);
                false
            }
            Some(_) => true,
            None => {
                self.holders.insert(key.to_owned(), id);
                self.leave_queue(key, &turn);
                true
            }
        }
    }

    /// Takes a task out of the queue of its key. Whether it holds it.
    fn leave_queue(&mut self, key: &str, turn: &Turn) -> bool {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.remove(turn);
            if waiting.is_empty() {
                self.waiting.remove(key);
            }
        }
        self.holders.get(key) == Some(&turn.2)
    }

    /// Frees the key that a task held; who is next for it.
    fn free(&mut self, key: &str, id: &TaskId) -> Option<TaskId> {
        if self.holders.get(key) == Some(id) {
            self.holders.remove(key);
        }
        self.waiting.get(key).and_then(|turns| turns.first()).map(|turn| turn.2)
    }
}

impl SubmittedTask {
    /// Holds it back.
    pub(super) fn hold(&mut self, wait: Wait, now: Timestamp, cause: &str) {
        self.enter(SubmittedPhase::Held { since: now, wait }, now, cause);
        self.extras.ready = Some(now);
    }

    /// Offers it from now on.
    fn offer(&mut self, now: Timestamp, cause: &str) {
        self.extras.ready = Some(now);
        self.enter(SubmittedPhase::Queued { trouble: None }, now, cause);
    }
}

fn turn_of(task: &SubmittedTask) -> Turn {
    (Reverse(task.terms.priority), task.created, task.terms.id)
}

const fn cause_of(wait: &Wait) -> &'static str {
    match wait {
        Wait::Tasks => "waits for other tasks",
        Wait::Pause { .. } => "another attempt is made after a pause",
        Wait::Key => "another task with its key is not over",
        Wait::Worker { .. } => "a worker is looked for",
    }
}

/// Why a task ends that comes after one that did not succeed.
pub(super) fn without(over: &TaskId, outcome: Outcome) -> String {
    let how = match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Declined => "was declined",
        Outcome::Cancelled => "was cancelled",
        Outcome::Expired => "expired",
    };
    format!("task {over}, which it comes after, {how}")
}
