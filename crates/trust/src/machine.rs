//! The machine's state, its clock and its way out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pilot_identity::{NodeId, NodeKey, SignedGrant, Timestamp};

use crate::pins::Pins;
use crate::{PeerRecord, Standing};

/// Who has granted what to whom, as this node knows it.
///
/// Each input leaves its outputs in a queue, to be drained with
/// [`Trust::poll_output`] before the next input: a handful for one peer, at
/// most one for each known peer from a timeout.
#[derive(Debug)]
pub struct Trust {
    pub(crate) key: Arc<NodeKey>,
    pub(crate) me: NodeId,
    pub(crate) network: Option<u16>,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) pins: Pins,
    outbox: VecDeque<Output>,
    /// The last time given with an input.
    clock: Timestamp,
}

/// A row, and what this run knows beyond it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) record: PeerRecord,
    /// What the last [`Output::Changed`] said.
    announced: Standing,
    /// Grants signed anew on somebody's word since the last one that arrived.
    pub(crate) reissues: u8,
}

/// What the shell is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write the row, and go on only when it is on disk.
    Persist(Box<PeerRecord>),
    /// Bring the grant to the rendezvous and, if it can be reached, to the peer.
    Deliver {
        /// The receiver.
        to: NodeId,
        /// This node's newest grant to it.
        grant: SignedGrant,
    },
    /// Tunnels open or close by this: a standing that is not mutual closes them at once.
    Changed {
        /// With whom.
        peer: NodeId,
        /// How it is from now on.
        standing: Standing,
    },
}

/// Why rows do not make a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A grant in the row is not between the peer and this node's key: the
    /// key file and the database do not belong together.
    #[error("the stored trust of peer {} belongs to another node key", peer.short())]
    OtherNode {
        /// The peer of the row.
        peer: NodeId,
    },
}

impl Trust {
    /// A machine that knows `records`, the rows once given out by
    /// [`Output::Persist`].
    ///
    /// `network` is that of the node's address; without one (the node was never
    /// registered) nobody is trusted until [`Trust::handle_network`].
    ///
    /// # Errors
    ///
    /// [`RestoreError::OtherNode`] if a row is of another node.
    pub fn restore(
        key: Arc<NodeKey>,
        network: Option<u16>,
        records: impl IntoIterator<Item = PeerRecord>,
        now: Timestamp,
    ) -> Result<Self, RestoreError> {
        let me = key.id();
        let mut trust = Self {
            key,
            me,
            network,
            peers: BTreeMap::new(),
            pins: Pins::default(),
            outbox: VecDeque::new(),
            clock: now,
        };
        for record in records {
            let peer = record.peer;
            let from_us = record.our_grant().is_none_or(|g| (g.from, g.to) == (me, peer));
            let to_us = record.their_grant().is_none_or(|g| (g.from, g.to) == (peer, me));
            if !from_us || !to_us {
                return Err(RestoreError::OtherNode { peer });
            }
            for address in &record.pins {
                trust.pins.add(*address, peer);
            }
            let announced = record.standing(network, now);
            trust.peers.insert(peer, Peer { record, announced, reissues: 0 });
        }
        Ok(trust)
    }

    /// The rendezvous gave this node an address in `network`. Grants for
    /// another network hold no longer.
    pub fn handle_network(&mut self, network: u16, now: Timestamp) {
        self.network = Some(network);
        self.announce_all(now);
    }

    /// Grants end by themselves. May be called at any time.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.announce_all(now);
    }

    /// When [`Trust::handle_timeout`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.peers.values().filter_map(|peer| peer.record.next_expiry(self.clock)).min()
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The row of `peer`, made on first mention.
    pub(crate) fn entry(&mut self, peer: NodeId) -> &mut Peer {
        self.peers.entry(peer).or_insert_with(|| Peer {
            record: PeerRecord::new(peer),
            announced: Standing::UNKNOWN,
            reissues: 0,
        })
    }

    pub(crate) fn persist(&mut self, peer: NodeId) {
        if let Some(known) = self.peers.get(&peer) {
            self.outbox.push_back(Output::Persist(Box::new(known.record.clone())));
        }
    }

    pub(crate) fn deliver(&mut self, peer: NodeId) {
        let grant = self.peers.get(&peer).and_then(|known| known.record.ours.clone());
        if let Some(grant) = grant {
            self.outbox.push_back(Output::Deliver { to: peer, grant });
        }
    }

    /// Says how things stand with `peer` if that is news.
    pub(crate) fn announce(&mut self, peer: NodeId, now: Timestamp) {
        self.clock = now;
        let network = self.network;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.announce(network, now, &mut self.outbox);
        }
    }

    fn announce_all(&mut self, now: Timestamp) {
        self.clock = now;
        for known in self.peers.values_mut() {
            known.announce(self.network, now, &mut self.outbox);
        }
    }
}

impl Peer {
    fn announce(&mut self, network: Option<u16>, now: Timestamp, outbox: &mut VecDeque<Output>) {
        let standing = self.record.standing(network, now);
        if standing != self.announced {
            self.announced = standing;
            outbox.push_back(Output::Changed { peer: self.record.peer, standing });
        }
    }
}
