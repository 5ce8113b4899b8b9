//! Grants that others gave to this node.

use pilot_identity::{NodeId, SignedGrant, Timestamp};
use pilot_proto::trust::TrustAnswer;

use crate::{Card, CardSource, PeerRecord, Trust};

/// Keys that granted this node something and were never answered with a
/// grant or a revocation; one more is refused with [`Received::Full`].
///
/// Keys cost nothing, so strangers get as many rows as a person can look
/// through, and no more. A peer that this node has granted to always has room.
pub const MAX_STRANGERS: usize = 256;

/// What became of a grant that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Kept: once its row is on disk, it may be acknowledged.
    Stored,
    /// It is held already, and may be acknowledged again.
    Duplicate,
    /// One with a serial as high was seen: a replay, or the issuer lost its state.
    Stale {
        /// The highest serial seen of this issuer.
        serial: u64,
    },
    /// Not believed: signature, receiver or network.
    Invalid,
    /// [`MAX_STRANGERS`] wait for an answer already, or this node does not know its
    /// own network yet. It must not be acknowledged, and may come again later.
    Full,
}

impl Trust {
    /// A grant arrived, from wherever; `card` says who its issuer is.
    ///
    /// A caller who has it from a `pilot-trust/1` connection first makes sure
    /// that its issuer is the key of the connection, so that the card is the issuer's own.
    pub fn handle_grant(
        &mut self,
        grant: &SignedGrant,
        card: Option<Card>,
        now: Timestamp,
    ) -> Received {
        let Ok(offered) = grant.verify() else { return Received::Invalid };
        if offered.to != self.me || offered.from == self.me {
            return Received::Invalid;
        }
        match self.network {
            None => return Received::Full,
            Some(network) if network != offered.network => return Received::Invalid,
            Some(_) => {}
        }
        let from = offered.from;
        let record = self.peers.get(&from).map(|known| &known.record);
        match record.and_then(PeerRecord::their_grant) {
            Some(held) if held == offered => {
                if self.note_card(from, card) {
                    self.persist(from);
                }
                return Received::Duplicate;
            }
            Some(held) if held.serial >= offered.serial => {
                return Received::Stale { serial: held.serial };
            }
            Some(_) | None => {}
        }
        if record.is_none() && self.strangers() >= MAX_STRANGERS {
            return Received::Full;
        }
        self.entry(from).record.theirs = Some(grant.clone());
        self.note_card(from, card);
        self.persist(from);
        self.announce(from, now);
        Received::Stored
    }

    /// The answer to `peer`, the key of the connection, for what became of its offer.
    #[must_use]
    pub fn answer(&self, peer: NodeId, received: Received) -> TrustAnswer {
        let yours = self.peers.get(&peer).and_then(|known| known.record.ours.clone());
        match received {
            Received::Stored | Received::Duplicate => TrustAnswer::Stored { yours },
            Received::Stale { serial } => TrustAnswer::Stale { serial, yours },
            Received::Invalid => TrustAnswer::Invalid,
            Received::Full => TrustAnswer::Full,
        }
    }

    /// Somebody said who a peer is. Of unknown keys nothing is kept.
    pub fn handle_card(&mut self, peer: NodeId, card: Card) {
        if self.peers.contains_key(&peer) && self.note_card(peer, Some(card)) {
            self.persist(peer);
        }
    }

    /// Whether the row changed. A claim never replaces what the rendezvous
    /// said, and an address that cannot be the peer's is left out.
    fn note_card(&mut self, peer: NodeId, card: Option<Card>) -> bool {
        let Some(mut card) = card else { return false };
        let network = self.network;
        card.address = card.address.filter(|address| {
            Some(address.network()) == network && self.pins.check(*address, peer).is_ok()
        });
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let held = &mut known.record.card;
        let outranked = match (card.source, held.as_ref().map(|held| held.source)) {
            (CardSource::Claimed, Some(CardSource::Registry)) => true,
            (CardSource::Claimed, Some(CardSource::Claimed) | None)
            | (CardSource::Registry, Some(CardSource::Claimed | CardSource::Registry) | None) => {
                false
            }
        };
        if outranked || held.as_ref() == Some(&card) {
            return false;
        }
        *held = Some(card);
        true
    }

    fn strangers(&self) -> usize {
        self.peers.values().filter(|known| known.record.is_stranger()).count()
    }
}
