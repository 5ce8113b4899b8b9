//! Which peer is to be told about which tasks, and when.
//!
//! Decides the order and the pauses, not the content: what is owed about a
//! task is worked out by its machine when a link has room for it. At most one
//! request about a task is on its way at a time. In memory only; after a
//! restart it is rebuilt from the records.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::TaskId;

use crate::outgoing::{OutgoingKey, OutgoingKind};

/// The first pause after a peer could not take a request; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a full queue that has room again is found within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A place in a peer's lane: stopping work first, then by priority, then by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) class: Class,
    pub(crate) priority: Reverse<i16>,
    pub(crate) since: Timestamp,
    pub(crate) id: TaskId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Stop,
    Work,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<NodeId, BTreeSet<Slot>>,
    dispatches: BTreeMap<TaskId, Dispatch>,
    pauses: BTreeSet<(Timestamp, TaskId)>,
}

#[derive(Debug)]
struct Dispatch {
    peer: NodeId,
    slot: Slot,
    kind: OutgoingKind,
    refusals: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the lane of its peer.
    Lane,
    /// Out of the lane until its newest revision is on disk.
    Aside,
    InFlight(OutgoingKey),
    Paused(Timestamp),
    /// Until trust in the peer changes.
    Blocked,
}

impl Outbox {
    /// Something of `kind` is owed about a task. True if that is news for the
    /// peer's link. Leaves alone what is under way or waits for its time.
    pub(crate) fn want(&mut self, peer: NodeId, kind: OutgoingKind, slot: Slot) -> bool {
        let mut refusals = 0;
        if let Some(known) = self.dispatches.get(&slot.id) {
            let same = known.kind == kind;
            match known.place {
                Place::InFlight(key) if !overtakes(kind, key.kind) => return false,
                Place::Lane | Place::Paused(_) | Place::Blocked if same => return false,
                Place::InFlight(_) | Place::Aside | Place::Lane => {}
                Place::Paused(_) | Place::Blocked => {}
            }
            if same {
                refusals = known.refusals;
            }
        }
        self.forget(&slot.id);
        self.lanes.entry(peer).or_default().insert(slot);
        let dispatch = Dispatch { peer, slot, kind, refusals, place: Place::Lane };
        self.dispatches.insert(slot.id, dispatch);
        true
    }

    /// Nothing is owed about a task any more.
    pub(crate) fn forget(&mut self, id: &TaskId) {
        if let Some(dispatch) = self.dispatches.remove(id) {
            self.leave(&dispatch);
        }
    }

    /// The task whose turn it is.
    pub(crate) fn first(&self, peer: &NodeId) -> Option<TaskId> {
        self.lanes.get(peer)?.first().map(|slot| slot.id)
    }

    /// Takes a task out of its lane until [`Outbox::want`] brings it back.
    pub(crate) fn set_aside(&mut self, id: &TaskId) {
        self.place(id, Place::Aside);
    }

    pub(crate) fn sent(&mut self, key: OutgoingKey) {
        self.place(&key.id, Place::InFlight(key));
    }

    /// Whether the request of `key` is under way to `peer`.
    pub(crate) fn is_in_flight(&self, peer: &NodeId, key: &OutgoingKey) -> bool {
        self.dispatches.get(&key.id).is_some_and(|dispatch| {
            dispatch.peer == *peer && dispatch.place == Place::InFlight(*key)
        })
    }

    /// The peer could not take it now. The pause doubles with each refusal.
    pub(crate) fn pause(&mut self, id: &TaskId, now: Timestamp) {
        let Some(dispatch) = self.dispatches.get_mut(id) else { return };
        let factor = 1_u32.checked_shl(dispatch.refusals).unwrap_or(u32::MAX);
        dispatch.refusals = dispatch.refusals.saturating_add(1).min(16);
        let until = now.saturating_add(FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE));
        self.place(id, Place::Paused(until));
        self.pauses.insert((until, *id));
    }

    /// The peer does not let us.
    pub(crate) fn block(&mut self, id: &TaskId) {
        self.place(id, Place::Blocked);
    }

    /// Trust in the peer changed: what it did not let us do is tried again.
    /// True if there is anything.
    pub(crate) fn unblock(&mut self, peer: &NodeId) -> bool {
        let blocked =
            |dispatch: &&Dispatch| dispatch.peer == *peer && dispatch.place == Place::Blocked;
        let ids: Vec<TaskId> =
            self.dispatches.values().filter(blocked).map(|dispatch| dispatch.slot.id).collect();
        for id in &ids {
            self.ready(id);
        }
        !ids.is_empty()
    }

    /// A request was lost with its link, or its time has come again. The peer
    /// to tell, if the task is one of the outbox.
    pub(crate) fn ready(&mut self, id: &TaskId) -> Option<NodeId> {
        self.place(id, Place::Lane);
        let dispatch = self.dispatches.get(id)?;
        self.lanes.entry(dispatch.peer).or_default().insert(dispatch.slot);
        Some(dispatch.peer)
    }

    pub(crate) fn first_pause_end(&self) -> Option<Timestamp> {
        self.pauses.first().map(|(until, _)| *until)
    }

    /// Brings back at most `max` tasks whose pause is over; tells their peers.
    ///
    /// So is one that ends later than any pause begun by now could: the clock
    /// was set back.
    pub(crate) fn end_pauses(&mut self, now: Timestamp, max: usize) -> BTreeSet<NodeId> {
        let latest = now.saturating_add(LONGEST_PAUSE);
        let over = self.pauses.iter().take_while(|(until, _)| *until <= now);
        let impossible = self.pauses.iter().rev().take_while(|(until, _)| *until > latest);
        let ids: Vec<TaskId> = over.chain(impossible).take(max).map(|(_, id)| *id).collect();
        ids.iter().filter_map(|id| self.ready(id)).collect()
    }

    pub(crate) fn has_owed(&self, peer: &NodeId) -> bool {
        self.lanes.contains_key(peer)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.lanes.keys().copied()
    }

    fn place(&mut self, id: &TaskId, place: Place) {
        let Some(mut dispatch) = self.dispatches.remove(id) else { return };
        self.leave(&dispatch);
        dispatch.place = place;
        self.dispatches.insert(*id, dispatch);
    }

    fn leave(&mut self, dispatch: &Dispatch) {
        match dispatch.place {
            Place::Lane => {
                if let Some(lane) = self.lanes.get_mut(&dispatch.peer) {
                    lane.remove(&dispatch.slot);
                    if lane.is_empty() {
                        self.lanes.remove(&dispatch.peer);
                    }
                }
            }
            Place::Paused(until) => {
                self.pauses.remove(&(until, dispatch.slot.id));
            }
            Place::Aside | Place::InFlight(_) | Place::Blocked => {}
        }
    }
}

/// A result need not wait for the answer to an update that it makes worthless.
fn overtakes(kind: OutgoingKind, in_flight: OutgoingKind) -> bool {
    kind == OutgoingKind::Result && in_flight == OutgoingKind::Update
}
