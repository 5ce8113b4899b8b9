//! The two machines over one set of tables.

use std::collections::BTreeSet;

use pilot_identity::{NodeId, Timestamp};
use pilot_messages::{Inbox, InboxLimits, InboxOutput, Outbox, OutboxLimits, OutboxOutput};
use pilot_proto::MessageId;
use pilot_store::{Batch, Epoch, Store};

use crate::store::{inbox, messages, meta};

/// Stamps of one run: peers are not sent more batches before the daemon restarts.
const STAMPS: u64 = 1 << 32;

/// Both halves, as they are on disk or about to be.
pub(super) struct Desk {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// What this turn took into the inbox.
    pub(super) taken: Vec<u64>,
    /// The messages of which this turn learned what became of them.
    pub(super) heard_of: Vec<MessageId>,
    /// Messages that expired in a turn that may not be on disk yet.
    pub(super) expiring: BTreeSet<MessageId>,
    /// Of the rows from which the machines were made.
    pub(super) epoch: Epoch,
    /// The deadline that the clock's driver waits for.
    armed: Option<Timestamp>,
}

/// What is done once a turn is on disk.
pub(super) enum Effect {
    Changed(MessageId),
    Expired(Vec<MessageId>),
    Refused,
    Taken(Vec<u64>),
    Owed(NodeId),
}

/// Why messages cannot be read from disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("messages cannot be read from disk")]
    Read(#[from] pilot_store::ReadError),
    #[error("the system gives no randomness")]
    Random(#[from] getrandom::Error),
}

impl Desk {
    /// The machines as they are on disk. Begins a new run of the epoch; that is
    /// on disk before anything that is committed later.
    pub(super) fn load(store: &Store, limits: InboxLimits) -> Result<Self, LoadError> {
        let epoch = store.epoch();
        let kept = store.read(|connection| meta::get(connection, meta::Key::Messages))?;
        let (since, run) = match kept.as_deref().and_then(parts) {
            Some((since, run)) => (since, run.saturating_add(1)),
            None => (getrandom::u64()?, 1),
        };
        let mut batch = Batch::new(epoch);
        let value = [since.to_be_bytes(), run.to_be_bytes()].concat();
        meta::put(&mut batch, meta::Key::Messages, value);
        // If it is lost, so is everything after it.
        drop(store.commit(batch));

        let first_stamp = run.saturating_mul(STAMPS);
        let mut outbox = Outbox::new(since, first_stamp, OutboxLimits::default());
        let mut incoming = Inbox::new(limits, store.read(inbox::last_order)?);
        for row in store.read(messages::peers)? {
            outbox.restore_peer(row.peer, row.sent, row.renewals);
            incoming.restore_peer(row.peer, row.epoch, row.upto);
        }
        for waiting in store.read(messages::waiting)? {
            outbox.restore(waiting);
        }
        for kept in store.read(inbox::open)? {
            incoming.restore(kept);
        }
        for (peer, id, note) in store.read(inbox::receipts)? {
            incoming.restore_receipt(peer, id, note);
        }
        Ok(Self {
            outbox,
            inbox: incoming,
            taken: Vec::new(),
            heard_of: Vec::new(),
            expiring: BTreeSet::new(),
            epoch,
            armed: None,
        })
    }

    /// Takes what the machines decided: what to write, and what to do after that.
    pub(super) fn drain(&mut self, batch: &mut Batch, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(output) = self.outbox.poll_output() {
            let changed = match output {
                OutboxOutput::Sent(ids) => {
                    messages::sent(batch, ids.clone(), now);
                    ids
                }
                OutboxOutput::Requeued(ids) => {
                    messages::requeued(batch, ids.clone());
                    effects.push(Effect::Refused);
                    ids
                }
                OutboxOutput::Delivered(ids) => {
                    messages::delivered(batch, ids.clone(), now);
                    ids
                }
                OutboxOutput::Expired(ids) => {
                    messages::expired(batch, ids.clone(), now);
                    self.expiring.extend(&ids);
                    effects.push(Effect::Expired(ids.clone()));
                    ids
                }
                OutboxOutput::Renewed { peer, renewals } => {
                    messages::renewed(batch, peer, renewals);
                    Vec::new()
                }
                OutboxOutput::Owed(peer) => {
                    effects.push(Effect::Owed(peer));
                    Vec::new()
                }
            };
            effects.extend(changed.into_iter().map(Effect::Changed));
        }
        while let Some(output) = self.inbox.poll_output() {
            match output {
                InboxOutput::Accepted { peer, epoch, upto } => {
                    messages::accepted(batch, peer, epoch, upto);
                }
                InboxOutput::Read { orders, at } => inbox::read(batch, orders, at),
                InboxOutput::Acked { orders, at } => inbox::acked(batch, orders, at),
                InboxOutput::ReceiptOwed { peer, id, note } => inbox::owe(batch, peer, id, note),
                InboxOutput::ReceiptTold { peer, id, note } => inbox::told(batch, peer, id, note),
                InboxOutput::ReceiptsDropped(peer) => inbox::dropped(batch, peer),
                InboxOutput::Owed(peer) => effects.push(Effect::Owed(peer)),
            }
        }
        if !self.taken.is_empty() {
            effects.push(Effect::Taken(std::mem::take(&mut self.taken)));
        }
        effects.extend(std::mem::take(&mut self.heard_of).into_iter().map(Effect::Changed));
        effects
    }

    pub(super) fn has_owed(&self, peer: &NodeId) -> bool {
        self.outbox.has_owed(peer) || self.inbox.has_owed(peer)
    }

    /// Everybody to whom something is to be sent.
    pub(super) fn peers_owed(&self) -> Vec<NodeId> {
        let mut peers: Vec<NodeId> = self.outbox.owed().chain(self.inbox.owed()).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// The next deadline, which is waited for from now on.
    pub(super) fn arm(&mut self) -> Option<Timestamp> {
        self.armed = self.outbox.next_deadline();
        self.armed
    }

    /// Whether a deadline comes before the one that is waited for.
    pub(super) fn deadline_is_nearer(&self) -> bool {
        match (self.outbox.next_deadline(), self.armed) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

fn parts(value: &[u8]) -> Option<(u64, u64)> {
    let (since, run) = value.split_first_chunk::<8>()?;
    let run = <[u8; 8]>::try_from(run).ok()?;
    Some((u64::from_be_bytes(*since), u64::from_be_bytes(run)))
}
