//! What a node is told of another's polo.

use std::collections::BTreeMap;

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::{MAX_PARTS, PoloCounts, PoloDay, PoloDetail, PoloPart, Strangers};

use super::pair::{self, Pair};
use super::{Book, formula};

impl Book {
    /// The polo of `worker` for a node whose circle `knows` whom it counts.
    #[must_use]
    pub fn polo(&self, worker: &NodeId, knows: impl Fn(&NodeId) -> bool, now: Timestamp) -> i32 {
        let (circle, strangers) = self.split(worker, knows);
        formula::polo(sums(&circle, now), sums(&strangers, now))
    }

    /// The same with all that leads to it.
    #[must_use]
    pub fn detail(
        &self,
        worker: &NodeId,
        knows: impl Fn(&NodeId) -> bool,
        now: Timestamp,
    ) -> PoloDetail {
        let (circle, strangers) = self.split(worker, knows);
        let mut parts: Vec<PoloPart> =
            circle.iter().map(|(id, pair)| pair.part(**id, now)).collect();
        parts.sort_by_key(|part| (core::cmp::Reverse(part.adds_milli.abs()), part.id));
        let rest = parts.split_off(parts.len().min(MAX_PARTS));
        PoloDetail {
            polo: formula::polo(sums(&circle, now), sums(&strangers, now)),
            parts,
            more: count(rest.len()),
            more_milli: rest.iter().map(|part| part.adds_milli).sum(),
            strangers: Strangers {
                submitters: count(strangers.len()),
                adds_milli: formula::milli(formula::strangers_add(sums(&strangers, now))),
                cap_milli: formula::milli(formula::STRANGERS_CAP),
            },
            history: history(&circle, now),
        }
    }

    /// The pairs of `worker`: those of the circle, and all others.
    fn split(&self, worker: &NodeId, knows: impl Fn(&NodeId) -> bool) -> (Pairs<'_>, Pairs<'_>) {
        let submitters = self.workers.get(worker).into_iter().flat_map(|held| &held.submitters);
        submitters.partition(|(submitter, _)| knows(submitter))
    }
}

type Pairs<'a> = Vec<(&'a NodeId, &'a Pair)>;

fn sums(pairs: &Pairs<'_>, now: Timestamp) -> impl Iterator<Item = f64> {
    pairs.iter().map(move |(_, pair)| pair.sum(now))
}

/// The last ninety days; those on which nothing ended are left out.
fn history(pairs: &Pairs<'_>, now: Timestamp) -> Vec<PoloDay> {
    let last = pair::day(now);
    let mut days: BTreeMap<u32, PoloCounts> = BTreeMap::new();
    for (day, counts) in pairs.iter().flat_map(|(_, pair)| &pair.days) {
        if (pair::first_day(last)..=last).contains(day) {
            let all = days.entry(*day).or_default();
            *all = pair::sum(*all, *counts);
        }
    }
    days.into_iter().map(|(day, counts)| PoloDay { day, counts }).collect()
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
