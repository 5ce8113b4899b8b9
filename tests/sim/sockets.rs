//! The sockets of a node, and what the machines want done with them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pilot_paths::{
    AskId, Change, Heard, LocalId, OpenRequest, Opened, Output, Purpose, StunAsk, StunHeard,
    StunOutput, StunServer,
};

use pilot_proto::probe::Probe;

use crate::node::{Knowledge, Node};
use crate::packet::{Asked, Asker, Body, Inner, NodeIx};

/// The port of every node's main socket: NATs that keep ports have collisions.
const MAIN_PORT: u16 = 4000;

const STUN_TRIES: u32 = 3;
const STUN_AGAIN: Duration = Duration::from_millis(300);

/// The sockets by their numbers.
#[derive(Debug)]
pub(crate) struct Sockets {
    ports: BTreeMap<LocalId, u16>,
    opened: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { ports: BTreeMap::from([(LocalId::MAIN, MAIN_PORT)]), opened: 0 }
    }
}

impl Sockets {
    pub(crate) fn port(&self, local: LocalId) -> Option<u16> {
        self.ports.get(&local).copied()
    }

    pub(crate) fn local(&self, port: u16) -> Option<LocalId> {
        self.ports.iter().find(|(_, own)| **own == port).map(|(local, _)| *local)
    }

    fn open(&mut self) -> LocalId {
        self.opened += 1;
        let local = LocalId(self.opened);
        self.ports.insert(local, 20_000 + u16::try_from(self.opened % 40_000).unwrap());
        local
    }

    pub(crate) fn close(&mut self, locals: &[LocalId]) {
        self.ports.retain(|local, _| !locals.contains(local));
    }

    pub(crate) fn count(&self) -> usize {
        self.ports.len()
    }
}

/// A fresh socket that is waiting for its STUN answer.
pub(crate) struct Fresh {
    peer: NodeIx,
    request: OpenRequest,
    local: LocalId,
    tries: u32,
    pub(crate) next: Duration,
}

impl Node {
    pub(crate) fn execute(&mut self, peer: NodeIx, output: Output, now: Duration) {
        match output {
            Output::Send { via, probe } => {
                let direct = via.is_direct();
                let note = self.peers.get_mut(&peer).unwrap();
                note.probes.push((now, direct));
                if let Probe::Call(call) = &probe {
                    note.last_call = Some(call.clone());
                }
                self.send_peer(via, peer, Inner::Probe(probe));
            }
            Output::Use(chosen) => {
                let peer = self.peers.get_mut(&peer).unwrap();
                let reason = peer.paths.reason();
                peer.uses.push((now, chosen.map(|chosen| chosen.via), reason));
            }
            Output::OpenSockets { request, count, purpose: Purpose::Birthday } => {
                let sockets = (0..count).map(|_| (self.sockets.open(), None)).collect();
                self.give_sockets(peer, Opened { request, sockets }, now);
            }
            Output::OpenSockets { request, count: _, purpose: Purpose::Fresh } => {
                let local = self.sockets.open();
                self.fresh.push(Fresh { peer, request, local, tries: 0, next: now });
                self.ask_stun(now);
            }
            Output::CloseSockets(locals) => self.sockets.close(&locals),
        }
    }

    /// Asks where fresh sockets are seen.
    pub(crate) fn ask_stun(&mut self, now: Duration) {
        let Some(server) = self.beacons.first().map(|beacon| beacon.address) else { return };
        let mut fresh = core::mem::take(&mut self.fresh);
        for waiting in fresh.iter_mut().filter(|waiting| waiting.next <= now) {
            waiting.tries += 1;
            waiting.next = now + STUN_AGAIN;
            if waiting.tries > STUN_TRIES {
                let opened =
                    Opened { request: waiting.request, sockets: vec![(waiting.local, None)] };
                self.give_sockets(waiting.peer, opened, now);
                continue;
            }
            let ask = StunAsk {
                id: AskId(0),
                local: waiting.local,
                server,
                change: Change::Same,
                response_port: None,
            };
            let asked = Asked { by: Asker::Fresh, ask };
            self.send_from(waiting.local, server, Body::Stun { node: self.ix, asked });
        }
        fresh.retain(|waiting| waiting.tries <= STUN_TRIES);
        fresh.append(&mut self.fresh);
        self.fresh = fresh;
    }

