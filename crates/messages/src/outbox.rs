//! The sender's half: which messages go to which peer next, and what became of them.
//!
//! A message leaves the machine when it is delivered or has expired; receipts
//! are noted on its record by the shell ([`Note`](crate::Note)).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::MessageId;
use pilot_proto::messages::{MAX_BATCH_TEXT, MessageAnswer, MessageRefusal};

use crate::lane::{Entry, LONGEST_PAUSE, Lane, Way};
use crate::limits::OutboxLimits;
use crate::outgoing::{Batch, NewMessage, Waiting};
use crate::state::Trouble;

/// The longest time that a message may be given to be delivered.
pub const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// For how long beyond its time a message stays `sent` of which nobody knows
/// whether the peer has it: it may be back and tell.
const UNSURE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The sender's machine.
#[derive(Debug)]
pub struct Outbox {
    epoch: u64,
    stamp: u64,
    limits: OutboxLimits,
    lanes: BTreeMap<NodeId, Lane>,
    places: BTreeMap<MessageId, (NodeId, u64)>,
    expiries: BTreeSet<(Timestamp, NodeId, u64)>,
    bytes: u64,
    outputs: VecDeque<OutboxOutput>,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait already.
    #[error("{messages} messages of {bytes} bytes wait to be delivered, which is the limit")]
    Full {
        /// How many.
        messages: usize,
        /// Of how many bytes.
        bytes: u64,
    },
    /// Too many wait for this peer; others may be sent to.
    #[error("{messages} messages of {bytes} bytes wait for {peer}, which is the limit of a peer")]
    PeerFull {
        /// For which.
        peer: NodeId,
        /// How many.
        messages: usize,
        /// Of how many bytes.
        bytes: u64,
    },
    /// There is one with this id.
    #[error("message {id} was sent before")]
    Known {
        /// Which.
        id: MessageId,
    },
}

/// What the shell is to do. All but [`OutboxOutput::Owed`] is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxOutput {
    /// They are about to be handed to the peer's stream.
    Sent(Vec<MessageId>),
    /// They were not taken, and wait again.
    Requeued(Vec<MessageId>),
    /// They are on the peer's disk.
    Delivered(Vec<MessageId>),
    /// They were not delivered within their time.
    Expired(Vec<MessageId>),
    /// The count to a peer begins anew.
    Renewed {
        /// Which.
        peer: NodeId,
        /// How often it did so.
        renewals: u64,
    },
    /// There is something to send to a peer.
    Owed(NodeId),
}

impl Outbox {
    /// One that counts since `epoch`, and whose stamps begin after `stamp`.
    #[must_use]
    pub const fn new(epoch: u64, stamp: u64, limits: OutboxLimits) -> Self {
        Self {
            epoch,
            stamp,
            limits,
            lanes: BTreeMap::new(),
            places: BTreeMap::new(),
            expiries: BTreeSet::new(),
            bytes: 0,
            outputs: VecDeque::new(),
        }
    }

    /// The number that was last given to a message for `peer`, and how often the
    /// count to it was renewed.
    pub fn restore_peer(&mut self, peer: NodeId, last_seq: u64, renewals: u64) {
        let lane = self.lanes.entry(peer).or_default();
        lane.last_seq = lane.last_seq.max(last_seq);
        lane.renewals = renewals;
    }

    /// A message that is not delivered yet.
    pub fn restore(&mut self, waiting: Waiting) {
        let Waiting { message, seq, sent } = waiting;
        self.enter(&message, seq, sent);
    }

    fn enter(&mut self, message: &NewMessage, seq: u64, sent: bool) {
        let NewMessage { id, to, bytes, expires } = *message;
        let lane = self.lanes.entry(to).or_default();
        lane.last_seq = lane.last_seq.max(seq);
        lane.waiting.insert(seq, Entry { id, bytes, expires, sent });
        self.places.insert(id, (to, seq));
        self.expiries.insert((expires, to, seq));
        lane.bytes += u64::from(bytes);
        self.bytes += u64::from(bytes);
    }

    /// Takes a message; its number.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; nothing has changed then.
    pub fn submit(&mut self, message: &NewMessage) -> Result<u64, SubmitError> {
        if self.places.contains_key(&message.id) {
            return Err(SubmitError::Known { id: message.id });
        }
        let bytes = self.bytes.saturating_add(message.bytes.into());
        if self.places.len() >= self.limits.messages || bytes > self.limits.bytes {
            return Err(SubmitError::Full { messages: self.places.len(), bytes: self.bytes });
        }
        let (last, messages, bytes) = self
            .lanes
            .get(&message.to)
            .map_or((0, 0, 0), |lane| (lane.last_seq, lane.waiting.len(), lane.bytes));
        if messages >= self.limits.messages_per_peer
            || bytes.saturating_add(message.bytes.into()) > self.limits.bytes_per_peer
        {
            return Err(SubmitError::PeerFull { peer: message.to, messages, bytes });
        }
        let seq = last.saturating_add(1);
        self.enter(message, seq, false);
        self.outputs.push_back(OutboxOutput::Owed(message.to));
        Ok(seq)
    }

