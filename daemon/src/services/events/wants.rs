//! What this node wants to hear: the sum of what its subscribers want.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_events::Filters;
use pilot_identity::NodeId;
use pilot_proto::TopicFilter;
use pilot_proto::events::Interest;

/// Somebody who listens just now.
pub(super) type SubscriberId = u64;

#[derive(Default)]
pub(super) struct Wants(Mutex<State>);

#[derive(Default)]
struct State {
    /// Grows with each change.
    serial: u64,
    live: BTreeMap<SubscriberId, WantedOf>,
    /// By the names of cursors.
    durable: BTreeMap<String, WantedOf>,
    /// Rules by which events are handed on: of whom, and what.
    signed: Vec<(NodeId, TopicFilter)>,
    /// What each peer knows to be durable.
    told: BTreeMap<NodeId, Vec<TopicFilter>>,
}

/// What is wanted, and of whom; of everybody, if that is not said.
pub(super) type WantedOf = (Vec<TopicFilter>, Option<NodeId>);

impl Wants {
    pub(super) fn of(durable: BTreeMap<String, WantedOf>) -> Self {
        Self(Mutex::new(State { serial: 1, durable, ..State::default() }))
    }

    /// Somebody listens; until which serial is not told this does not hold.
    pub(super) fn add(&self, filters: &[TopicFilter], from: Option<NodeId>) -> (SubscriberId, u64) {
        let mut state = self.lock();
        state.serial += 1;
        let serial = state.serial;
        state.live.insert(serial, (filters.to_vec(), from));
        (serial, serial)
    }

    pub(super) fn remove(&self, id: SubscriberId) {
        let mut state = self.lock();
        state.serial += 1;
        state.live.remove(&id);
    }

    pub(super) fn set_durable(&self, name: &str, wanted: Option<(&[TopicFilter], Option<NodeId>)>) {
        let mut state = self.lock();
        state.serial += 1;
        match wanted {
            Some((filters, from)) => {
                state.durable.insert(name.to_owned(), (filters.to_vec(), from))
            }
            None => state.durable.remove(name),
        };
    }

    pub(super) fn set_signed(&self, signed: Vec<(NodeId, TopicFilter)>) {
        let mut state = self.lock();
        state.serial += 1;
        state.signed = signed;
    }

    /// What is wanted of `peer`.
    pub(super) fn of_peer(&self, peer: &NodeId) -> Interest {
        self.lock().of_peer(peer)
    }

    /// Whether there is something to be told to `peer`, or to be heard of it.
    pub(super) fn owes(&self, peer: &NodeId) -> bool {
        let state = self.lock();
        let Interest { live, durable, .. } = state.of_peer(peer);
        !live.is_empty() || *state.told.get(peer).unwrap_or(&Vec::new()) != durable
    }

    /// The peer has confirmed this interest.
    pub(super) fn note_told(&self, peer: NodeId, interest: &Interest) {
        let durable = interest.durable.clone();
        self.lock().told.insert(peer, durable);
    }

    pub(super) fn listeners(&self) -> usize {
        self.lock().live.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of_peer(&self, peer: &NodeId) -> Interest {
        let of = |wanted: &&WantedOf| wanted.1.is_none_or(|from| from == *peer);
        let live = self.live.values().filter(of);
        let durable = self.durable.values().filter(of);
        let signed = self.signed.iter().filter(|(from, _)| from == peer);
        let list = |filters: Filters| filters.as_slice().to_vec();
        Interest {
            serial: self.serial,
            live: list(Filters::of(live.flat_map(|(filters, _)| filters))),
            durable: list(Filters::of(durable.flat_map(|(filters, _)| filters))),
            signed: list(Filters::of(signed.map(|(_, filter)| filter))),
            own: None,
            relayed: None,
        }
    }
}
