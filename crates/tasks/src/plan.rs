//! What a submitter wants of a task beyond one offer to one peer.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{NodeId, Outcome, Timestamp};
use pilot_proto::{TaskId, TransferId};
use serde::{Deserialize, Serialize};

use crate::placement::{Pool, Verdict};
use crate::submitted::Delivery;

/// Tasks that one may come after.
pub const MAX_AFTER: usize = 1_000;
/// Tasks whose results one may be given.
pub const MAX_INPUTS: usize = 64;
/// Further attempts that may be asked for.
pub const MAX_RETRIES: u32 = 100;
/// Attempts that are over and kept; of more, the oldest are forgotten.
pub const MAX_PAST: usize = 16;

/// The pause before the second attempt; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before an attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Who is to do a task, when, and how often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Among whom a worker is chosen; none if the submitter named one.
    pub pool: Option<Pool>,
    /// Attempts beyond this one, if it fails.
    pub retries_left: u32,
    /// The name under which it is listed with others.
    pub group: Option<String>,
    /// Of the tasks with this key only one at a time is under way.
    pub exclusive: Option<String>,
    /// The tasks that have to be over first.
    pub after: Vec<Dependency>,
    /// Whether it is done even if one of those did not succeed.
    pub run_anyway: bool,
    /// The tasks whose results its worker is given; all of them are in `after`, too.
    pub inputs: Vec<TaskId>,
    /// Whether the result stays at the worker.
    pub leave_result: bool,
    /// Whether there are files that are kept until its worker is known.
    pub has_kept_files: bool,
}

/// A task that has to be over before another begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Which.
    pub id: TaskId,
    /// Whether it is.
    pub over: bool,
}

/// The part of a submitter's record that tasks without a plan lack.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubmittedExtras {
    /// What is wanted.
    pub plan: Plan,
    /// Whether a worker was chosen from the pool.
    pub placed: bool,
    /// When it was last ready to be offered; when it was submitted, if never since.
    pub ready: Option<Timestamp>,
    /// The attempts before this one, oldest first; at most [`MAX_PAST`].
    pub past: Vec<PastAttempt>,
    /// Whether it failed for good, after all of its attempts.
    pub dead: bool,
    /// Those of the pool that declined it.
    pub declined_by: Vec<NodeId>,
    /// What was thought of each candidate when a worker was last looked for.
    pub verdicts: Vec<Verdict>,
    /// Transfers of files to workers that are not chosen any more, until they
    /// are cancelled.
    #[serde(skip)]
    pub unload: Vec<TransferId>,
    /// The digest of the body as it was submitted, if it is another now.
    pub asked: Option<pilot_identity::Digest>,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAttempt {
    /// From 1.
    pub attempt: u32,
    /// Who was at it.
    pub peer: NodeId,
    /// How it ended.
    pub outcome: Outcome,
    /// When this node knew.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Its result, if there is one here.
    pub delivery: Option<Delivery>,
}

/// Why a task is not offered to anybody yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// Tasks have to be over first.
    Tasks,
    /// The next attempt begins then.
    Pause {
        /// When.
        until: Timestamp,
    },
    /// Another task with its key is not over.
    Key,
    /// No worker was chosen yet, or its inputs are being made ready.
    Worker {
        /// Why not; empty if nobody looked yet.
        why: String,
    },
}

impl Plan {
    /// Whether a task with it can be offered at once.
    pub(crate) fn is_plain(&self) -> bool {
        self.pool.is_none() && self.exclusive.is_none() && self.after.is_empty()
    }

    /// Whether the shell has to do something before it is offered.
    pub(crate) fn needs_preparation(&self) -> bool {
        self.pool.is_some() || !self.inputs.is_empty()
    }

    /// The tasks it still waits for.
    pub fn awaited(&self) -> impl Iterator<Item = TaskId> {
        self.after.iter().filter(|dependency| !dependency.over).map(|dependency| dependency.id)
    }
}

