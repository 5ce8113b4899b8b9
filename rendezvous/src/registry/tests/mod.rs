//! The rules of the registry, one by one.

mod addresses;
mod mailbox;
mod polo;
mod presence;
mod visibility;

use pilot_identity::{Grant, NodeKey, Scopes};
use pilot_proto::registry::Push;
use pilot_proto::{BootId, Endpoints, NodeName, Tags};
use zeroize::Zeroizing;

use super::*;

const NETWORK: u16 = 1;
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A registry with everything it has put out.
struct World {
    registry: Registry,
    at: Moment,
    stored: Vec<Record>,
    woken: Vec<ConnectionId>,
    replaced: Vec<ConnectionId>,
    connections: u64,
}

impl World {
    fn new() -> Self {
        Self::around(Registry::new(NETWORK, 1000))
    }

    fn around(registry: Registry) -> Self {
        Self {
            registry,
            at: Moment { now: START, room: true },
            stored: Vec::new(),
            woken: Vec::new(),
            replaced: Vec::new(),
            connections: 0,
        }
    }

    /// What comes back after a kill: what was stored, and no connection.
    fn restarted(&self) -> Self {
        let mut nodes: Vec<(NodeId, Node)> = Vec::new();
        let mut grants: Vec<(SignedGrant, bool)> = Vec::new();
        let mut registry = Registry::new(NETWORK, 1000);
        let is_pair = |held: &SignedGrant, from: &NodeId, to: &NodeId| {
            held.assume_verified().from == *from && held.assume_verified().to == *to
        };
        for record in &self.stored {
            match record {
                Record::Node { id, node } => {
                    nodes.retain(|(have, _)| have != id);
                    nodes.push((*id, node.clone()));
                }
                Record::Seen { number, at } => {
                    let seen = nodes.iter_mut().filter(|(_, node)| node.number == *number);
                    seen.for_each(|(_, node)| node.last_seen = *at);
                }
                Record::Released { number } => {
                    nodes.retain(|(_, node)| node.number != *number);
                    registry.restore_released(*number);
                }
                Record::Grant(grant) => {
                    let Grant { from, to, .. } = grant.assume_verified();
                    grants.retain(|(have, _)| !is_pair(have, from, to));
                    grants.push((grant.clone(), true));
                }
                Record::Delivered { from, to } => {
                    let held = grants.iter_mut().filter(|(have, _)| is_pair(have, from, to));
                    held.for_each(|(_, waiting)| *waiting = false);
                }
                Record::Polo(entry) => registry.restore_polo(entry),
            }
        }
        nodes.into_iter().for_each(|(id, node)| registry.restore_node(id, node));
        grants.into_iter().for_each(|(grant, waiting)| registry.restore_grant(grant, waiting));
        Self { stored: self.stored.clone(), connections: 1000, ..Self::around(registry) }
    }

    fn connect(&mut self, key: &NodeKey) -> Caller {
        self.connections += 1;
        let observed = SocketAddr::from(([198, 51, 100, 1], 4000));
        Caller {
            id: key.id(),
            connection: ConnectionId(self.connections),
            observed,
            over_udp: true,
        }
    }

    fn ask(&mut self, caller: &Caller, request: Request) -> Answer {
        let answer = self.registry.handle(caller, request, self.at);
        self.drain();
        answer.expect("only a watch has no answer")
    }

    fn watch(&mut self, caller: &Caller) -> Vec<Push> {
        assert_eq!(self.registry.handle(caller, Request::Watch, self.at), None);
        self.drain();
        self.pushes(caller)
    }

    fn pushes(&mut self, caller: &Caller) -> Vec<Push> {
        std::iter::from_fn(|| self.registry.poll_push(caller, self.at.now)).collect()
    }

    fn leave(&mut self, caller: &Caller) {
        self.registry.handle_disconnect(caller, self.at);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.registry.poll_output() {
            match output {
                Output::Persist(record) => self.stored.push(record),
                Output::Wake(connection) => self.woken.push(connection),
                Output::Replaced(connection) => self.replaced.push(connection),
            }
        }
    }

    fn register(&mut self, caller: &Caller, wanted: Register) -> Registered {
        let answer = self.ask(caller, Request::Register(wanted));
        let Answer::Registered(registered) = answer else { panic!("not registered: {answer:?}") };
        registered
    }

    /// A private node without a name that is connected and registered.
    fn join(&mut self, seed: u8) -> (Caller, Address) {
        let caller = self.connect(&key(seed));
        let registered = self.register(&caller, private());
        (caller, registered.address)
    }

    fn grant(
        &mut self,
        from: u8,
        caller: &Caller,
        to: u8,
        scopes: Scopes,
        serial: u64,
    ) -> PutGrant {
        self.put(caller, vec![grant(from, to, scopes, serial).sign(&key(from))])[0]
    }

    fn put(&mut self, caller: &Caller, grants: Vec<SignedGrant>) -> Vec<PutGrant> {
        let batch = Grants::batches(grants).remove(0);
        let answer = self.ask(caller, Request::PutGrants(batch));
        let Answer::GrantsPut(outcomes) = answer else { panic!("not put: {answer:?}") };
        outcomes
    }

    /// Two nodes that trust each other, with empty mailboxes.
    fn trusted_pair(&mut self) -> (Caller, Caller) {
        let (one, _) = self.join(1);
        let (two, _) = self.join(2);
        assert_eq!(self.grant(1, &one, 2, Scopes::ALL, 1), PutGrant::Stored);
        assert_eq!(self.grant(2, &two, 1, Scopes::ALL, 1), PutGrant::Stored);
        self.acknowledge(&one, 2, 1);
        self.acknowledge(&two, 1, 1);
        (one, two)
    }

    fn acknowledge(&mut self, caller: &Caller, from: u8, serial: u64) {
        let ack = pilot_proto::registry::GrantAck { from: key(from).id(), serial };
        let acks = GrantAcks::batches([ack]).remove(0);
        assert_eq!(self.ask(caller, Request::AckGrants(acks)), Answer::GrantsAcked);
    }
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn private() -> Register {
    Register {
        minor: 0,
        name: None,
        tags: Tags::default(),
        public: false,
        endpoints: Endpoints::default(),
        fixed: false,
        boot: BootId(1),
    }
}

fn named(text: &str) -> Register {
    Register { name: Some(name(text)), ..private() }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn grant(from: u8, to: u8, scopes: Scopes, serial: u64) -> Grant {
    Grant {
        from: key(from).id(),
        to: key(to).id(),
        network: NETWORK,
        scopes,
        issued_at: START,
        expires_at: None,
        serial,
    }
}

fn refused(answer: &Answer) -> RefusalCode {
    let Answer::Refused(refusal) = answer else { panic!("not refused: {answer:?}") };
    refusal.code
}
