//! What senders are still to be told about their messages.

use std::collections::BTreeMap;

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::MessageId;
use pilot_proto::messages::{MAX_RECEIPTS, Receipt};

/// Receipts that are kept for senders that are away. Beyond it no new ones are
/// made: those messages stay `delivered` at their senders.
pub const MAX_RECEIPTS_KEPT: usize = 100_000;
/// Those of one sender.
pub const MAX_RECEIPTS_KEPT_PER_PEER: usize = 10_000;

/// What became of a message at its receiver, by its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// When it was read.
    pub read: Timestamp,
    /// When it was acknowledged, if it was.
    pub acked: Option<Timestamp>,
}

impl Note {
    /// As it travels: clocks of two machines need not agree.
    #[must_use]
    pub fn into_receipt(self, id: MessageId, now: Timestamp) -> Receipt {
        let ago = |at: Timestamp| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        Receipt { id, read_ms_ago: ago(self.read), acked_ms_ago: self.acked.map(ago) }
    }

    /// As it arrives. What a peer claims of the time before 1970 was in 1970.
    #[must_use]
    pub fn of_receipt(receipt: &Receipt, now: Timestamp) -> Self {
        let at = |ago: u64| Timestamp::from_millis(now.as_millis().saturating_sub(ago));
        Self { read: at(receipt.read_ms_ago), acked: receipt.acked_ms_ago.map(at) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Receipts {
    owed: BTreeMap<NodeId, BTreeMap<MessageId, Note>>,
    count: usize,
}

impl Receipts {
    /// True if it is to be told.
    pub(crate) fn note(&mut self, peer: NodeId, id: MessageId, note: Note) -> bool {
        let of_peer = self.owed.get(&peer);
        if of_peer.is_none_or(|of_peer| !of_peer.contains_key(&id)) {
            let full = self.count >= MAX_RECEIPTS_KEPT
                || of_peer.is_some_and(|of_peer| of_peer.len() >= MAX_RECEIPTS_KEPT_PER_PEER);
            if full {
                return false;
            }
            self.count += 1;
        }
        self.owed.entry(peer).or_default().insert(id, note);
        true
    }

    /// It is told nothing any more; true if there was something.
    pub(crate) fn forget(&mut self, peer: &NodeId) -> bool {
        let Some(of_peer) = self.owed.remove(peer) else { return false };
        self.count -= of_peer.len();
        true
    }

    /// The first that `peer` is to be told.
    pub(crate) fn next(&self, peer: &NodeId) -> Vec<(MessageId, Note)> {
        let owed = self.owed.get(peer).into_iter().flatten();
        owed.take(MAX_RECEIPTS).map(|(id, note)| (*id, *note)).collect()
    }

    /// It knows; true unless there is more to be said of that message by now.
    pub(crate) fn told(&mut self, peer: &NodeId, id: &MessageId, note: Note) -> bool {
        let Some(of_peer) = self.owed.get_mut(peer) else { return false };
        if of_peer.get(id) != Some(&note) {
            return false;
        }
        of_peer.remove(id);
        self.count -= 1;
        if of_peer.is_empty() {
            self.owed.remove(peer);
        }
        true
    }

    pub(crate) fn has(&self, peer: &NodeId) -> bool {
        self.owed.get(peer).is_some_and(|of_peer| !of_peer.is_empty())
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.owed.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::NodeKey;

    use super::*;

    const READ: Note = Note { read: Timestamp::from_millis(1), acked: None };

    fn peer(seed: u8) -> NodeId {
        NodeKey::from_seed(&[seed; 32].into()).id()
    }

    fn id(number: usize) -> MessageId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        MessageId::from_bytes(bytes)
    }

    #[test]
    fn what_is_over_a_limit_is_not_owed() {
        let mut receipts = Receipts::default();
        let peers = MAX_RECEIPTS_KEPT / MAX_RECEIPTS_KEPT_PER_PEER;
        let last = u8::try_from(peers).unwrap();
        for number in 0..MAX_RECEIPTS_KEPT_PER_PEER {
            assert!(receipts.note(peer(0), id(number), READ));
        }
        let over = id(MAX_RECEIPTS_KEPT_PER_PEER);
        assert!(!receipts.note(peer(0), over, READ), "too many of one peer");
        let acked = Note { acked: Some(Timestamp::from_millis(2)), ..READ };
        assert!(receipts.note(peer(0), id(0), acked), "more of one that is there");
        for seed in 1..last {
            for number in 0..MAX_RECEIPTS_KEPT_PER_PEER {
                assert!(receipts.note(peer(seed), id(number), READ));
            }
        }

        assert!(!receipts.note(peer(last), id(0), READ), "too many of all");

        assert!(!receipts.has(&peer(last)) && receipts.peers().all(|other| other != peer(last)));
        assert!(receipts.forget(&peer(0)) && !receipts.forget(&peer(0)));
        assert!(!receipts.has(&peer(0)));
        assert!(receipts.note(peer(last), id(0), READ));
        assert!(receipts.has(&peer(last)));
    }
}
