//! The registry as a pure machine: requests in, answers, records and pushes out.
//!
//! Decides who gets which address and name, what one node may know of
//! another, which grants are kept and passed on, and whose receipts count
//! (how much, decides [`crate::polo`]). It does not know of
//! sockets, disks or clocks: `server` feeds it, `journal` stores its records,
//! and whoever drives it writes every [`Output::Persist`] before it lets an
//! answer or a push out.
//!
//! # What is told to whom
//!
//! A node sees itself, public nodes, and nodes with which trust is mutual:
//! both grants are known here and live. Of any other node it learns that its
//! address is taken (`Resolve`), that its name is (`name_taken`), and the key
//! behind its address (`KeyOf`), without which no grant could name it; the
//! server limits how fast that can be asked. A name or key that is not
//! visible and one that does not exist give the same answer.
//!
//! Pushes are not stored: a watching node has a list of *who* changed, and
//! what is pushed is made from the state at the moment of sending. So a slow
//! reader gets fewer, newer pushes instead of a longer queue.

mod directory;
mod grants;
mod polo;
mod pushes;
mod roster;
mod sessions;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use pilot_identity::{NodeId, SignedGrant, Timestamp};
use pilot_proto::registry::{
    Answer, GrantAcks, Grants, NodeRecord, PutGrant, Refusal, RefusalCode, Register, Registered,
    Request, View,
};
use pilot_proto::text::Text;
use pilot_proto::{Address, MINOR_VERSION, PeerRef};

use crate::polo::{Book, Entry};
use directory::Directory;
pub use directory::Node;
use grants::Ledger;
pub use sessions::ConnectionId;
use sessions::{Due, Sessions};

/// Who asks, over which connection.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The key that the connection has proven.
    pub id: NodeId,
    /// The connection.
    pub connection: ConnectionId,
    /// Where it comes from.
    pub observed: SocketAddr,
    /// Whether UDP reaches it there; a carrier's other end is no endpoint.
    pub over_udp: bool,
}

/// The circumstances under which an input is handled.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The wall clock: it decides which grants are live.
    pub now: Timestamp,
    /// Whether the disk takes new work, or only what shrinks or ends things.
    pub room: bool,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Store this before anything that follows from it is told to anybody.
    Persist(Record),
    /// There is something for [`Registry::poll_push`] on this connection.
    Wake(ConnectionId),
    /// The node has another connection now: close this one.
    Replaced(ConnectionId),
}

/// A change of what is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A node is registered, or its registration changed.
    Node {
        /// Its key.
        id: NodeId,
        /// All of it.
        node: Node,
    },
    /// A node was connected until now.
    Seen {
        /// Its number.
        number: u32,
        /// The end of its connection.
        at: Timestamp,
    },
    /// The node of this number is no more; the number is never given again.
    Released {
        /// The number.
        number: u32,
    },
    /// The newest grant of its pair; it waits for the receiver.
    Grant(SignedGrant),
    /// The grant of this pair does not wait any longer.
    Delivered {
        /// Its issuer.
        from: NodeId,
        /// Its receiver.
        to: NodeId,
    },
    /// What counts as work that was done changed.
    Polo(Entry),
}

/// See the page of the module.
#[derive(Debug)]
pub struct Registry {
    directory: Directory,
    ledger: Ledger,
    sessions: Sessions,
    book: Book,
    outputs: VecDeque<Output>,
}

