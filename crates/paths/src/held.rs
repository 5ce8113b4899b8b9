//! The sockets that were opened for one peer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::via::LocalId;

/// How long a socket is kept after the peer pinged it. It may have chosen it for
/// its path before anything is proven from here: closed too early, what it sends
/// is lost until it notices. Longer than the longest keepalive.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The sockets, and when each was pinged last.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<LocalId, Option<Instant>>);

impl Held {
    pub(crate) fn add(&mut self, locals: impl Iterator<Item = LocalId>) {
        self.0.extend(locals.map(|local| (local, None)));
    }

    pub(crate) fn remove(&mut self, local: LocalId) {
        self.0.remove(&local);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The peer pings it.
    pub(crate) fn note_pinged(&mut self, local: LocalId, now: Instant) {
        if let Some(pinged) = self.0.get_mut(&local) {
            *pinged = Some(now);
        }
    }

    /// The network changed: what the peer knows of these sockets is wrong now.
    pub(crate) fn forget_pings(&mut self) {
        self.0.values_mut().for_each(|pinged| *pinged = None);
    }

    /// Gives up those that neither side uses.
    pub(crate) fn take_unused(&mut self, used: &BTreeSet<LocalId>, now: Instant) -> Vec<LocalId> {
        let is_kept = |at: &mut Option<Instant>| at.is_some_and(|at| now < at + KEPT_FOR);
        let unused = self.0.extract_if(.., |local, at| !used.contains(local) && !is_kept(at));
        unused.map(|(local, _)| local).collect()
    }

    /// When a ping of the peer keeps a socket no longer; the first after `after`.
    pub(crate) fn deadline(&self, after: Instant) -> Option<Instant> {
        let until = self.0.values().flatten().map(|at| *at + KEPT_FOR);
        until.filter(|until| *until > after).min()
    }

    #[cfg(test)]
    pub(crate) fn locals(&self) -> BTreeSet<LocalId> {
        self.0.keys().copied().collect()
    }
}