/// The pause before attempt number `attempt`: doubling from 1 s up to 5 min,
/// a fifth more or less, as the task's id has it, so that many that failed
/// together do not come back together.
pub(crate) fn pause(id: &TaskId, attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(2)).unwrap_or(u32::MAX);
    let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
    let [.., low] = *id.as_bytes();
    let spread = u32::from(low ^ u8::try_from(attempt % 256).unwrap_or_default());
    // 0.8 to 1.2 of it.
    pause.saturating_mul(320 + spread * 160 / 255) / 400
}

/// Tasks that would have to wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Cycle(
    /// Each comes after the next, and the last after the first.
    pub Vec<TaskId>,
);

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("these tasks would wait for each other: ")?;
        for id in self.0.iter().chain(self.0.first()).enumerate() {
            let arrow = if id.0 == 0 { "" } else { " after " };
            write!(f, "{arrow}{}", id.1)?;
        }
        Ok(())
    }
}

/// The order in which tasks that name each other can be submitted: each behind
/// all those of them that it comes after. Otherwise as they were given.
///
/// # Errors
///
/// [`Cycle`] if there is none.
pub fn in_order(tasks: &[(TaskId, Vec<TaskId>)]) -> Result<Vec<usize>, Cycle> {
    let places: BTreeMap<TaskId, usize> =
        tasks.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
    let mut order = Vec::with_capacity(tasks.len());
    let mut done = BTreeSet::new();
    for start in 0..tasks.len() {
        // The way from `start` to where the search is, each with what is left to look at.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((place, next)) = way.pop() {
            if done.contains(&place) {
                continue;
            }
            let Some((_, after)) = tasks.get(place) else { continue };
            let Some(dependency) = after.get(next) else {
                done.insert(place);
                order.push(place);
                continue;
            };
            way.push((place, next + 1));
            let Some(behind) = places.get(dependency).copied() else { continue };
            if let Some(begin) = way.iter().position(|(place, _)| *place == behind) {
                let ring = way.iter().skip(begin);
                let ids = ring.filter_map(|(place, _)| tasks.get(*place).map(|task| task.0));
                return Err(Cycle(ids.collect()));
            }
            way.push((behind, 0));
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TaskId {
        TaskId::from_bytes([number; 16])
    }

    #[test]
    fn pauses_double_and_differ_and_end() {
        for attempt in 2..200 {
            let whole = FIRST_PAUSE
                .saturating_mul(1_u32.checked_shl(attempt - 2).unwrap_or(u32::MAX))
                .min(LONGEST_PAUSE);
            for number in [0, 7, 255] {
                let pause = pause(&id(number), attempt);
                assert!(pause >= whole * 4 / 5 && pause <= whole * 6 / 5, "{attempt} {pause:?}");
            }
        }
        assert_ne!(pause(&id(0), 2), pause(&id(200), 2));
    }

    #[test]
    fn each_comes_behind_those_it_waits_for() {
        let tasks =
            [(id(1), vec![id(3), id(9)]), (id(2), vec![]), (id(3), vec![id(2)]), (id(4), vec![])];

        assert_eq!(in_order(&tasks), Ok(vec![1, 2, 0, 3]));
        assert_eq!(in_order(&[]), Ok(vec![]));
    }

    #[test]
    fn a_ring_is_shown() {
        let tasks = [
            (id(1), vec![id(2)]),
            (id(2), vec![id(3)]),
            (id(3), vec![id(4)]),
            (id(4), vec![id(2)]),
        ];

        assert_eq!(in_order(&tasks), Err(Cycle(vec![id(2), id(3), id(4)])));
        assert_eq!(in_order(&[(id(5), vec![id(5)])]), Err(Cycle(vec![id(5)])));
        let shown = Cycle(vec![id(1), id(2)]).to_string();
        assert!(shown.ends_with(&format!("{} after {} after {}", id(1), id(2), id(1))), "{shown}");
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let number = |number: u32| TaskId::from_bytes(u128::from(number).to_be_bytes());
        let chain: Vec<_> = (0..50_000).map(|at| (number(at), vec![number(at + 1)])).collect();

        let order = in_order(&chain).unwrap();

        assert_eq!((order[0], order[49_999]), (49_999, 0));
    }
}
