//! Who is told of what without asking.

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::Push;

use super::sessions::Due;
use super::{Caller, Output, Registry};

impl Registry {
    /// The next push for a watching connection, made from the state of now.
    pub fn poll_push(&mut self, caller: &Caller, now: Timestamp) -> Option<Push> {
        if !self.is_connected(caller) {
            return None;
        }
        while let Some(due) = self.sessions.pop_due(&caller.id) {
            match due {
                Due::Grant(from) => {
                    if let Some(push) = self.grant_push(from, caller.id) {
                        return Some(push);
                    }
                }
                Due::Peer(peer) => return Some(self.peer_push(caller.id, peer, now)),
                Due::CaughtUp => return Some(Push::CaughtUp),
            }
        }
        None
    }

    pub(super) fn on_watch(&mut self, id: NodeId, now: Timestamp) {
        let grants = self.ledger.waiting_for(&id).map(Due::Grant);
        let peers = self
            .ledger
            .granted_by(&id)
            .filter(|peer| self.ledger.is_mutual(&id, peer, now))
            .filter(|peer| self.directory.get(peer).is_some())
            .map(Due::Peer);
        let due: Vec<Due> = grants.chain(peers).chain([Due::CaughtUp]).collect();
        if let Some(connection) = self.sessions.watch(&id, due) {
            self.outputs.push_back(Output::Wake(connection));
        }
    }

    /// Lets everybody who is mutually trusted with `id` know that it changed.
    pub(super) fn tell_trusted(&mut self, id: NodeId, now: Timestamp) {
        let trusted: Vec<NodeId> = self
            .ledger
            .granted_by(&id)
            .filter(|peer| self.ledger.is_mutual(&id, peer, now))
            .collect();
        for peer in trusted {
            self.tell(peer, Due::Peer(id));
        }
    }

    pub(super) fn tell(&mut self, to: NodeId, due: Due) {
        if let Some(connection) = self.sessions.tell(&to, due) {
            self.outputs.push_back(Output::Wake(connection));
        }
    }

    fn grant_push(&self, from: NodeId, to: NodeId) -> Option<Push> {
        let grant = self.ledger.waiting(&from, &to)?.clone();
        let issuer = self.directory.get(&from)?;
        let address = self.directory.address(issuer.number);
        Some(Push::Grant { grant, address, name: issuer.name.clone() })
    }

    fn peer_push(&self, watching: NodeId, peer: NodeId, now: Timestamp) -> Push {
        match self.directory.get(&peer) {
            Some(node) if self.ledger.is_mutual(&watching, &peer, now) => {
                Push::Peer(self.record(peer, node, now))
            }
            Some(_) | None => Push::Hidden(peer),
        }
    }
}
