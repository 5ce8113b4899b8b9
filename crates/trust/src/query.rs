//! What others ask the machine. Nothing here changes anything.

use pilot_identity::{NodeId, Scope, SignedGrant, Timestamp};
use pilot_proto::{Address, PeerRef};

use crate::{Card, CardSource, IdentityChanged, PeerRecord, Standing, Trust, TrustState};

impl Trust {
    /// This node's key.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.me
    }

    /// The network of this node, once it is known.
    #[must_use]
    pub const fn network(&self) -> Option<u16> {
        self.network
    }

    /// Where this node and `peer` stand.
    #[must_use]
    pub fn standing(&self, peer: NodeId, now: Timestamp) -> Standing {
        self.record(peer).map_or(Standing::UNKNOWN, |record| record.standing(self.network, now))
    }

    /// Trust between this node and `peer`.
    #[must_use]
    pub fn state(&self, peer: NodeId, now: Timestamp) -> TrustState {
        self.standing(peer, now).state
    }

    /// Whether each holds the other's live grant.
    #[must_use]
    pub fn is_mutual(&self, peer: NodeId, now: Timestamp) -> bool {
        self.standing(peer, now).is_mutual()
    }

    /// Whether `peer` may use `scope` here: trust is mutual and this node's
    /// grant names the scope. For every service, at the receiver.
    #[must_use]
    pub fn allows(&self, peer: NodeId, scope: Scope, now: Timestamp) -> bool {
        self.standing(peer, now).allows(scope)
    }

    /// Whether this node may use `scope` at `peer`, as far as it knows; only
    /// good for telling a user early.
    #[must_use]
    pub fn may_use(&self, peer: NodeId, scope: Scope, now: Timestamp) -> bool {
        self.standing(peer, now).may_use(scope)
    }

    /// What is kept about `peer`.
    #[must_use]
    pub fn record(&self, peer: NodeId) -> Option<&PeerRecord> {
        self.peers.get(&peer).map(|known| &known.record)
    }

    /// Every peer there is a row for, in order of key, and where it stands.
    pub fn peers(&self, now: Timestamp) -> impl Iterator<Item = (&PeerRecord, Standing)> {
        let network = self.network;
        self.peers.values().map(move |known| (&known.record, known.record.standing(network, now)))
    }

    /// The peers whose tunnels may be open.
    pub fn peers_mutual(&self, now: Timestamp) -> impl Iterator<Item = NodeId> {
        self.peers(now).filter(|(_, standing)| standing.is_mutual()).map(|(record, _)| record.peer)
    }

    /// The peers that wait for this node's answer.
    pub fn pending(&self, now: Timestamp) -> impl Iterator<Item = &PeerRecord> {
        self.peers(now)
            .filter(|(_, standing)| standing.state == TrustState::Pending)
            .map(|(record, _)| record)
    }

    /// What to put at the rendezvous after each registration: this node's
    /// newest grant to each peer, unless it has expired.
    ///
    /// What it holds already it refuses at no cost, and one that has lost its
    /// state, or is a new one, learns all.
    pub fn grants_to_deliver(&self, now: Timestamp) -> impl Iterator<Item = &SignedGrant> {
        self.peers.values().filter_map(|known| known.record.ours.as_ref()).filter(move |signed| {
            let grant = signed.assume_verified();
            Some(grant.network) == self.network && (grant.scopes.is_empty() || grant.is_live(now))
        })
    }

    /// The peers that are not known to hold this node's newest grant, to be
    /// told as soon as they can be reached.
    pub fn undelivered(&self, now: Timestamp) -> impl Iterator<Item = (NodeId, &SignedGrant)> {
        self.grants_to_deliver(now).filter_map(|signed| {
            let to = signed.assume_verified().to;
            self.record(to).is_some_and(|record| !record.reached.peer).then_some((to, signed))
        })
    }

    /// The key pinned behind `address`.
    #[must_use]
    pub fn resolve_pin(&self, address: Address) -> Option<NodeId> {
        self.pins.get(address)
    }

    /// Whether `offered` may stand behind `address`.
    ///
    /// # Errors
    ///
    /// [`IdentityChanged`] if another key is pinned.
    pub fn check_pin(&self, address: Address, offered: NodeId) -> Result<(), IdentityChanged> {
        self.pins.check(address, offered)
    }

    /// The peer that a user means, as far as it can be told without the
    /// rendezvous: by key, by pinned address, or by what the rendezvous last
    /// said of a peer that this node has granted to. `None` if that is no one
    /// or more than one.
    #[must_use]
    pub fn find(&self, wanted: &PeerRef) -> Option<NodeId> {
        match wanted {
            PeerRef::Key(id) => self.record(*id).map(|record| record.peer),
            PeerRef::Address(address) => self
                .resolve_pin(*address)
                .or_else(|| self.only_card(|card| card.address == Some(*address))),
            PeerRef::Name(name) => self.only_card(|card| card.name.as_ref() == Some(name)),
        }
    }

    fn only_card(&self, matches: impl Fn(&Card) -> bool) -> Option<NodeId> {
        let mut found = self.peers.values().map(|known| &known.record).filter(|record| {
            let card = record.card.as_ref().filter(|card| card.source == CardSource::Registry);
            !record.is_stranger() && card.is_some_and(&matches)
        });
        match (found.next(), found.next()) {
            (Some(record), None) => Some(record.peer),
            (None | Some(_), _) => None,
        }
    }
}
