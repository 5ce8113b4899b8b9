//! What senders are still to be told about their messages.

use std::collections::BTreeMap;

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::MessageId;
use pilot_proto::messages::{MAX_RECEIPTS, Receipt};

/// Receipts that are kept for senders that are away. Beyond it no new ones are
/// made: those messages stay `delivered` at their senders.
pub const MAX_RECEIPTS_KEPT: usize = 100_000;

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
        let of_peer = self.owed.entry(peer).or_default();
        if !of_peer.contains_key(&id) {
            if self.count >= MAX_RECEIPTS_KEPT {
                return false;
            }
            self.count += 1;
        }
        of_peer.insert(id, note);
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
        self.owed.contains_key(peer)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.owed.keys().copied()
    }
}
