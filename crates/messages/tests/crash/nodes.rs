//! The two nodes: a machine each, and what is on its disk.

use std::collections::BTreeMap;

use pilot_identity::{NodeId, NodeKey, Timestamp};
use pilot_messages::{
    Filter, Inbox, InboxLimits, InboxOutput, Kept, NewMessage, Note, Outbox, OutboxLimits,
    OutboxOutput, Waiting,
};
use pilot_proto::MessageId;
use pilot_proto::messages::Deliver;
use zeroize::Zeroizing;

/// Messages that the receiver's inbox holds.
const ROOM: usize = 5;

fn node(seed: u8) -> NodeId {
    NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SentRow {
    pub(crate) message: NewMessage,
    pub(crate) sent: bool,
    pub(crate) delivered: bool,
    pub(crate) expired: bool,
    pub(crate) read: bool,
    pub(crate) acked: bool,
}

pub(crate) struct Sender {
    pub(crate) outbox: Outbox,
    run: u64,
    /// On disk, by number.
    pub(crate) rows: BTreeMap<u64, SentRow>,
}

impl Sender {
    pub(crate) fn new() -> Self {
        let outbox = Outbox::new(7, 1 << 32, OutboxLimits::default());
        Self { outbox, run: 1, rows: BTreeMap::new() }
    }

    pub(crate) fn receiver() -> NodeId {
        node(2)
    }

    pub(crate) fn submit(&mut self, id: MessageId, expires: Timestamp) {
        let message = NewMessage { id, to: Self::receiver(), bytes: 10, expires };
        let seq = self.outbox.submit(&message).unwrap();
        let row = SentRow {
            message,
            sent: false,
            delivered: false,
            expired: false,
            read: false,
            acked: false,
        };
        self.rows.insert(seq, row);
        self.commit();
    }

    /// Writes what the machine decided.
    pub(crate) fn commit(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            let rows = &mut self.rows;
            let mut each = |ids: Vec<MessageId>, change: fn(&mut SentRow)| {
                for id in ids {
                    change(rows.values_mut().find(|row| row.message.id == id).unwrap());
                }
            };
            match output {
                OutboxOutput::Sent(ids) => each(ids, |row| row.sent = true),
                OutboxOutput::Requeued(ids) => each(ids, |row| row.sent = false),
                OutboxOutput::Delivered(ids) => each(ids, |row| row.delivered = true),
                OutboxOutput::Expired(ids) => each(ids, |row| row.expired = true),
                // There is no copy of this disk.
                OutboxOutput::Renewed { .. } => unreachable!(),
                OutboxOutput::Owed(_) => {}
            }
        }
    }

    /// Takes everything but the disk away.
    pub(crate) fn crash(&mut self) {
        self.run += 1;
        self.outbox = Outbox::new(7, self.run << 32, OutboxLimits::default());
        let last = self.rows.keys().next_back().copied().unwrap_or_default();
        self.outbox.restore_peer(Self::receiver(), last, 0);
        for (seq, row) in self.rows.iter().filter(|(_, row)| !row.delivered && !row.expired) {
            self.outbox.restore(Waiting { message: row.message, seq: *seq, sent: row.sent });
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    id: MessageId,
    read: Option<Timestamp>,
    acked: bool,
}

pub(crate) struct Receiver {
    pub(crate) inbox: Inbox,
    /// On disk, by their places.
    rows: BTreeMap<u64, Row>,
    upto: (u64, u64),
    receipts: BTreeMap<MessageId, Note>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        let (rows, receipts) = (BTreeMap::new(), BTreeMap::new());
        Self { inbox: Self::empty(0), rows, upto: (0, 0), receipts }
    }

    pub(crate) fn sender() -> NodeId {
        node(1)
    }

    fn empty(last: u64) -> Inbox {
        let limits = InboxLimits { messages: ROOM, ..InboxLimits::default() };
        Inbox::new(limits, last)
    }

    /// Writes what the machine decided.
    pub(crate) fn commit(&mut self, taken: &[(u64, MessageId)]) {
        for (order, id) in taken {
            let before = self.rows.insert(*order, Row { id: *id, read: None, acked: false });
            assert!(before.is_none(), "two messages have one place");
        }
        while let Some(output) = self.inbox.poll_output() {
            match output {
                InboxOutput::Accepted { epoch, upto, .. } => self.upto = (epoch, upto),
                InboxOutput::Read { orders, at } => {
                    for order in orders {
                        self.rows.get_mut(&order).unwrap().read = Some(at);
                    }
                }
                InboxOutput::Acked { orders, at } => {
                    for order in orders {
                        let row = self.rows.get_mut(&order).unwrap();
                        row.acked = true;
                        row.read.get_or_insert(at);
                    }
                }
                InboxOutput::ReceiptOwed { id, note, .. } => {
                    self.receipts.insert(id, note);
                }
                InboxOutput::ReceiptTold { id, .. } => {
                    self.receipts.remove(&id);
                }
                // Trust does not end here.
                InboxOutput::ReceiptsDropped(_) => unreachable!(),
                InboxOutput::Owed(_) => {}
            }
        }
        let orders: Vec<u64> = taken.iter().map(|(order, _)| *order).collect();
        self.inbox.handle_persisted(&orders);
    }

    /// Decides; the ids of what it takes.
    pub(crate) fn decide(
        &mut self,
        deliver: &Deliver,
    ) -> (pilot_proto::messages::MessageAnswer, Vec<(u64, MessageId)>) {
        let verdict = self.inbox.handle_deliver(Self::sender(), deliver, true);
        let taken = verdict.taken.iter();
        let taken = taken.map(|taken| (taken.order, deliver.messages[taken.index].id));
        (verdict.answer, taken.collect())
    }

    pub(crate) fn crash(&mut self) {
        let last = self.rows.keys().next_back().copied().unwrap_or_default();
        self.inbox = Self::empty(last);
        self.inbox.restore_peer(Self::sender(), self.upto.0, self.upto.1);
        for (order, row) in self.rows.iter().filter(|(_, row)| !row.acked) {
            let (peer, id) = (Self::sender(), row.id);
            self.inbox.restore(Kept { order: *order, peer, id, bytes: 10, read: row.read });
        }
        for (id, note) in &self.receipts {
            self.inbox.restore_receipt(Self::sender(), *id, *note);
        }
    }

    /// Everything that is shown and not acknowledged.
    pub(crate) fn shown(&self) -> Vec<u64> {
        let all = Filter { unread: false, from: None };
        self.inbox.look(all).map(|kept| kept.order).collect()
    }

    /// Every message that is or was here, in its order.
    pub(crate) fn ids(&self) -> Vec<MessageId> {
        self.rows.values().map(|row| row.id).collect()
    }

    pub(crate) fn state(&self, id: MessageId) -> Option<(bool, bool)> {
        let row = self.rows.values().find(|row| row.id == id)?;
        Some((row.read.is_some(), row.acked))
    }
}
