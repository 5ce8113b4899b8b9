//! What one submitter has to say of one worker.

use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::{MAX_DAYS, PoloCounts, PoloPart};

use super::entry::{Counted, Totals};
use super::formula::{self, Merit};

/// Receipts of one pair of which is remembered that they were counted: an
/// hour of the busiest, half a year of most. When one more comes, the oldest
/// is forgotten, and nothing up to its time is counted any more.
pub(super) const MAX_REMEMBERED: usize = 1024;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) totals: Totals,
    pub(super) counted: BTreeSet<Counted>,
    pub(super) days: BTreeMap<u32, PoloCounts>,
}

impl Pair {
    /// Whether this attempt was counted, whatever time is said of it now, or,
    /// if it succeeded, another success of its task: the late result of an
    /// attempt that was given up is no more work done.
    pub(super) fn has(&self, receipt: &Counted) -> bool {
        let is_same =
            |held: &Counted| held.attempt == receipt.attempt || held.succeeded && receipt.succeeded;
        self.counted.iter().any(|held| held.task == receipt.task && is_same(held))
    }

    /// Its faded sum.
    pub(super) fn sum(&self, now: Timestamp) -> f64 {
        formula::faded(self.totals.sum, self.totals.at, now)
    }

    /// The totals with one more receipt, which fades from when it ended on; by
    /// a clock that is ahead of the rendezvous' that may be in the future.
    pub(super) fn with(
        &self,
        merit: Merit,
        promptness: f64,
        finished: Timestamp,
        now: Timestamp,
    ) -> Totals {
        let worth = match merit {
            Merit::Succeeded => formula::SUCCEEDED * promptness,
            Merit::Failed => formula::FAILED,
            Merit::Abandoned => formula::ABANDONED,
            Merit::Nothing => 0.0,
        };
        let at = now.max(self.totals.at);
        let prompt = if merit == Merit::Succeeded { promptness } else { 0.0 };
        Totals {
            counts: plus(self.totals.counts, merit),
            sum: self.sum(at) + formula::faded(worth, finished, at),
            at,
            promptness: self.totals.promptness + prompt,
            newest: finished.max(self.totals.newest),
            floor: self.totals.floor,
        }
    }

    /// Up to which time receipts are to be forgotten when there is one more,
    /// if any: those too old to be put again, and the oldest if there are
    /// `most` already.
    pub(super) fn forgotten(
        &self,
        new: &Counted,
        most: usize,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let oldest = Timestamp::from_millis(
            now.as_millis().saturating_sub(millis(formula::MAX_AGE)).saturating_sub(1),
        );
        let aged = self.counted.first().filter(|first| first.finished <= oldest).map(|_| oldest);
        let left = self.counted.iter().filter(|held| held.finished > oldest).count();
        let first = self.counted.iter().find(|held| held.finished > oldest);
        let full = (left >= most)
            .then(|| first.map_or(new.finished, |first| first.finished.min(new.finished)));
        aged.max(full)
    }

    /// Forgets what ended up to then; gives how many those were.
    pub(super) fn forget(&mut self, up_to: Timestamp) -> usize {
        let before = self.counted.len();
        self.counted.retain(|held| held.finished > up_to);
        self.totals.floor = self.totals.floor.max(up_to);
        before - self.counted.len()
    }

    /// Sets a day, and forgets those before the last ninety.
    pub(super) fn set_day(&mut self, day: u32, counts: PoloCounts) {
        self.days.insert(day, counts);
        if let Some((newest, _)) = self.days.last_key_value() {
            let first = first_day(*newest);
            self.days.retain(|day, _| *day >= first);
        }
    }

    /// It as others see it.
    pub(super) fn part(&self, id: NodeId, now: Timestamp) -> PoloPart {
        let (counts, sum) = (self.totals.counts, self.sum(now));
        let promptness_milli = match counts.succeeded {
            0 => 1000,
            all => {
                formula::milli(self.totals.promptness / f64::from(all)).try_into().unwrap_or(1000)
            }
        };
        let (sum_milli, adds_milli) = (formula::milli(sum), formula::milli(formula::adds(sum)));
        PoloPart { id, counts, sum_milli, promptness_milli, adds_milli }
    }
}

/// The first of the ninety days that end with `last`.
pub(super) fn first_day(last: u32) -> u32 {
    last.saturating_sub(u32::try_from(MAX_DAYS).unwrap_or(u32::MAX) - 1)
}

/// The day of a moment.
pub(super) fn day(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis() / DAY_MILLIS).unwrap_or(u32::MAX)
}

/// One more of its kind.
pub(super) const fn plus(counts: PoloCounts, merit: Merit) -> PoloCounts {
    let PoloCounts { mut succeeded, mut failed, mut abandoned } = counts;
    match merit {
        Merit::Succeeded => succeeded = succeeded.saturating_add(1),
        Merit::Failed => failed = failed.saturating_add(1),
        Merit::Abandoned => abandoned = abandoned.saturating_add(1),
        Merit::Nothing => {}
    }
    PoloCounts { succeeded, failed, abandoned }
}

/// Both together.
pub(super) const fn sum(one: PoloCounts, other: PoloCounts) -> PoloCounts {
    PoloCounts {
        succeeded: one.succeeded.saturating_add(other.succeeded),
        failed: one.failed.saturating_add(other.failed),
        abandoned: one.abandoned.saturating_add(other.abandoned),
    }
}

fn millis(span: core::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
