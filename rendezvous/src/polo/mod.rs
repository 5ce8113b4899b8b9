//! How well nodes work, from the receipts of their tasks: a pure machine.
//!
//! Decides which receipts are counted, once each and in bounded memory, and
//! what they add up to for whoever asks; `formula` holds the numbers, and
//! `POLO.md` says them in words. It decides neither who trusts whom nor what
//! may be told to whom: `registry` asks it with an answer to both.
//!
//! What changes is an [`Entry`], and nothing changes but by one: the entries
//! of a run, applied to an empty book, make the same book again.
//!
//! # Once, in bounded memory
//!
//! A pair remembers the receipts that were counted last, and the time up to
//! which it remembers none: what ended then or before is [`ReceiptPut::TooOld`].
//! When a book is full, the pair that was quiet longest makes room for a new
//! one if all of its receipts are too old to be put again; otherwise new pairs
//! are answered with [`ReceiptPut::Full`], and those known go on.

mod entry;
pub mod formula;
mod pair;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{NodeId, Receipt, Timestamp};
use pilot_proto::registry::ReceiptPut;

pub use entry::{Both, Counted, Entry, Totals};
use formula::Merit;
use pair::Pair;

/// How much a book holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pairs of submitter and worker.
    pub pairs: usize,
    /// Submitters of one worker.
    pub submitters: usize,
    /// Remembered receipts of all pairs together. Beyond it, pairs go whose
    /// receipts are all too old to be put again; if there are none, a pair
    /// forgets its oldest for each new one, and remembers one in any case.
    pub remembered: usize,
    /// Kinds of work of one worker; beyond, the one that was used least
    /// recently is forgotten.
    pub kinds: usize,
}

impl Default for Limits {
    /// Some 400 MB when all of it is used. A team has a few hundred pairs.
    fn default() -> Self {
        Self { pairs: 100_000, submitters: 1024, remembered: 2_000_000, kinds: 64 }
    }
}

/// See the page of the module.
#[derive(Debug, Default)]
pub struct Book {
    limits: Limits,
    workers: BTreeMap<NodeId, Worker>,
    /// All pairs, by when their newest receipt ended.
    quiet: BTreeSet<(Timestamp, Both)>,
    remembered: usize,
}

#[derive(Debug, Default)]
struct Worker {
    submitters: BTreeMap<NodeId, Pair>,
    kinds: BTreeMap<u64, Usual>,
}

/// How long a kind of work usually takes.
#[derive(Debug, Clone, Copy)]
struct Usual {
    /// The logarithm of milliseconds.
    took: f64,
    used: Timestamp,
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Why a receipt that nobody has verified yet will not be counted, if it
    /// is cheap to tell.
    #[must_use]
    pub fn refuses(&self, receipt: &Receipt, now: Timestamp) -> Option<ReceiptPut> {
        let finished = receipt.times.finished;
        if receipt.submitter == receipt.worker || finished > now.saturating_add(formula::MAX_AGE) {
            return Some(ReceiptPut::Invalid);
        }
        if finished > now.saturating_add(formula::MAX_AHEAD) {
            return Some(ReceiptPut::NotYet);
        }
        if is_past(finished, now) {
            return Some(ReceiptPut::TooOld);
        }
        let both = Both::of(receipt);
        match self.pair(&both) {
            Some(pair) if pair.has(&Counted::of(receipt)) => Some(ReceiptPut::Known),
            Some(pair) if finished <= pair.totals.floor => Some(ReceiptPut::TooOld),
            Some(_) => None,
            None => match self.makes_room(&both, now) {
                Room::None => Some(ReceiptPut::Full),
                Room::There | Room::Of(_) => None,
            },
        }
    }

    /// Counts a receipt that is verified and that [`Book::refuses`] does not
    /// refuse. `kind` is the worker's word, none if the submitter put it. Gives
    /// what is to be stored: nothing for a receipt that is worth nothing, of
    /// which nothing is kept.
    pub fn count(&mut self, receipt: &Receipt, kind: Option<u64>, now: Timestamp) -> Vec<Entry> {
        let merit = formula::merit(receipt);
        if merit == Merit::Nothing {
            return Vec::new();
        }
        let (both, counted) = (Both::of(receipt), Counted::of(receipt));
        let mut entries = Vec::new();
        if self.pair(&both).is_none()
            && let Room::Of(quiet) = self.makes_room(&both, now)
        {
            self.enter(Entry::PairForgotten(quiet), &mut entries);
        }
        if self.remembered >= self.limits.remembered
            && let Some(quiet) = self.past_pair(&both, now)
        {
            self.enter(Entry::PairForgotten(quiet), &mut entries);
        }
        let promptness = match (merit, kind, formula::took(receipt)) {
            (Merit::Succeeded, Some(kind), Some(took)) => {
                self.measure(both.worker, kind, took, now, &mut entries)
            }
            (Merit::Succeeded | Merit::Failed | Merit::Abandoned | Merit::Nothing, ..) => 1.0,
        };
        let none = Pair::default();
        let pair = self.pair(&both).unwrap_or(&none);
        // By a clock that is ahead, it could be of tomorrow.
        let day = pair::day(counted.finished.min(now));
        let of_day = pair::plus(pair.days.get(&day).copied().unwrap_or_default(), merit);
        let totals = pair.with(merit, promptness, counted.finished, now);
        let forgotten = pair.forgotten(&counted, self.most(pair), now);
        self.enter(Entry::Totals(both, totals), &mut entries);
        self.enter(Entry::Counted(both, counted), &mut entries);
        if let Some(up_to) = forgotten {
            self.enter(Entry::Forgotten(both, up_to), &mut entries);
        }
        self.enter(Entry::Day(both, day, of_day), &mut entries);
        entries
    }

