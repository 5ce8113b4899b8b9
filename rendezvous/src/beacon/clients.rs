//! The nodes that are bound at a beacon, and where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot_identity::{NodeId, PairKey};
use pilot_proto::beacon::RelayId;

use super::place::{CarrierId, Place};
use super::rate::{Bucket, ByteRate};

/// After so much silence a client is forgotten. Nodes say something every 25 s
/// at most, so three packets in a row were lost.
pub(super) const SILENCE: Duration = Duration::from_secs(90);

/// Peers to which one client may send at once under a limit for each pair;
/// what goes to further ones is dropped until one of those is at rest.
const MAX_PAIRS: usize = 1024;

pub(super) struct Client {
    pub(super) node: NodeId,
    pub(super) place: Place,
    /// Derived once: to do it for every packet would take too long.
    pub(super) key: Arc<PairKey>,
    /// The largest number that came in a packet of this node.
    pub(super) seq: u64,
    pub(super) heard: Instant,
    /// Of what it sends.
    rate: Bucket,
    /// Of what it sends to each of the others.
    pairs: BTreeMap<RelayId, Bucket>,
    /// Of what it is told about those who are not here.
    pub(super) absences: Bucket,
    /// Of what it sends through a beacon that only passes probes on.
    pub(super) probes: Bucket,
}

impl Client {
    pub(super) const fn new(
        node: NodeId,
        place: Place,
        key: Arc<PairKey>,
        seq: u64,
        heard: Instant,
    ) -> Self {
        Self {
            node,
            place,
            key,
            seq,
            heard,
            rate: Bucket::AT_REST,
            pairs: BTreeMap::new(),
            absences: Bucket::AT_REST,
            probes: Bucket::AT_REST,
        }
    }

    /// Whether so many bytes may go to `to`.
    pub(super) fn may_send(
        &mut self,
        to: RelayId,
        bytes: usize,
        (all, pair): (ByteRate, ByteRate),
        now: Instant,
    ) -> bool {
        if pair != ByteRate(0) {
            if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&to) {
                self.pairs.retain(|_, bucket| !bucket.is_at_rest(now));
                if self.pairs.len() >= MAX_PAIRS {
                    return false;
                }
            }
            if !self.pairs.entry(to).or_default().take(pair, bytes, now) {
                return false;
            }
        }
        self.rate.take(all, bytes, now)
    }
}

/// Who is bound: by id, and by place, which one client has alone.
#[derive(Default)]
pub(super) struct Clients {
    by_id: BTreeMap<RelayId, Client>,
    at: BTreeMap<Place, RelayId>,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &RelayId) -> Option<&Client> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &RelayId) -> Option<&mut Client> {
        self.by_id.get_mut(id)
    }

    /// Whose place this is.
    pub(super) fn id_at(&self, place: &Place) -> Option<RelayId> {
        self.at.get(place).copied()
    }

    /// Binds `client`. Who was at its place is forgotten: it has lost it, or
    /// the cookie would not have reached this one.
    pub(super) fn bind(&mut self, id: RelayId, client: Client) {
        let place = client.place;
        if let Some(before) = self.by_id.insert(id, client) {
            self.at.remove(&before.place);
        }
        if let Some(other) = self.at.insert(place, id)
            && other != id
        {
            self.by_id.remove(&other);
        }
    }

    /// Forgets who was silent for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_here = |client: &Client| now.duration_since(client.heard) < SILENCE;
        self.by_id.retain(|_, client| is_here(client));
        self.at.retain(|_, id| self.by_id.contains_key(id));
        for client in self.by_id.values_mut() {
            client.pairs.retain(|_, bucket| !bucket.is_at_rest(now));
        }
    }

    /// Forgets who was at a carrier that has ended.
    pub(super) fn end(&mut self, carrier: CarrierId) {
        let at = |place: &Place| matches!(place, Place::Carrier { id, .. } if *id == carrier);
        let by_id = &mut self.by_id;
        self.at.retain(|place, id| {
            let ended = at(place);
            if ended {
                by_id.remove(id);
            }
            !ended
        });
    }
}
