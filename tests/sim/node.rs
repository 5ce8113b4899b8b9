//! A node: the shell around the machines, as simple as it can be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pilot_paths::{
    Beacon as KnownBeacon, BeaconId, Discovery, Lifetime, Local, LocalId, Opened, Paths, Traffic,
    Via,
};
use pilot_proto::probe::{Behaviour, Nat as Kinds};

use crate::chance::Chance;
use crate::nat::Kind;
use crate::packet::{Body, Inner, NodeIx, Packet, Sealed};
use crate::peer::Peer;
use crate::sockets::{Fresh, Sockets};

/// How often a node tells its beacons that it is there, and asks anew when no
/// answer came.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_AGAIN: Duration = Duration::from_millis(300);
const BEACON_LOST_AFTER: u32 = 5;

/// Between two packets of traffic with a peer.
const DATA_EVERY: Duration = Duration::from_millis(20);

/// How the node learns of its NAT.
pub(crate) enum Knowledge {
    /// It is told after a while.
    Told { nat: Kinds, keepalive: Duration, from: Duration },
    /// It finds out.
    Found { discovery: Box<Discovery>, lifetime: Box<Lifetime> },
}

pub(crate) struct Node {
    pub(crate) ix: NodeIx,
    pub(crate) net: usize,
    pub(crate) ip: IpAddr,
    pub(crate) sockets: Sockets,
    pub(crate) peers: BTreeMap<NodeIx, Peer>,
    pub(crate) beacons: Vec<Binding>,
    pub(crate) knowledge: Knowledge,
    pub(crate) network: u64,
    /// The NAT that it believes to be behind.
    pub(crate) kind: Kind,
    /// Between two packets of traffic with a peer.
    pub(crate) data_every: Duration,
    /// Reaches its beacons over TCP.
    pub(crate) carrier: bool,
    pub(crate) fresh: Vec<Fresh>,
    base: Instant,
    ticked: Duration,
    told: Option<Local>,
    out: Vec<Sent>,
}

/// What leaves a node.
pub(crate) enum Sent {
    Datagram(Packet),
    Carried { beacon: usize, body: Body },
}

/// What a node knows of one beacon.
pub(crate) struct Binding {
    pub(crate) address: SocketAddr,
    pub(crate) key_prefix: [u8; 8],
    pub(crate) others: Vec<SocketAddr>,
    bound: bool,
    observed: Option<SocketAddr>,
    rtt: Option<Duration>,
    asked: Option<Duration>,
    unanswered: u32,
    next: Duration,
}

impl Binding {
    pub(crate) const fn new(
        address: SocketAddr,
        key_prefix: [u8; 8],
        others: Vec<SocketAddr>,
    ) -> Self {
        Self {
            address,
            key_prefix,
            others,
            bound: false,
            observed: None,
            rtt: None,
            asked: None,
            unanswered: 0,
            next: Duration::ZERO,
        }
    }
}

impl Node {
    pub(crate) fn new(ix: NodeIx, net: usize, ip: IpAddr, base: Instant) -> Self {
        let told = Knowledge::Told {
            nat: Kinds { mapping: Behaviour::None, filtering: Behaviour::None },
            keepalive: Duration::from_secs(15),
            from: Duration::ZERO,
        };
        Self {
            ix,
            net,
            ip,
            sockets: Sockets::default(),
            peers: BTreeMap::new(),
            beacons: Vec::new(),
            knowledge: told,
            network: 0,
            kind: Kind::Cone,
            data_every: DATA_EVERY,
            carrier: false,
            fresh: Vec::new(),
            base,
            ticked: Duration::ZERO,
            told: None,
            out: Vec::new(),
        }
    }

    pub(crate) fn meet(&mut self, peer: NodeIx, chance: &mut Chance) {
        let paths = Paths::new(chance.seed(), self.base);
        self.peers.entry(peer).or_insert_with(|| Peer::new(paths));
        self.told = None;
    }

    /// It knows its NAT.
    pub(crate) fn know(&mut self, kind: Kind) {
        let (nat, keepalive) = (kind.behaviour(), Duration::from_secs(25));
        self.kind = kind;
        self.carrier = kind == Kind::Blocked;
        self.knowledge = Knowledge::Told { nat, keepalive, from: Duration::ZERO };
    }

