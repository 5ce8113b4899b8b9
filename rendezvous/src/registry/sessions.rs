//! Which registered nodes are connected, and what each is still to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pilot_identity::NodeId;
use pilot_proto::BootId;

/// One connection of this run of the rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// One thing that a watching node is to be told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The grant of this issuer.
    Grant(NodeId),
    /// This peer's presence.
    Peer(NodeId),
    /// That all before this was pushed.
    CaughtUp,
}

/// What the start of a session changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    /// The node was away, comes by another connection, or has restarted.
    pub(super) is_news: bool,
    /// Its connection until now.
    pub(super) replaced: Option<ConnectionId>,
}

#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<NodeId, Session>);

#[derive(Debug)]
struct Session {
    connection: ConnectionId,
    boot: BootId,
    watch: Option<Watch>,
}

/// A queue without repetition, so it is bounded by the number of peers and
/// grants a node has.
#[derive(Debug, Default)]
struct Watch {
    order: VecDeque<Due>,
    queued: BTreeSet<Due>,
}

impl Sessions {
    pub(super) fn start(&mut self, id: NodeId, connection: ConnectionId, boot: BootId) -> Started {
        match self.0.get_mut(&id) {
            Some(session) if session.connection == connection => {
                let is_news = session.boot != boot;
                session.boot = boot;
                Started { is_news, replaced: None }
            }
            before => {
                let replaced = before.map(|session| session.connection);
                self.0.insert(id, Session { connection, boot, watch: None });
                Started { is_news: true, replaced }
            }
        }
    }

    pub(super) fn end(&mut self, id: &NodeId) {
        self.0.remove(id);
    }

    pub(super) fn is_current(&self, id: &NodeId, connection: ConnectionId) -> bool {
        self.0.get(id).is_some_and(|session| session.connection == connection)
    }

    /// The run of the node that is connected.
    pub(super) fn boot(&self, id: &NodeId) -> Option<BootId> {
        self.0.get(id).map(|session| session.boot)
    }

    /// Starts a node's watch afresh with `due`; gives the connection to wake.
    pub(super) fn watch(&mut self, id: &NodeId, due: Vec<Due>) -> Option<ConnectionId> {
        let session = self.0.get_mut(id)?;
        let mut watch = Watch::default();
        for due in due {
            watch.push(due);
        }
        session.watch = Some(watch);
        Some(session.connection)
    }

    pub(super) fn watching(&self) -> Vec<NodeId> {
        let watching = self.0.iter().filter(|(_, session)| session.watch.is_some());
        watching.map(|(id, _)| *id).collect()
    }

    /// Queues `due` if the node watches; gives the connection if it must be
    /// woken, because it had nothing to do until now.
    pub(super) fn tell(&mut self, id: &NodeId, due: Due) -> Option<ConnectionId> {
        let session = self.0.get_mut(id)?;
        let watch = session.watch.as_mut()?;
        let was_idle = watch.order.is_empty();
        watch.push(due);
        was_idle.then_some(session.connection)
    }

    pub(super) fn pop_due(&mut self, id: &NodeId) -> Option<Due> {
        let watch = self.0.get_mut(id)?.watch.as_mut()?;
        let due = watch.order.pop_front()?;
        watch.queued.remove(&due);
        Some(due)
    }

    pub(super) fn retain(&mut self, mut stays: impl FnMut(&NodeId) -> bool) {
        self.0.retain(|id, _| stays(id));
    }
}

impl Watch {
    fn push(&mut self, due: Due) {
        if self.queued.insert(due) {
            self.order.push_back(due);
        }
    }
}
