//! The simulated internet: networks, NATs, hosts, and a clock that jumps from
//! one event to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pilot_paths::LocalId;
use pilot_proto::probe::Call;

use crate::beacon::{Beacon, Reach};
use crate::chance::Chance;
use crate::nat::{Nat, NatRules};
use crate::node::{Binding, Node, Sent};
use crate::packet::{Body, NodeIx, Packet, Sealed};
use crate::peer::Peer;

/// The internet; the other networks are behind NATs.
pub(crate) const INTERNET: usize = 0;

/// From one host to another on a local network.
const LAN_DELAY: Duration = Duration::from_micros(300);

/// From a host on the internet to its middle, unless told otherwise.
const DELAY: Duration = Duration::from_millis(10);

/// How long the tap of an attacker remembers.
const TAPPED: usize = 512;

/// Who has an address on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Node(NodeIx),
    Nat(usize),
    Beacon(usize),
}

struct Net {
    gateway: Option<usize>,
    owners: BTreeMap<IpAddr, Owner>,
}

struct Router {
    nat: Nat,
    inner: usize,
    outer: usize,
    ip: IpAddr,
}

enum Event {
    Arrive { owner: Owner, packet: Packet },
    ToBeacon { beacon: usize, node: NodeIx, body: Body },
    ToNode { beacon: usize, node: NodeIx, body: Body },
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) chance: Chance,
    pub(crate) nodes: Vec<Node>,
    pub(crate) beacons: Vec<Beacon>,
    nets: Vec<Net>,
    routers: Vec<Router>,
    base: Instant,
    events: BTreeMap<(Duration, u64), Event>,
    order: u64,
    wakes: BTreeSet<(Duration, NodeIx)>,
    woken_at: BTreeMap<NodeIx, Duration>,
    /// Lost on the internet, of a thousand.
    pub(crate) loss: u64,
    /// The most that a packet is late on the internet: it overtakes others.
    pub(crate) jitter: Duration,
    pub(crate) delays: BTreeMap<IpAddr, Duration>,
    /// From one address of the internet to another, nothing gets through.
    pub(crate) cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// Packets between nodes, as somebody on the way sees them.
    pub(crate) tapped: Vec<Packet>,
    pub(crate) tap: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            chance: Chance::new(seed),
            nodes: Vec::new(),
            beacons: Vec::new(),
            nets: vec![Net { gateway: None, owners: BTreeMap::new() }],
            routers: Vec::new(),
            base: Instant::now(),
            events: BTreeMap::new(),
            order: 0,
            wakes: BTreeSet::new(),
            woken_at: BTreeMap::new(),
            loss: 0,
            jitter: Duration::from_millis(2),
            delays: BTreeMap::new(),
            cuts: BTreeSet::new(),
            tapped: Vec::new(),
            tap: false,
        }
    }

    /// A beacon; nodes that are added later know it.
    pub(crate) fn add_beacon(&mut self, ips: [&str; 2]) -> usize {
        let beacon = Beacon::new(ips);
        for ip in beacon.ips {
            self.nets[INTERNET].owners.insert(ip, Owner::Beacon(self.beacons.len()));
        }
        self.beacons.push(beacon);
        self.beacons.len() - 1
    }

    /// A NAT in front of a new network, and that network.
    pub(crate) fn add_nat(&mut self, outer: usize, ip: &str, rules: NatRules) -> (usize, usize) {
        let (nat, inner) = (self.routers.len(), self.nets.len());
        let ip = ip.parse().unwrap();
        self.nets.push(Net { gateway: Some(nat), owners: BTreeMap::new() });
        self.nets[outer].owners.insert(ip, Owner::Nat(nat));
        self.routers.push(Router { nat: Nat::new(rules), inner, outer, ip });
        (nat, inner)
    }

    pub(crate) fn add_node(&mut self, net: usize, ip: &str) -> NodeIx {
        let ix = NodeIx(self.nodes.len());
        let ip = ip.parse().unwrap();
        let mut node = Node::new(ix, net, ip, self.base);
        let binding =
            |beacon: &Beacon| Binding::new(beacon.address(), beacon.key_prefix(), beacon.others());
        node.beacons = self.beacons.iter().map(binding).collect();
        self.nets[net].owners.insert(ip, Owner::Node(ix));
        self.nodes.push(node);
        self.touch(ix);
        ix
    }

    /// A node finds out by itself what it is behind.
    pub(crate) fn find_out(&mut self, node: NodeIx) {
        self.nodes[node.0].find_out(self.now);
        self.touch(node);
    }

    /// Two nodes trust each other.
    pub(crate) fn introduce(&mut self, a: NodeIx, b: NodeIx) {
        let Self { nodes, chance, .. } = self;
        nodes[a.0].meet(b, chance);
        nodes[b.0].meet(a, chance);
    }

    pub(crate) fn want(&mut self, node: NodeIx, peer: NodeIx, wanted: bool) {
        let now = self.now;
        self.nodes[node.0].want(peer, wanted, now);
        self.touch(node);
    }

    /// The registry tells where a peer is.
    pub(crate) fn card(&mut self, node: NodeIx, peer: NodeIx, endpoints: &[SocketAddr]) {
        let at = self.base + self.now;
        let paths = &mut self.nodes[node.0].peers.get_mut(&peer).unwrap().paths;
        paths.handle_endpoints(endpoints, at);
        self.touch(node);
    }

    /// A call as `node` makes them.
    pub(crate) fn some_call(&self, node: NodeIx, peer: NodeIx) -> Call {
        self.peer(node, peer).last_call.clone().unwrap()
    }

    /// Gives a beacon something to relay, as `from` would.
    pub(crate) fn relay(&mut self, from: NodeIx, to: NodeIx, inner: Sealed) {
        let node = &mut self.nodes[from.0];
        let address = node.beacons[0].address;
        node.send_from(LocalId::MAIN, address, Body::Relay { from, to, inner });
        self.touch(from);
    }

    /// Both have a session, and send to each other all the time, or not.
    pub(crate) fn traffic(&mut self, a: NodeIx, b: NodeIx, on: bool) {
        for (node, peer) in [(a, b), (b, a)] {
            let now = self.now;
            self.nodes[node.0].peers.get_mut(&peer).unwrap().data_at = on.then_some(now);
            self.touch(node);
        }
    }

    pub(crate) fn peer(&self, node: NodeIx, peer: NodeIx) -> &Peer {
        &self.nodes[node.0].peers[&peer]
    }

    pub(crate) fn both_direct(&self, a: NodeIx, b: NodeIx) -> bool {
        self.peer(a, b).is_direct() && self.peer(b, a).is_direct()
    }

    /// What both did, for the message of a failed test.
    pub(crate) fn story(&self, a: NodeIx, b: NodeIx) -> String {
        let one = |node: NodeIx, peer| {
            let line = |(at, via, reason): &_| format!("  {at:?} {via:?} {reason:?}\n");
            let lines: String = self.peer(node, peer).uses.iter().map(line).collect();
            format!("{node:?}:\n{lines}")
        };
        format!("\n{}{}now {:?}\n", one(a, b), one(b, a), self.now)
    }

    pub(crate) fn reboot_nat(&mut self, nat: usize) {
        self.routers[nat].nat.reboot();
    }

    /// The address of a NAT on its outer network becomes another one.
    pub(crate) fn renumber_nat(&mut self, nat: usize, ip: &str) {
        let router = &mut self.routers[nat];
        let owners = &mut self.nets[router.outer].owners;
        owners.remove(&router.ip);
        router.ip = ip.parse().unwrap();
        owners.insert(router.ip, Owner::Nat(nat));
        router.nat.reboot();
    }

    /// A node goes to another network; its shell notices after a moment.
    pub(crate) fn move_node(&mut self, node: NodeIx, net: usize, ip: &str) {
        let moved = &mut self.nodes[node.0];
        self.nets[moved.net].owners.remove(&moved.ip);
        (moved.net, moved.ip) = (net, ip.parse().unwrap());
        self.nets[net].owners.insert(moved.ip, Owner::Node(node));
        self.run_for(Duration::from_millis(200));
        let now = self.now;
        self.nodes[node.0].moved(now);
        self.touch(node);
    }

    pub(crate) fn cut(&mut self, from: &str, to: &str) {
        self.cuts.insert((from.parse().unwrap(), to.parse().unwrap()));
    }

    pub(crate) fn cut_both(&mut self, a: &str, b: &str) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Puts a packet on the internet, with whatever source it claims.
    pub(crate) fn inject(&mut self, packet: Packet) {
        self.travel(INTERNET, packet);
    }

    /// Runs until `done`, at most for so long; how long it took.
    pub(crate) fn run_until(
        &mut self,
        longest: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let (start, end) = (self.now, self.now + longest);
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return None;
            }
        }
        Some(self.now - start)
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let ended = self.run_until(time, |_| false);
        assert_eq!(ended, None);
    }

    /// Jumps to the next event, if there is one in time, and lets it happen.
    fn step(&mut self, end: Duration) -> bool {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let wake = self.wakes.first().map(|(at, _)| *at);
        let Some(next) = event.into_iter().chain(wake).min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = next.max(self.now);
        if event == Some(next) {
            let (_, event) = self.events.pop_first().unwrap();
            self.handle(event);
        } else {
            let (_, node) = self.wakes.pop_first().unwrap();
            self.woken_at.remove(&node);
            self.nodes[node.0].tick(self.now);
            self.touch(node);
        }
        true
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Arrive { owner: Owner::Node(node), packet } => {
                // It may have moved since.
                if self.nodes[node.0].ip == packet.dst.ip() {
                    self.nodes[node.0].handle_packet(packet, now);
                    self.touch(node);
                }
            }
            Event::Arrive { owner: Owner::Nat(nat), mut packet } => {
                let router = &mut self.routers[nat];
                if let Some(inside) = router.nat.inbound(packet.src, packet.dst.port(), now) {
                    packet.dst = inside;
                    let inner = router.inner;
                    self.travel(inner, packet);
                }
            }
            Event::Arrive { owner: Owner::Beacon(beacon), packet } => {
                let answers = self.beacons[beacon].handle_packet(packet);
                self.answer(beacon, answers);
            }
            Event::ToBeacon { beacon, node, body } => {
                let answers = self.beacons[beacon].handle(Reach::Carrier(node), body);
                self.answer(beacon, answers);
            }
            Event::ToNode { beacon, node, body } => {
                self.nodes[node.0].handle_beacon(beacon, body, now);
                self.touch(node);
            }
        }
    }

    fn answer(&mut self, beacon: usize, answers: Vec<(Reach, Body)>) {
        for (reach, body) in answers {
            match reach {
                Reach::Udp { own, client } => {
                    self.travel(INTERNET, Packet { src: own, dst: client, body });
                }
                Reach::Carrier(node) => {
                    self.schedule(2 * DELAY, Event::ToNode { beacon, node, body });
                }
            }
        }
    }

    /// Sends what a node wants sent, and remembers when it wants to be woken.
    fn touch(&mut self, ix: NodeIx) {
        for sent in self.nodes[ix.0].take_sent() {
            match sent {
                Sent::Datagram(packet) => self.travel(self.nodes[ix.0].net, packet),
                Sent::Carried { beacon, body } => {
                    self.schedule(2 * DELAY, Event::ToBeacon { beacon, node: ix, body });
                }
            }
        }
        if let Some(old) = self.woken_at.remove(&ix) {
            self.wakes.remove(&(old, ix));
        }
        if let Some(at) = self.nodes[ix.0].next_deadline() {
            let at = at.max(self.now);
            self.wakes.insert((at, ix));
            self.woken_at.insert(ix, at);
        }
    }

    /// From a host or a NAT on `net` on to the next one.
    fn travel(&mut self, net: usize, mut packet: Packet) {
        if let Some(owner) = self.nets[net].owners.get(&packet.dst.ip()).copied() {
            if let Some(delay) = self.delay(net, packet.src, packet.dst) {
                self.tap(net, &packet);
                self.schedule(delay, Event::Arrive { owner, packet });
            }
            return;
        }
        let Some(gateway) = self.nets[net].gateway else { return };
        let Self { routers, chance, now, .. } = self;
        let router = &mut routers[gateway];
        let to_itself = packet.dst.ip() == router.ip;
        if to_itself && !router.nat.rules.hairpin {
            return;
        }
        let Some(port) = router.nat.outbound(packet.src, packet.dst, *now, chance) else { return };
        packet.src = SocketAddr::new(router.ip, port);
        let outer = router.outer;
        self.travel(outer, packet);
    }

    fn delay(&mut self, net: usize, src: SocketAddr, dst: SocketAddr) -> Option<Duration> {
        if net != INTERNET {
            return Some(LAN_DELAY);
        }
        let lost = self.chance.permille(self.loss);
        if lost || self.cuts.contains(&(src.ip(), dst.ip())) {
            return None;
        }
        let half = |ip| self.delays.get(&ip).copied().unwrap_or(DELAY);
        let delay = half(src.ip()) + half(dst.ip());
        Some(delay + self.chance.up_to(self.jitter))
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.order += 1;
        self.events.insert((self.now + after, self.order), event);
    }

    fn tap(&mut self, net: usize, packet: &Packet) {
        let peers = matches!(packet.body, Body::Peer(_) | Body::Relay { .. });
        if self.tap && net == INTERNET && peers {
            if self.tapped.len() >= TAPPED {
                self.tapped.remove(0);
            }
            self.tapped.push(packet.clone());
        }
    }
}
