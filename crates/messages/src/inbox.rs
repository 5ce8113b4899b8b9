//! The receiver's half: what is taken of whom, read, and done with.
//!
//! Holds every message that is not acknowledged; what is, is history, which the
//! shell keeps as long as it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::MessageId;
use pilot_proto::messages::{Deliver, Letter, MAX_MESSAGE_TEXT, MessageAnswer, MessageRefusal};

use crate::limits::InboxLimits;
use crate::receipts::{Note, Receipts};
use crate::verdict::{Taken, Verdict};

/// The receiver's machine.
#[derive(Debug)]
pub struct Inbox {
    limits: InboxLimits,
    peers: BTreeMap<NodeId, Sender>,
    entries: BTreeMap<u64, Entry>,
    places: BTreeSet<(MessageId, u64)>,
    last_order: u64,
    bytes: u64,
    receipts: Receipts,
    outputs: VecDeque<InboxOutput>,
}

/// One of those that send messages here.
#[derive(Debug, Default)]
struct Sender {
    epoch: u64,
    /// The highest number of that epoch that is here.
    upto: u64,
    /// The highest stamp of that epoch in this run.
    stamp: u64,
    messages: usize,
    bytes: u64,
    /// It was refused for want of room, and does not know of any yet.
    refused: bool,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// On disk, so it may be shown.
    durable: bool,
}

/// A message that is here and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the inbox: it grows from message to message.
    pub order: u64,
    /// Who sent it.
    pub peer: NodeId,
    /// Its id, made by the sender.
    pub id: MessageId,
    /// Bytes of its text.
    pub bytes: u32,
    /// When it was read, if it was.
    pub read: Option<Timestamp>,
}

/// Which messages are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Only those that nobody has read.
    pub unread: bool,
    /// Only those of this sender.
    pub from: Option<NodeId>,
}

/// What the shell is to do. All but [`InboxOutput::Owed`] is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxOutput {
    /// How far a sender is.
    Accepted {
        /// Who.
        peer: NodeId,
        /// In which epoch.
        epoch: u64,
        /// Up to which number.
        upto: u64,
    },
    /// They were read.
    Read {
        /// See [`Kept::order`].
        orders: Vec<u64>,
        /// When.
        at: Timestamp,
    },
    /// They were acknowledged; those that nobody had read are read with it.
    Acked {
        /// See [`Kept::order`].
        orders: Vec<u64>,
        /// When.
        at: Timestamp,
    },
    /// A sender is to be told.
    ReceiptOwed {
        /// Whose message.
        peer: NodeId,
        /// Which.
        id: MessageId,
        /// What.
        note: Note,
    },
    /// It knows.
    ReceiptTold {
        /// Whose message.
        peer: NodeId,
        /// Which.
        id: MessageId,
        /// What.
        note: Note,
    },
    /// What a sender was to be told, it is not told any more.
    ReceiptsDropped(NodeId),
    /// There is something to say to a peer.
    Owed(NodeId),
}