    /// It is told nothing, and finds out.
    pub(crate) fn find_out(&mut self, now: Duration) {
        self.knowledge = Knowledge::Found { discovery: Box::default(), lifetime: Box::default() };
        self.tell_local(now);
        self.drain(now);
    }

    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        core::mem::take(&mut self.out)
    }

    /// Another address, on another network perhaps: the shell has noticed.
    pub(crate) fn moved(&mut self, now: Duration) {
        self.network += 1;
        for binding in &mut self.beacons {
            binding.observed = None;
            binding.next = now;
        }
        self.tell_local(now);
        self.drain(now);
    }

    pub(crate) fn want(&mut self, peer: NodeIx, wanted: bool, now: Duration) {
        let at = self.base + now;
        self.tell_local(now);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.paths.handle_wanted(wanted, at);
        }
        self.drain(now);
    }

    pub(crate) fn handle_packet(&mut self, packet: Packet, now: Duration) {
        let Packet { src, dst, body } = packet;
        let Some(local) = self.sockets.local(dst.port()) else { return };
        match body {
            Body::Peer(sealed) => self.open(Via::Direct { local, remote: src }, sealed, now),
            Body::Stun { node, asked } if node == self.ix => self.hear_own(asked, local, now),
            Body::Answer { node, asked, mapped, other } if node == self.ix => {
                self.hear_answer(asked, local, mapped, other, now);
            }
            Body::Bound { .. } | Body::Relayed { .. } | Body::Absent { .. } | Body::Unknown => {
                let beacon = self.beacons.iter().position(|beacon| beacon.address == src);
                if let Some(beacon) = beacon {
                    self.handle_beacon(beacon, body, now);
                }
            }
            Body::Stun { .. } | Body::Answer { .. } | Body::Bind { .. } | Body::Relay { .. } => {}
        }
        self.drain(now);
    }

    pub(crate) fn handle_beacon(&mut self, beacon: usize, body: Body, now: Duration) {
        let id = BeaconId(u8::try_from(beacon).unwrap());
        match body {
            Body::Bound { observed } => {
                let binding = &mut self.beacons[beacon];
                if let Some(asked) = binding.asked.take() {
                    binding.rtt.get_or_insert(now - asked);
                }
                binding.bound = true;
                binding.observed = (!self.carrier).then_some(observed);
                binding.unanswered = 0;
                binding.next = now + ALIVE_EVERY;
                self.tell_local(now);
            }
            Body::Relayed { inner } => self.open(Via::Relay(id), inner, now),
            Body::Absent { of } => {
                let at = self.base + now;
                if let Some(peer) = self.peers.get_mut(&of) {
                    peer.paths.handle_absent(id, at);
                }
            }
            Body::Unknown => self.beacons[beacon].next = now,
            Body::Peer(_) | Body::Bind { .. } | Body::Relay { .. } => {}
            Body::Stun { .. } | Body::Answer { .. } => {}
        }
        self.drain(now);
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.ticked = now;
        self.tell_local(now);
        self.bind(now);
        self.ask_stun(now);
        let at = self.base + now;
        for peer in self.peers.values_mut() {
            if peer.paths.next_deadline().is_some_and(|deadline| deadline <= at) {
                peer.paths.handle_timeout(at);
            }
        }
        let due: Vec<NodeIx> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.data_at.is_some_and(|at| at <= now))
            .map(|(ix, _)| *ix)
            .collect();
        for ix in due {
            self.send_data(ix, now);
        }
        self.drain(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let peers = self.peers.values().flat_map(|peer| {
            let machine = peer.paths.next_deadline().map(|at| at - self.base);
            [machine, peer.data_at, peer.report_at]
        });
        let told = match &self.knowledge {
            Knowledge::Told { from, .. } => Some(*from).filter(|at| *at > self.ticked),
            Knowledge::Found { discovery, lifetime } => {
                let deadlines = [discovery.next_deadline(), lifetime.next_deadline()];
                deadlines.into_iter().flatten().min().map(|at| at - self.base)
            }
        };
        let beacons = self.beacons.iter().map(|binding| Some(binding.next));
        let fresh = self.fresh.iter().map(|fresh| Some(fresh.next));
        let all = peers.chain(beacons).chain(fresh).chain([told]);
        all.flatten().min()
    }

    /// Tells the machines how this node stands, if that may have changed.
    pub(crate) fn tell_local(&mut self, now: Duration) {
        let at = self.base + now;
        self.tell_stun(now);
        self.report_traffic(now);
        let local = self.local(now);
        if self.told.as_ref() == Some(&local) {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.paths.handle_local(local.clone(), at);
        }
        self.told = Some(local);
    }

    fn local(&self, now: Duration) -> Local {
        let mapped = self.beacons.iter().find_map(|beacon| beacon.observed);
        let host = SocketAddr::new(self.ip, self.sockets.port(LocalId::MAIN).unwrap());
        let (nat, keepalive) = match &self.knowledge {
            Knowledge::Told { nat, keepalive, from } if *from <= now => (*nat, *keepalive),
            Knowledge::Told { keepalive, .. } => (Kinds::UNKNOWN, *keepalive),
            Knowledge::Found { discovery, lifetime } => {
                (discovery.finding().nat, lifetime.keepalive())
            }
        };
        let beacons = self.beacons.iter().enumerate().map(|(ix, binding)| KnownBeacon {
            id: BeaconId(u8::try_from(ix).unwrap()),
            key_prefix: binding.key_prefix,
            rtt: binding.rtt,
            bound: binding.bound,
        });
        Local {
            candidates: [host].into_iter().chain(mapped.filter(|mapped| *mapped != host)).collect(),
            mapped: mapped.filter(|_| !self.carrier),
            nat,
            keepalive,
            beacons: beacons.collect(),
            network: self.network,
        }
    }

    fn bind(&mut self, now: Duration) {
        for beacon in 0..self.beacons.len() {
            let binding = &mut self.beacons[beacon];
            if binding.next > now {
                continue;
            }
            binding.unanswered += 1;
            binding.asked = Some(now);
            binding.next = now + ALIVE_AGAIN;
            if binding.unanswered > BEACON_LOST_AFTER {
                binding.bound = false;
                binding.next = now + Duration::from_secs(1);
            }
            self.send_beacon(beacon, Body::Bind { node: self.ix });
        }
        self.tell_local(now);
    }

    fn open(&mut self, via: Via, sealed: Sealed, now: Duration) {
        let at = self.base + now;
        let Sealed { from, to, inner } = sealed;
        // Meant for another node, or from a stranger: no key opens it.
        let Some(peer) = self.peers.get_mut(&from).filter(|_| to == self.ix) else { return };
        match inner {
            Inner::Probe(probe) => {
                peer.paths.handle_probe(via, probe, at);
            }
            Inner::Data => {
                peer.arrivals.push(now);
                peer.note_traffic(Traffic { sent: false, heard: true }, now);
            }
        }
    }

    fn send_data(&mut self, ix: NodeIx, now: Duration) {
        let peer = self.peers.get_mut(&ix).unwrap();
        peer.data_at = Some(now + self.data_every);
        let Some(chosen) = peer.paths.chosen() else { return };
        peer.note_traffic(Traffic { sent: true, heard: false }, now);
        self.send_peer(chosen.via, ix, Inner::Data);
    }

    fn report_traffic(&mut self, now: Duration) {
        let at = self.base + now;
        for peer in self.peers.values_mut() {
            if let Some(traffic) = peer.take_report(now) {
                peer.paths.handle_traffic(traffic, at);
            }
        }
    }

    /// Executes what the machines want.
    pub(crate) fn drain(&mut self, now: Duration) {
        let peers: Vec<NodeIx> = self.peers.keys().copied().collect();
        for ix in peers {
            while let Some(output) = self.peers.get_mut(&ix).unwrap().paths.poll_output() {
                self.execute(ix, output, now);
            }
        }
        self.drain_stun(now);
    }

    pub(crate) fn send_peer(&mut self, via: Via, to: NodeIx, inner: Inner) {
        let sealed = Sealed { from: self.ix, to, inner };
        match via {
            Via::Direct { local, remote } => self.send_from(local, remote, Body::Peer(sealed)),
            Via::Relay(BeaconId(beacon)) => {
                self.send_beacon(beacon.into(), Body::Relay { from: self.ix, to, inner: sealed });
            }
        }
    }

    pub(crate) fn send_from(&mut self, local: LocalId, dst: SocketAddr, body: Body) {
        if let Some(port) = self.sockets.port(local) {
            let src = SocketAddr::new(self.ip, port);
            self.out.push(Sent::Datagram(Packet { src, dst, body }));
        }
    }

    fn send_beacon(&mut self, beacon: usize, body: Body) {
        if self.carrier {
            self.out.push(Sent::Carried { beacon, body });
        } else {
            let address = self.beacons[beacon].address;
            self.send_from(LocalId::MAIN, address, body);
        }
    }

    pub(crate) fn instant(&self, now: Duration) -> Instant {
        self.base + now
    }

    pub(crate) fn give_sockets(&mut self, peer: NodeIx, opened: Opened, now: Duration) {
        let at = self.instant(now);
        let held: BTreeSet<LocalId> = opened.sockets.iter().map(|(local, _)| *local).collect();
        let peer = self.peers.get_mut(&peer).unwrap();
        peer.most_sockets = peer.most_sockets.max(held.len());
        peer.paths.handle_sockets(opened, at);
    }
}