    /// Puts back what was stored, or does what was decided.
    pub fn apply(&mut self, entry: &Entry) {
        match *entry {
            Entry::Totals(both, totals) => {
                let worker = self.workers.entry(both.worker).or_default();
                let pair = worker.submitters.entry(both.submitter).or_default();
                self.quiet.remove(&(pair.totals.newest, both));
                pair.totals = totals;
                self.quiet.insert((totals.newest, both));
            }
            Entry::Counted(both, counted) => {
                if let Some(pair) = self.pair_mut(&both)
                    && pair.counted.insert(counted)
                {
                    self.remembered += 1;
                }
            }
            Entry::Forgotten(both, up_to) => {
                let gone = self.pair_mut(&both).map_or(0, |pair| pair.forget(up_to));
                self.remembered = self.remembered.saturating_sub(gone);
            }
            Entry::Day(both, day, counts) => {
                if let Some(pair) = self.pair_mut(&both) {
                    pair.set_day(day, counts);
                }
            }
            Entry::Kind(worker, kind, took, used) => {
                self.workers.entry(worker).or_default().kinds.insert(kind, Usual { took, used });
            }
            Entry::KindForgotten(worker, kind) => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.kinds.remove(&kind);
                }
            }
            Entry::PairForgotten(both) => self.forget_pair(&both),
        }
    }

    /// How many pairs it knows.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.quiet.len()
    }

    /// How many receipts it remembers.
    #[must_use]
    pub const fn remembered(&self) -> usize {
        self.remembered
    }

    fn enter(&mut self, entry: Entry, entries: &mut Vec<Entry>) {
        self.apply(&entry);
        entries.push(entry);
    }

    /// The promptness of another piece of work of this kind, which then is
    /// part of what is usual. The first of a kind is as prompt as any.
    fn measure(
        &mut self,
        worker: NodeId,
        kind: u64,
        took: f64,
        now: Timestamp,
        entries: &mut Vec<Entry>,
    ) -> f64 {
        let none = BTreeMap::new();
        let kinds = self.workers.get(&worker).map_or(&none, |worker| &worker.kinds);
        let before = kinds.get(&kind).map(|usual| usual.took);
        let stale = (before.is_none() && kinds.len() >= self.limits.kinds)
            .then(|| kinds.iter().min_by_key(|(kind, usual)| (usual.used, **kind)))
            .flatten()
            .map(|(kind, _)| *kind);
        if let Some(stale) = stale {
            self.enter(Entry::KindForgotten(worker, stale), entries);
        }
        self.enter(Entry::Kind(worker, kind, formula::usual(before, took), now), entries);
        before.map_or(1.0, |before| formula::promptness(before, took))
    }

    /// How many receipts a pair may remember before there is one more.
    fn most(&self, pair: &Pair) -> usize {
        if self.remembered < self.limits.remembered {
            pair::MAX_REMEMBERED
        } else {
            pair.counted.len().clamp(1, pair::MAX_REMEMBERED)
        }
    }

    /// The pair that was quiet longest, but for `but`, if all of its receipts
    /// are too old to be put again.
    fn past_pair(&self, but: &Both, now: Timestamp) -> Option<Both> {
        let (newest, both) = self.quiet.iter().find(|(_, both)| both != but)?;
        is_past(*newest, now).then_some(*both)
    }

    fn makes_room(&self, new: &Both, now: Timestamp) -> Room {
        let submitters = self.workers.get(&new.worker).map(|worker| &worker.submitters);
        if let Some(submitters) = submitters.filter(|held| held.len() >= self.limits.submitters) {
            let quiet = submitters.iter().min_by_key(|(_, pair)| pair.totals.newest);
            return match quiet {
                Some((submitter, pair)) if is_past(pair.totals.newest, now) => {
                    Room::Of(Both { submitter: *submitter, ..*new })
                }
                Some(_) | None => Room::None,
            };
        }
        if self.quiet.len() < self.limits.pairs {
            return Room::There;
        }
        self.past_pair(new, now).map_or(Room::None, Room::Of)
    }

    fn forget_pair(&mut self, both: &Both) {
        let Some(worker) = self.workers.get_mut(&both.worker) else { return };
        let Some(pair) = worker.submitters.remove(&both.submitter) else { return };
        if worker.submitters.is_empty() {
            self.workers.remove(&both.worker);
        }
        self.quiet.remove(&(pair.totals.newest, *both));
        self.remembered = self.remembered.saturating_sub(pair.counted.len());
    }

    fn pair(&self, both: &Both) -> Option<&Pair> {
        self.workers.get(&both.worker)?.submitters.get(&both.submitter)
    }

    fn pair_mut(&mut self, both: &Both) -> Option<&mut Pair> {
        self.workers.get_mut(&both.worker)?.submitters.get_mut(&both.submitter)
    }
}

/// Whether what ended then is too old to be put.
fn is_past(finished: Timestamp, now: Timestamp) -> bool {
    now.since(finished) > formula::MAX_AGE
}

/// Whether there is room for a new pair.
enum Room {
    There,
    /// If this one goes.
    Of(Both),
    None,
}