    /// Whether it waits to be delivered.
    #[must_use]
    pub fn knows(&self, id: &MessageId) -> bool {
        self.places.contains_key(id)
    }

    /// How many wait, for all peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Why the messages to a peer wait, if it said so.
    #[must_use]
    pub fn trouble(&self, peer: &NodeId) -> Option<Trouble> {
        self.lanes.get(peer)?.trouble
    }

    /// Whether there is a batch for `peer` now.
    #[must_use]
    pub fn has_owed(&self, peer: &NodeId) -> bool {
        self.lanes.get(peer).is_some_and(Lane::has_owed)
    }

    /// The peers for which there is a batch.
    pub fn owed(&self) -> impl Iterator<Item = NodeId> {
        self.lanes.iter().filter(|(_, lane)| lane.has_owed()).map(|(peer, _)| *peer)
    }

    /// The peers for which something waits.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.lanes.iter().filter(|(_, lane)| !lane.waiting.is_empty()).map(|(peer, _)| *peer)
    }

    /// What goes to `peer` next, if anything does. It is on its way from now on;
    /// one whose time is over is not among it.
    pub fn next_batch(&mut self, peer: &NodeId, now: Timestamp) -> Option<Batch> {
        self.expire(now);
        let lane = self.lanes.get_mut(peer).filter(|lane| lane.has_owed())?;
        self.stamp = self.stamp.saturating_add(1);
        let (epoch, stamp) = (self.epoch.wrapping_add(lane.renewals), self.stamp);
        let asks = lane.is_unsure();
        let mut messages = Vec::new();
        if !asks {
            let mut bytes = 0;
            for (seq, entry) in lane.waiting.iter_mut().take(lane.window) {
                bytes += usize::try_from(entry.bytes).unwrap_or(usize::MAX);
                if bytes > MAX_BATCH_TEXT && !messages.is_empty() {
                    break;
                }
                entry.sent = true;
                messages.push((*seq, entry.id));
            }
            let ids = messages.iter().map(|(_, id)| *id).collect();
            self.outputs.push_back(OutboxOutput::Sent(ids));
        }
        let count = messages.len();
        lane.way = Way::InFlight { stamp, asks, count, trust_changed: false };
        Some(Batch { epoch, stamp, messages })
    }

    /// The peer answered a batch.
    pub fn handle_answer(
        &mut self,
        peer: NodeId,
        stamp: u64,
        answer: MessageAnswer,
        now: Timestamp,
    ) {
        let (upto, refusal) = match answer {
            MessageAnswer::Delivered { upto, refusal } => (upto, refusal),
            MessageAnswer::Refused(refusal) => (0, Some(refusal)),
            MessageAnswer::Noted => return self.handle_link_failed(peer, stamp),
        };
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        let Way::InFlight { stamp: due, asks, .. } = lane.way else { return };
        if due != stamp {
            return;
        }
        let sent = lane.waiting.iter().take_while(|(_, entry)| entry.sent);
        let arrived: Vec<u64> = sent.map(|(seq, _)| *seq).take_while(|seq| *seq <= upto).collect();
        if refusal == Some(MessageRefusal::Stale) || upto > lane.last_seq {
            // It knows of more than this disk: that of a backup, or of a copy. Its
            // numbers say nothing of ours, so we count anew. What it still has it
            // knows by its id.
            lane.renewals = lane.renewals.saturating_add(1);
            lane.refused(Trouble::PeerFailed, false, now);
            let renewals = lane.renewals;
            self.outputs.push_back(OutboxOutput::Renewed { peer, renewals });
            return;
        }
        if asks && matches!(answer, MessageAnswer::Refused(_)) {
            // It did not say what it has: they are as uncertain as before.
            lane.refused(refusal.map_or(Trouble::PeerFailed, Trouble::from), false, now);
            return;
        }
        let progress = !arrived.is_empty();
        // What was sent and is not there will not get there any more: a later
        // stamp has been answered.
        let mut requeued = Vec::new();
        for (seq, entry) in
            lane.waiting.iter_mut().skip(arrived.len()).take_while(|(_, entry)| entry.sent)
        {
            entry.sent = false;
            requeued.push(entry.id);
            self.expiries.remove(&(entry.expires.saturating_add(UNSURE), peer, *seq));
            self.expiries.insert((entry.expires, peer, *seq));
        }
        match refusal {
            Some(refusal) => lane.refused(refusal.into(), progress, now),
            // It had all of them and took none.
            None if !asks && !requeued.is_empty() => {
                lane.refused(Trouble::PeerFailed, progress, now);
            }
            None => lane.open(asks),
        }
        let delivered = self.take_out(peer, &arrived);
        if !delivered.is_empty() {
            self.outputs.push_back(OutboxOutput::Delivered(delivered));
        }
        if !requeued.is_empty() {
            self.outputs.push_back(OutboxOutput::Requeued(requeued));
        }
        self.expire(now);
        self.tell_if_owed(peer);
    }

    /// The link broke before a batch was answered, or the answer did not come.
    /// What is sent again goes in smaller batches.
    pub fn handle_link_failed(&mut self, peer: NodeId, stamp: u64) {
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        if let Way::InFlight { stamp: due, count, .. } = lane.way
            && due == stamp
        {
            lane.failed(count);
        }
    }

    /// The peer says that it has room again.
    pub fn handle_room(&mut self, peer: NodeId, now: Timestamp) {
        if self.lanes.get_mut(&peer).is_some_and(|lane| lane.resume(now)) {
            self.tell_if_owed(peer);
        }
    }

    /// Trust with the peer changed: what it did not let us do is tried again.
    pub fn handle_trust_changed(&mut self, peer: NodeId) {
        if self.lanes.get_mut(&peer).is_some_and(Lane::trust_changed) {
            self.tell_if_owed(peer);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.expire(now);
        let latest = now.saturating_add(LONGEST_PAUSE);
        let mut over = Vec::new();
        for (peer, lane) in &mut self.lanes {
            // One that ends later than any pause begun by now could: the clock
            // was set back.
            if let Way::Paused(until) = lane.way
                && (until <= now || until > latest)
            {
                lane.way = Way::Open;
                over.push(*peer);
            }
        }
        for peer in over {
            self.tell_if_owed(peer);
        }
    }

    /// When [`Outbox::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let pauses = self.lanes.values().filter_map(|lane| match lane.way {
            Way::Paused(until) if !lane.waiting.is_empty() => Some(until),
            Way::Paused(_) | Way::Open | Way::InFlight { .. } | Way::Blocked => None,
        });
        pauses.chain(self.expiries.first().map(|(at, ..)| *at)).min()
    }

    /// What is to be done, in order.
    pub fn poll_output(&mut self) -> Option<OutboxOutput> {
        self.outputs.pop_front()
    }

    /// Ends what is over its time. One that the peer may have is only known to
    /// have failed when the peer has said so, or has been away for very long.
    fn expire(&mut self, now: Timestamp) {
        let mut expired = Vec::new();
        while let Some(&(at, peer, seq)) = self.expiries.first()
            && at <= now
        {
            self.expiries.remove(&(at, peer, seq));
            let Some(lane) = self.lanes.get_mut(&peer) else { continue };
            let Some(entry) = lane.waiting.get(&seq) else { continue };
            let last = entry.expires.saturating_add(UNSURE);
            if entry.sent && now < last {
                self.expiries.insert((last, peer, seq));
                continue;
            }
            expired.extend(self.take_out(peer, &[seq]));
        }
        if !expired.is_empty() {
            self.outputs.push_back(OutboxOutput::Expired(expired));
        }
    }

    /// Removes messages of a peer; their ids.
    fn take_out(&mut self, peer: NodeId, seqs: &[u64]) -> Vec<MessageId> {
        let Some(lane) = self.lanes.get_mut(&peer) else { return Vec::new() };
        let mut ids = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let Some(entry) = lane.waiting.remove(seq) else { continue };
            self.expiries.remove(&(entry.expires, peer, *seq));
            self.expiries.remove(&(entry.expires.saturating_add(UNSURE), peer, *seq));
            self.places.remove(&entry.id);
            lane.bytes = lane.bytes.saturating_sub(entry.bytes.into());
            self.bytes = self.bytes.saturating_sub(entry.bytes.into());
            ids.push(entry.id);
        }
        if lane.waiting.is_empty() {
            lane.trouble = None;
        }
        ids
    }

    fn tell_if_owed(&mut self, peer: NodeId) {
        if self.has_owed(&peer) {
            self.outputs.push_back(OutboxOutput::Owed(peer));
        }
    }
}

#[cfg(test)]
mod tests;