impl Registry {
    /// An empty registry of `network` that takes up to `max_nodes` keys.
    #[must_use]
    pub fn new(network: u16, max_nodes: u32) -> Self {
        Self {
            directory: Directory::new(network, max_nodes),
            ledger: Ledger::default(),
            sessions: Sessions::default(),
            book: Book::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Puts back a stored node.
    pub fn restore_node(&mut self, id: NodeId, node: Node) {
        self.directory.restore(id, node);
    }

    /// Remembers that `number` was given once.
    pub fn restore_released(&mut self, number: u32) {
        self.directory.restore_released(number);
    }

    /// Puts back a stored grant.
    pub fn restore_grant(&mut self, grant: SignedGrant, waiting: bool) {
        self.ledger.restore(grant, waiting);
    }

    /// Puts back what counts as work that was done.
    pub fn restore_polo(&mut self, entry: &Entry) {
        self.book.apply(entry);
    }

    /// Takes over the connections of `before`, which held decisions that could
    /// not be stored: everything is pushed again to those that watch.
    pub fn take_over(&mut self, before: Self, now: Timestamp) {
        self.sessions = before.sessions;
        self.sessions.retain(|id| self.directory.get(id).is_some());
        for id in self.sessions.watching() {
            self.on_watch(id, now);
        }
    }

    /// How many nodes are registered.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.directory.len()
    }

    /// Whether the caller is registered over this very connection.
    #[must_use]
    pub fn is_connected(&self, caller: &Caller) -> bool {
        self.sessions.is_current(&caller.id, caller.connection)
    }

    /// Handles one request. `None` for what may be answered and is not by this
    /// machine: [`Request::Watch`] by the pushes of [`Registry::poll_push`],
    /// [`Request::Beacons`] by who has the key for a ticket.
    pub fn handle(&mut self, caller: &Caller, request: Request, at: Moment) -> Option<Answer> {
        if !self.is_connected(caller) && !matches!(request, Request::Register(_)) {
            return Some(Answer::Refused(refusal(RefusalCode::NotRegistered, "register first")));
        }
        let answer = match request {
            Request::Register(wanted) => self.on_register(caller, wanted, at),
            Request::Resolve(peer) => self.on_resolve(caller.id, &peer, at.now).map(Answer::Record),
            Request::KeyOf(address) => self.on_key_of(address).map(Answer::Key),
            Request::Roster { after, tag } => {
                Ok(self.on_roster(caller.id, after, tag.as_ref(), at.now))
            }
            Request::PutGrants(grants) => self.on_put_grants(caller.id, &grants, at),
            Request::AckGrants(acks) => Ok(self.on_ack_grants(caller.id, &acks)),
            Request::Watch => {
                self.on_watch(caller.id, at.now);
                return None;
            }
            Request::Release => Ok(self.on_release(caller.id, at.now)),
            Request::Beacons => return None,
            Request::PutReceipts(receipts) => self.on_put_receipts(caller.id, &receipts, at),
            Request::Polo(ids) => Ok(self.on_polo(caller.id, &ids, at.now)),
            Request::PoloOf(id) => self.on_polo_of(caller.id, &id, at.now),
        };
        Some(answer.unwrap_or_else(Answer::Refused))
    }

    /// The connection has ended.
    pub fn handle_disconnect(&mut self, caller: &Caller, at: Moment) {
        if !self.is_connected(caller) {
            return;
        }
        self.sessions.end(&caller.id);
        if let Some(number) = self.directory.seen(&caller.id, at.now)
            && at.room
        {
            self.outputs.push_back(Output::Persist(Record::Seen { number, at: at.now }));
        }
        self.tell_trusted(caller.id, at.now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn on_register(
        &mut self,
        caller: &Caller,
        wanted: Register,
        at: Moment,
    ) -> Result<Answer, Refusal> {
        let known = self.directory.get(&caller.id).is_some();
        if !known && !at.room {
            return Err(refusal(RefusalCode::DiskFull, "the disk of the rendezvous is full"));
        }
        let boot = wanted.boot;
        let observed = caller.over_udp.then_some(caller.observed);
        let Some(change) = self.directory.register(caller.id, wanted, observed, at.now) else {
            return Err(refusal(RefusalCode::NetworkFull, "the network has no free address"));
        };
        let started = self.sessions.start(caller.id, caller.connection, boot);
        if let Some(old) = started.replaced {
            self.outputs.push_back(Output::Replaced(old));
        }
        let Some(node) = self.directory.get(&caller.id) else {
            return Err(refusal(RefusalCode::Internal, "the registration was lost"));
        };
        // Only the time is new: on a full disk that is not worth a write.
        if change.is_visible || (started.is_news && at.room) {
            let record = Record::Node { id: caller.id, node: node.clone() };
            self.outputs.push_back(Output::Persist(record));
        }
        let registered = Registered {
            address: self.directory.address(node.number),
            observed: canonical(caller.observed),
            name: node.name.clone(),
            name_taken: change.name_taken,
            minor: MINOR_VERSION,
            now: at.now,
        };
        if change.is_visible || started.is_news {
            self.tell_trusted(caller.id, at.now);
        }
        if change.is_new {
            // Grants of a node that was away without an address could not be
            // passed on: a push names the issuer's address.
            for to in self.ledger.waiting_from(&caller.id) {
                self.tell(to, Due::Grant(caller.id));
            }
        }
        Ok(Answer::Registered(registered))
    }

    fn on_resolve(&self, asking: NodeId, peer: &PeerRef, now: Timestamp) -> Result<View, Refusal> {
        let found = match peer {
            PeerRef::Address(address) => self.directory.by_address(*address),
            PeerRef::Name(name) => self.directory.by_name(name),
            PeerRef::Key(id) => Some(*id),
        };
        let found = found.and_then(|id| Some((id, self.directory.get(&id)?)));
        match (found, peer) {
            (Some((id, node)), _) if self.sees(asking, id, node, now) => {
                Ok(View::Known(self.record(id, node, now)))
            }
            (Some(_), PeerRef::Address(address)) => Ok(View::Private { address: *address }),
            (Some(_), PeerRef::Name(_) | PeerRef::Key(_)) | (None, _) => Err(not_found()),
        }
    }

    fn on_key_of(&self, address: Address) -> Result<NodeId, Refusal> {
        self.directory.by_address(address).ok_or_else(not_found)
    }

    fn on_put_grants(
        &mut self,
        from: NodeId,
        grants: &Grants,
        at: Moment,
    ) -> Result<Answer, Refusal> {
        let is_revocation = |grant: &SignedGrant| grant.assume_verified().scopes.is_empty();
        if !at.room && !grants.as_slice().iter().all(is_revocation) {
            return Err(refusal(RefusalCode::DiskFull, "the disk of the rendezvous is full"));
        }
        let outcomes =
            grants.as_slice().iter().map(|grant| self.put_grant(from, grant, at.now)).collect();
        Ok(Answer::GrantsPut(outcomes))
    }

    fn put_grant(&mut self, from: NodeId, signed: &SignedGrant, now: Timestamp) -> PutGrant {
        let Some(grant) = grants::believed(signed, from, self.directory.network()) else {
            return PutGrant::Invalid;
        };
        let to = grant.to;
        if self.directory.get(&to).is_none() {
            return PutGrant::NoSuchNode;
        }
        let was_mutual = self.ledger.is_mutual(&from, &to, now);
        let outcome = self.ledger.put(signed, now);
        if outcome == PutGrant::Stored {
            self.outputs.push_back(Output::Persist(Record::Grant(signed.clone())));
            self.tell(to, Due::Grant(from));
            if was_mutual != self.ledger.is_mutual(&from, &to, now) {
                self.tell(to, Due::Peer(from));
                self.tell(from, Due::Peer(to));
            }
        }
        outcome
    }

    fn on_ack_grants(&mut self, to: NodeId, acks: &GrantAcks) -> Answer {
        for ack in acks.as_slice() {
            if self.ledger.deliver(&ack.from, &to, ack.serial) {
                let record = Record::Delivered { from: ack.from, to };
                self.outputs.push_back(Output::Persist(record));
            }
        }
        Answer::GrantsAcked
    }

    fn on_release(&mut self, id: NodeId, now: Timestamp) -> Answer {
        if let Some(number) = self.directory.release(&id) {
            self.outputs.push_back(Output::Persist(Record::Released { number }));
            self.tell_trusted(id, now);
        }
        self.sessions.end(&id);
        Answer::Released
    }

    fn sees(&self, asking: NodeId, id: NodeId, node: &Node, now: Timestamp) -> bool {
        node.public || asking == id || self.ledger.is_mutual(&asking, &id, now)
    }

    fn record(&self, id: NodeId, node: &Node, now: Timestamp) -> NodeRecord {
        let boot = self.sessions.boot(&id);
        NodeRecord {
            address: self.directory.address(node.number),
            id,
            name: node.name.clone(),
            tags: node.tags.clone(),
            public: node.public,
            boot,
            endpoints: node.endpoints.clone(),
            last_seen: if boot.is_some() { now } else { node.last_seen },
        }
    }
}

/// A refusal with its sentence.
pub(crate) fn refusal(code: RefusalCode, message: &str) -> Refusal {
    Refusal { code, message: Text::clipped(message) }
}

fn not_found() -> Refusal {
    refusal(RefusalCode::NotFound, "nothing that you may see is registered under this")
}

/// The address as others would write it: an IPv4 peer of a socket that serves
/// both families is shown as IPv4.
fn canonical(observed: SocketAddr) -> SocketAddr {
    SocketAddr::new(observed.ip().to_canonical(), observed.port())
}