impl Inbox {
    /// An empty one. `last_order` is the highest order that was ever given.
    #[must_use]
    pub fn new(limits: InboxLimits, last_order: u64) -> Self {
        Self {
            limits,
            peers: BTreeMap::new(),
            entries: BTreeMap::new(),
            places: BTreeSet::new(),
            last_order,
            bytes: 0,
            receipts: Receipts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// How far a sender was.
    pub fn restore_peer(&mut self, peer: NodeId, epoch: u64, upto: u64) {
        let sender = self.peers.entry(peer).or_default();
        (sender.epoch, sender.upto) = (epoch, upto);
    }

    /// A message that is not acknowledged.
    pub fn restore(&mut self, kept: Kept) {
        self.enter(kept, true);
    }

    /// What a sender is to be told.
    pub fn restore_receipt(&mut self, peer: NodeId, id: MessageId, note: Note) {
        self.receipts.note(peer, id, note);
    }

    /// Takes over what `before` knew in this run and is on no disk. For a machine
    /// that replaces one whose commit failed.
    pub fn follow(&mut self, before: &Self) {
        for (peer, was) in &before.peers {
            let sender = self.peers.entry(*peer).or_default();
            sender.refused = was.refused;
            sender.stamp = was.stamp;
            if sender.epoch != was.epoch {
                // Nothing of that epoch is on disk, but it may have been asked about.
                (sender.epoch, sender.upto) = (was.epoch, 0);
            }
        }
    }

    fn enter(&mut self, kept: Kept, durable: bool) {
        let Kept { order, peer, id, bytes, .. } = kept;
        let sender = self.peers.entry(peer).or_default();
        sender.messages += 1;
        sender.bytes += u64::from(bytes);
        self.bytes += u64::from(bytes);
        self.last_order = self.last_order.max(order);
        self.places.insert((id, order));
        self.entries.insert(order, Entry { kept, durable });
    }

    /// A peer hands over messages, or asks which of them are here. `may` is
    /// whether it may send any.
    pub fn handle_deliver(&mut self, peer: NodeId, deliver: &Deliver, may: bool) -> Verdict {
        let refused =
            |refusal| Verdict { answer: MessageAnswer::Refused(refusal), taken: Vec::new() };
        if !deliver.is_valid() {
            return refused(MessageRefusal::Invalid);
        }
        if !may && !deliver.messages.is_empty() {
            return refused(MessageRefusal::NotAllowed);
        }
        let sender = self.peers.entry(peer).or_default();
        if sender.epoch != deliver.epoch {
            (sender.epoch, sender.upto, sender.stamp) = (deliver.epoch, 0, 0);
        }
        if deliver.stamp <= sender.stamp {
            return refused(MessageRefusal::Stale);
        }
        sender.stamp = deliver.stamp;
        let mut upto = sender.upto;
        let mut taken = Vec::new();
        let mut refusal = None;
        for (index, letter) in deliver.messages.iter().enumerate() {
            if letter.seq <= upto {
                continue;
            }
            // A sender that lost its numbers may send what is here.
            if !self.of(letter.id).any(|(_, entry)| entry.kept.peer == peer) {
                if !self.has_room(peer, length(letter)) {
                    refusal = Some(MessageRefusal::InboxFull);
                    self.peers.entry(peer).or_default().refused = true;
                    break;
                }
                let order = self.last_order.saturating_add(1);
                let bytes = length(letter);
                self.enter(Kept { order, peer, id: letter.id, bytes, read: None }, false);
                taken.push(Taken { index, order });
            }
            upto = letter.seq;
        }
        let sender = self.peers.entry(peer).or_default();
        if sender.upto != upto {
            sender.upto = upto;
            let epoch = sender.epoch;
            self.outputs.push_back(InboxOutput::Accepted { peer, epoch, upto });
        }
        Verdict { answer: MessageAnswer::Delivered { upto, refusal }, taken }
    }

    /// What was taken is on disk.
    pub fn handle_persisted(&mut self, orders: &[u64]) {
        for order in orders {
            if let Some(entry) = self.entries.get_mut(order) {
                entry.durable = true;
            }
        }
    }

    /// The messages that are not acknowledged, oldest first.
    pub fn look(&self, filter: Filter) -> impl Iterator<Item = &Kept> {
        let Filter { unread, from } = filter;
        self.entries
            .values()
            .filter(|entry| entry.durable)
            .map(|entry| &entry.kept)
            .filter(move |kept| !unread || kept.read.is_none())
            .filter(move |kept| from.is_none_or(|from| from == kept.peer))
    }

    /// How many nobody has read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.look(Filter { unread: true, from: None }).count()
    }

    /// How many are not acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Somebody reads them.
    pub fn read(&mut self, orders: &[u64], now: Timestamp) {
        let mut read = Vec::new();
        for order in orders {
            let Some(entry) = self.entries.get_mut(order) else { continue };
            if entry.kept.read.is_none() {
                entry.kept.read = Some(now);
                read.push(*order);
                let Kept { peer, id, .. } = entry.kept;
                self.note(peer, id, Note { read: now, acked: None });
            }
        }
        if !read.is_empty() {
            self.outputs.push_back(InboxOutput::Read { orders: read, at: now });
        }
    }

    /// The messages with this id that are shown and not acknowledged: one, unless
    /// two senders gave the same.
    #[must_use]
    pub fn find(&self, id: MessageId) -> Vec<u64> {
        let found = self.of(id).filter(|(_, entry)| entry.durable);
        found.map(|(order, _)| order).collect()
    }

    /// Everything with this id, oldest first.
    fn of(&self, id: MessageId) -> impl Iterator<Item = (u64, &Entry)> {
        let found = self.places.range((id, 0)..=(id, u64::MAX));
        found.filter_map(|(_, order)| Some((*order, self.entries.get(order)?)))
    }

    /// Somebody is done with them.
    pub fn ack(&mut self, orders: &[u64], now: Timestamp) {
        let mut acked = Vec::new();
        for order in orders {
            let Some(Entry { kept, .. }) = self.entries.remove(order) else { continue };
            let Kept { peer, id, bytes, read, .. } = kept;
            self.places.remove(&(id, *order));
            self.bytes = self.bytes.saturating_sub(bytes.into());
            if let Some(sender) = self.peers.get_mut(&peer) {
                sender.messages = sender.messages.saturating_sub(1);
                sender.bytes = sender.bytes.saturating_sub(bytes.into());
            }
            acked.push(*order);
            self.note(peer, id, Note { read: read.unwrap_or(now), acked: Some(now) });
        }
        if acked.is_empty() {
            return;
        }
        self.outputs.push_back(InboxOutput::Acked { orders: acked, at: now });
        let refused = self.peers.keys().copied().filter(|peer| self.owes_room(peer));
        let refused: Vec<NodeId> = refused.collect();
        self.outputs.extend(refused.into_iter().map(InboxOutput::Owed));
    }

    fn note(&mut self, peer: NodeId, id: MessageId, note: Note) {
        if self.receipts.note(peer, id, note) {
            self.outputs.push_back(InboxOutput::ReceiptOwed { peer, id, note });
            self.outputs.push_back(InboxOutput::Owed(peer));
        }
    }

    /// Whether something is to be said to `peer` about its messages.
    #[must_use]
    pub fn has_owed(&self, peer: &NodeId) -> bool {
        self.receipts.has(peer) || self.owes_room(peer)
    }

    /// The peers to which something is to be said.
    pub fn owed(&self) -> impl Iterator<Item = NodeId> {
        self.receipts.peers().chain(self.peers.keys().copied().filter(|id| self.owes_room(id)))
    }

    /// What `peer` is to be told of its messages next; empty if nothing.
    #[must_use]
    pub fn next_receipts(&self, peer: &NodeId) -> Vec<(MessageId, Note)> {
        self.receipts.next(peer)
    }

    /// It knows.
    pub fn handle_noted(&mut self, peer: NodeId, notes: &[(MessageId, Note)]) {
        for (id, note) in notes {
            if self.receipts.told(&peer, id, *note) {
                let (id, note) = (*id, *note);
                self.outputs.push_back(InboxOutput::ReceiptTold { peer, id, note });
            }
        }
    }

    /// There is no trust with `peer` any more: it is told nothing of what was read.
    pub fn handle_trust_ended(&mut self, peer: NodeId) {
        if self.receipts.forget(&peer) {
            self.outputs.push_back(InboxOutput::ReceiptsDropped(peer));
        }
    }

    /// Whether `peer` waits for room and there is some.
    #[must_use]
    pub fn owes_room(&self, peer: &NodeId) -> bool {
        let largest = u32::try_from(MAX_MESSAGE_TEXT).unwrap_or(u32::MAX);
        self.peers.get(peer).is_some_and(|sender| sender.refused) && self.has_room(*peer, largest)
    }

    /// It was told, or will find out by itself.
    pub fn handle_room_told(&mut self, peer: &NodeId) {
        if let Some(sender) = self.peers.get_mut(peer) {
            sender.refused = false;
        }
    }

    /// What is to be done, in order.
    pub fn poll_output(&mut self) -> Option<InboxOutput> {
        self.outputs.pop_front()
    }

    fn has_room(&self, peer: NodeId, bytes: u32) -> bool {
        let (messages, of_peer) =
            self.peers.get(&peer).map_or((0, 0), |sender| (sender.messages, sender.bytes));
        let limits = &self.limits;
        self.entries.len() < limits.messages
            && messages < limits.messages_per_peer
            && self.bytes.saturating_add(bytes.into()) <= limits.bytes
            && of_peer.saturating_add(bytes.into()) <= limits.bytes_per_peer
    }
}

fn length(letter: &Letter) -> u32 {
    u32::try_from(letter.text.as_str().len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
