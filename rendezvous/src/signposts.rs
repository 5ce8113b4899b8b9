//! Which beacons nodes are told of, and the tickets that let them in there.

use std::sync::Arc;
use std::time::Duration;

use pilot_identity::{NodeId, NodeKey, Ticket, Timestamp};
use pilot_proto::registry::{Answer, Beacon};

/// How long a ticket lets a node in. Nodes ask again after half of it, so a
/// beacon outlives a rendezvous that is down for half a day; a node that
/// released its address is let in for no longer than this.
const TICKET_LIFE: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(crate) struct Signposts {
    key: Arc<NodeKey>,
    beacons: Vec<Beacon>,
}

impl Signposts {
    /// Points at `beacons`, at most [`MAX_BEACONS`](pilot_proto::registry::MAX_BEACONS);
    /// `key` is that of the rendezvous.
    pub(crate) const fn new(key: Arc<NodeKey>, beacons: Vec<Beacon>) -> Self {
        Self { key, beacons }
    }

    /// For a registered node.
    pub(crate) fn answer(&self, node: NodeId, now: Timestamp) -> Answer {
        let ticket = Ticket { node, expires: now.saturating_add(TICKET_LIFE) };
        Answer::Beacons { beacons: self.beacons.clone(), ticket: ticket.sign(&self.key) }
    }
}
