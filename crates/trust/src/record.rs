//! All that is kept about one peer, as one row.

use std::collections::BTreeSet;

use pilot_identity::{Grant, NodeId, Scopes, SignedGrant, Timestamp};
use pilot_proto::{Address, NodeName};
use serde::{Deserialize, Serialize};

use crate::{Standing, TrustState};

/// What is known of one peer. Rows are written whole and never deleted: the
/// serials of the two grants are the highest ever seen, and refuse replays.
///
/// Its encoding names its version, in any serde format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct PeerRecord {
    /// The peer's key; one row a key.
    pub peer: NodeId,
    /// This node's newest grant to the peer; one of nothing is a revocation.
    pub ours: Option<SignedGrant>,
    /// The peer's newest grant to this node.
    pub theirs: Option<SignedGrant>,
    /// How far `ours` has come.
    pub reached: Reached,
    /// The serial of `theirs` at the time of the last revocation by this
    /// node, which answers it.
    pub declined: Option<u64>,
    /// Addresses that stand for this key and no other since a user trusted
    /// it by them.
    pub pins: BTreeSet<Address>,
    /// What the node was told about the peer.
    pub card: Option<Card>,
}

/// Who is known to hold this node's newest grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reached {
    /// The peer has it on disk.
    pub peer: bool,
    /// The rendezvous has it on disk.
    pub registry: bool,
}

/// The address and name of a peer, for people and for finding it; it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its address.
    pub address: Option<Address>,
    /// Its name.
    pub name: Option<NodeName>,
    /// Who said so.
    pub source: CardSource,
}

/// Who said what is on a [`Card`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CardSource {
    /// The peer itself, which may claim anything.
    Claimed,
    /// The rendezvous, which gives addresses and names.
    Registry,
}

/// The versions of a row.
#[derive(Clone, Serialize, Deserialize)]
enum Stored {
    V1(RecordV1),
}

#[derive(Clone, Serialize, Deserialize)]
struct RecordV1 {
    peer: NodeId,
    ours: Option<SignedGrant>,
    theirs: Option<SignedGrant>,
    reached: Reached,
    declined: Option<u64>,
    pins: BTreeSet<Address>,
    card: Option<Card>,
}

impl From<Stored> for PeerRecord {
    fn from(stored: Stored) -> Self {
        let Stored::V1(RecordV1 { peer, ours, theirs, reached, declined, pins, card }) = stored;
        Self { peer, ours, theirs, reached, declined, pins, card }
    }
}

impl From<PeerRecord> for Stored {
    fn from(record: PeerRecord) -> Self {
        let PeerRecord { peer, ours, theirs, reached, declined, pins, card } = record;
        Self::V1(RecordV1 { peer, ours, theirs, reached, declined, pins, card })
    }
}

impl PeerRecord {
    pub(crate) const fn new(peer: NodeId) -> Self {
        Self {
            peer,
            ours: None,
            theirs: None,
            reached: Reached { peer: false, registry: false },
            declined: None,
            pins: BTreeSet::new(),
            card: None,
        }
    }

    /// This node's newest grant to the peer, live or not.
    #[must_use]
    pub fn our_grant(&self) -> Option<&Grant> {
        self.ours.as_ref().map(SignedGrant::assume_verified)
    }

    /// The peer's newest grant to this node, live or not.
    #[must_use]
    pub fn their_grant(&self) -> Option<&Grant> {
        self.theirs.as_ref().map(SignedGrant::assume_verified)
    }

    /// Whether this node never granted it anything, nor declined.
    #[must_use]
    pub const fn is_stranger(&self) -> bool {
        self.ours.is_none()
    }

    /// Where the two stand in `network` at `now`; without a network nothing holds.
    #[must_use]
    pub fn standing(&self, network: Option<u16>, now: Timestamp) -> Standing {
        let live = |grant: &&Grant| Some(grant.network) == network && grant.is_live(now);
        let ours = self.our_grant().filter(live);
        let theirs = self.their_grant().filter(live);
        let state = match (ours, theirs) {
            (Some(_), Some(_)) => TrustState::Mutual,
            (Some(_), None) => TrustState::Requested,
            (None, Some(theirs)) if self.declined.is_none_or(|serial| serial < theirs.serial) => {
                TrustState::Pending
            }
            (None, Some(_) | None) => TrustState::None,
        };
        let scopes = |grant: Option<&Grant>| grant.map_or(Scopes::NONE, |grant| grant.scopes);
        Standing { state, granted: scopes(ours), received: scopes(theirs) }
    }

    /// The next moment at which a grant that is live at `now` ends by itself.
    pub(crate) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        [self.our_grant(), self.their_grant()]
            .into_iter()
            .flatten()
            .filter(|grant| grant.is_live(now))
            .filter_map(|grant| grant.expires_at)
            .min()
    }
}