    /// A STUN request of its own came back by hairpin.
    pub(crate) fn hear_own(&mut self, asked: Asked, local: LocalId, now: Duration) {
        let heard = StunHeard { id: asked.ask.id, local, what: Heard::OwnRequest };
        self.hear_stun(asked.by, heard, now);
    }

    pub(crate) fn hear_answer(
        &mut self,
        asked: Asked,
        local: LocalId,
        mapped: SocketAddr,
        other: Option<SocketAddr>,
        now: Duration,
    ) {
        let what = Heard::Answer { mapped, other };
        match asked.by {
            Asker::Fresh => {
                let at = self.fresh.iter().position(|waiting| waiting.local == asked.ask.local);
                let Some(at) = at else { return };
                let Fresh { peer, request, local, .. } = self.fresh.remove(at);
                let opened = Opened { request, sockets: vec![(local, Some(mapped))] };
                self.give_sockets(peer, opened, now);
            }
            by @ (Asker::Discovery | Asker::Lifetime) => {
                self.hear_stun(by, StunHeard { id: asked.ask.id, local, what }, now);
            }
        }
    }

    fn hear_stun(&mut self, by: Asker, heard: StunHeard, now: Duration) {
        let at = self.instant(now);
        if let Knowledge::Found { discovery, lifetime } = &mut self.knowledge {
            match by {
                Asker::Discovery => discovery.handle_stun(heard, at),
                Asker::Lifetime => lifetime.handle_stun(heard, at),
                Asker::Fresh => {}
            }
        }
    }

    /// What the STUN machines ought to know.
    pub(crate) fn tell_stun(&mut self, now: Duration) {
        let at = self.instant(now);
        let server = |beacon: &crate::node::Binding| StunServer {
            address: beacon.address,
            others: beacon.others.clone(),
        };
        let servers: Vec<StunServer> = self.beacons.iter().map(server).collect();
        let (own, network) = ([self.ip], self.network);
        if let Knowledge::Found { discovery, lifetime } = &mut self.knowledge {
            discovery.handle_local(&servers, &own, network, at);
            lifetime.handle_server(servers.first().map(|server| server.address), network, at);
            discovery.handle_timeout(at);
            lifetime.handle_timeout(at);
        }
    }

    pub(crate) fn drain_stun(&mut self, now: Duration) {
        while let Some((by, output)) = self.next_stun() {
            match output {
                StunOutput::Ask(ask) => {
                    let asked = Asked { by, ask };
                    self.send_from(ask.local, ask.server, Body::Stun { node: self.ix, asked });
                }
                StunOutput::OpenSockets { request, count } => {
                    let sockets = (0..count).map(|_| (self.sockets.open(), None)).collect();
                    let (at, opened) = (self.instant(now), Opened { request, sockets });
                    if let Knowledge::Found { discovery, lifetime } = &mut self.knowledge {
                        match by {
                            Asker::Discovery => discovery.handle_sockets(opened, at),
                            Asker::Lifetime => lifetime.handle_sockets(opened, at),
                            Asker::Fresh => {}
                        }
                    }
                }
                StunOutput::CloseSockets(locals) => self.sockets.close(&locals),
            }
        }
    }

    fn next_stun(&mut self) -> Option<(Asker, StunOutput)> {
        let Knowledge::Found { discovery, lifetime } = &mut self.knowledge else { return None };
        let discovered = discovery.poll_output().map(|output| (Asker::Discovery, output));
        discovered.or_else(|| lifetime.poll_output().map(|output| (Asker::Lifetime, output)))
    }
}
