//! What a node knows of its network and its peers' paths, behind one lock.
//!
//! Nothing here waits. Every method ends by executing what the machines want
//! done; sending never blocks, and what the kernel does not take is lost.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use pilot_identity::{NodeId, NodeKey, SignedTicket};
use pilot_paths::{
    BeaconId, Discovery, Finding, Lifetime, Local, LocalId, Opened, Paths, StunOutput, Via,
};
use pilot_proto::beacon::RelayId;
use pilot_proto::envelope::Envelope;
use pilot_proto::probe::{MAX_CANDIDATES, Nat, Probe};
use tokio::sync::watch;

use super::asks::{Asker, Asks};
use super::beacon::BeaconReport;
use super::beacons::{Beacons, means};
use super::counters::PathCounters;
use super::peers::Peers;
use super::sockets::{Owner, Sockets};
use crate::demux::Kind;
use crate::socket::{Datagram, Origin, Place, Socket};

#[derive(Debug)]
pub(super) struct State {
    pub(super) key: Arc<NodeKey>,
    pub(super) socket: Arc<Socket>,
    pub(super) peers: Peers,
    pub(super) beacons: Beacons,
    pub(super) ticket: Option<SignedTicket>,
    discovery: Discovery,
    lifetime: Lifetime,
    pub(super) asks: Asks,
    pub(super) sockets: Sockets,
    /// Addresses of the main socket on this machine's interfaces.
    own: Vec<SocketAddr>,
    /// The one endpoint the operator gave.
    pub(super) fixed: Option<SocketAddr>,
    /// Mapped by routers on request.
    pub(super) port_mapped: Vec<SocketAddr>,
    network: u64,
    local: Local,
    pub(super) candidates: watch::Sender<Vec<SocketAddr>>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) counters: PathCounters,
}

/// How far a node is with finding out about its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Whether all that can be found out has been.
    pub is_done: bool,
    /// Whether it holds a ticket, which comes with the list of beacons.
    pub has_ticket: bool,
    /// Beacons that it knows of.
    pub beacons: usize,
    /// Those at which it is bound.
    pub bound: usize,
    /// Those of which it is known why it is not.
    pub failed: usize,
}

impl State {
    pub(super) fn new(key: Arc<NodeKey>, socket: Arc<Socket>) -> Self {
        let lifetime = Lifetime::new();
        let local = Local {
            candidates: Vec::new(),
            mapped: None,
            nat: Nat::UNKNOWN,
            keepalive: lifetime.keepalive(),
            beacons: Vec::new(),
            network: 0,
        };
        Self {
            key,
            socket,
            peers: Peers::default(),
            beacons: Beacons::default(),
            ticket: None,
            discovery: Discovery::new(),
            lifetime,
            asks: Asks::default(),
            sockets: Sockets::default(),
            own: Vec::new(),
            fixed: None,
            port_mapped: Vec::new(),
            network: 0,
            local,
            candidates: watch::Sender::new(Vec::new()),
            progress: watch::Sender::default(),
            counters: PathCounters::default(),
        }
    }

    pub(super) fn admit(&mut self, peer: NodeId, now: Instant) {
        let mut seed = [0; 32];
        if getrandom::fill(&mut seed).is_err() {
            return;
        }
        let (key, local) = (Arc::clone(&self.key), self.local.clone());
        if self.peers.admit(&key, peer, &self.socket.routes, &local, seed, now) {
            self.run_peer(&peer, now);
        }
    }

    pub(super) fn dismiss(&mut self, peer: &NodeId) {
        self.peers.dismiss(peer, &self.socket.routes);
        self.sockets.close_all(&self.socket, Owner::Peer(*peer));
    }

    /// Feeds one input to the machine of `peer`, and does what follows.
    pub(super) fn with_peer(
        &mut self,
        peer: &NodeId,
        now: Instant,
        input: impl FnOnce(&mut Paths),
    ) {
        if let Some(entry) = self.peers.get_mut(peer) {
            input(&mut entry.paths);
            self.run_peer(peer, now);
        }
    }

    pub(super) fn want(&mut self, peer: &NodeId, more: bool, now: Instant) {
        if self.peers.want(peer, more, now) {
            self.run_peer(peer, now);
        }
    }

    /// This machine's addresses, as they are now; true if they changed.
    pub(super) fn set_own(&mut self, own: Vec<SocketAddr>, now: Instant) -> bool {
        let changed = own != self.own;
        if changed {
            let is_first = self.own.is_empty();
            self.own = own;
            if !is_first {
                self.network += 1;
                tracing::info!(addresses = self.own.len(), "the network of this machine changed");
                self.beacons.restart(true, now);
            }
            self.refresh(now);
        }
        changed
    }

    /// Takes a datagram that is no QUIC.
    pub(super) fn handle(&mut self, datagram: &Datagram, now: Instant) {
        match (datagram.kind, datagram.origin) {
            (Kind::Stun, Origin::Udp { local, from }) => self.on_stun(local, from, datagram, now),
            (Kind::Ours, origin) => match Envelope::read(&datagram.bytes) {
                Some(envelope) => self.on_probe(origin, &envelope, now),
                None => self.on_beacon(origin, &datagram.bytes, now),
            },
            (
                Kind::Stun | Kind::Quic | Kind::Relayed | Kind::Part | Kind::Garbage,
                Origin::Udp { .. } | Origin::Carrier(_) | Origin::Relayed { .. },
            ) => {}
        }
    }

    fn on_stun(&mut self, local: LocalId, from: SocketAddr, datagram: &Datagram, now: Instant) {
        let Some((asker, heard)) = self.asks.heard(local, &datagram.bytes, now) else {
            tracing::trace!(%from, "STUN that nobody asked for");
            return;
        };
        match asker {
            Asker::Discovery => {
                let before = self.discovery.finding().clone();
                self.discovery.handle_stun(heard, now);
                if *self.discovery.finding() != before {
                    self.refresh(now);
                }
            }
            Asker::Lifetime => self.lifetime.handle_stun(heard, now),
            Asker::Fresh(socket) => {
                if let pilot_paths::Heard::Answer { mapped, .. } = heard.what {
                    self.sockets.mapped(socket, mapped);
                }
                self.hand_out_sockets(now);
            }
        }
        self.run_stun(now);
    }

    fn on_probe(&mut self, origin: Origin, envelope: &Envelope<'_>, now: Instant) {
        let Some(id) = self.peers.by_tag(envelope.tag()) else { return };
        let Some(peer) = self.peers.get(&id) else { return };
        let Ok(probe) = envelope.open(&peer.pair) else {
            tracing::debug!(peer = %id.short(), "a forged probe");
            self.counters.forged += 1;
            return;
        };
        self.counters.heard.count(&probe);
        let via = match origin {
            Origin::Udp { local, from } => {
                // A pong may be a replay, too; that costs packets and no path.
                let routes = &self.socket.routes;
                if matches!(probe, Probe::Ping { .. } | Probe::Pong { .. })
                    && !routes.belongs_to_another(&id, from)
                {
                    routes.learn_source(&id, from);
                }
                Via::Direct { local, remote: from }
            }
            Origin::Relayed { place, id: relay_id } if relay_id == RelayId::of(&id) => {
                match self.beacons.at(place) {
                    Some(beacon) => Via::Relay(beacon),
                    None => return,
                }
            }
            Origin::Relayed { .. } | Origin::Carrier(_) => return,
        };
        self.with_peer(&id, now, |paths| paths.handle_probe(via, probe, now));
    }

    fn on_beacon(&mut self, origin: Origin, packet: &[u8], now: Instant) {
        let place = match origin {
            Origin::Udp { local: LocalId::MAIN, from } => Place::Udp(from),
            Origin::Carrier(id) => Place::Carrier(id),
            Origin::Udp { .. } | Origin::Relayed { .. } => return,
        };
        let keepalive = self.lifetime.keepalive();
        let Some(means) = means(&self.key, self.ticket.as_ref(), keepalive) else { return };
        let absent = self.beacons.handle_packet(place, packet, &means, now);
        self.run_beacons(now);
        if let Some((beacon, relay_id)) = absent
            && let Some(route) = self.socket.routes.relayed(place, &relay_id)
        {
            let peer = route.peer;
            self.with_peer(&peer, now, |paths| paths.handle_absent(beacon, now));
        }
    }

    /// Lets everything act whose time has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.run_beacons(now);
        self.discovery.handle_timeout(now);
        self.lifetime.handle_timeout(now);
        self.run_stun(now);
        self.hand_out_sockets(now);
        for peer in self.peers.due(now) {
            if let Some(place) = self.peers.look(&peer, now) {
                self.beacons.doubt(place, now);
            }
            self.with_peer(&peer, now, |paths| paths.handle_timeout(now));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [
            self.peers.next_deadline(),
            self.beacons.next_deadline(),
            self.discovery.next_deadline(),
            self.lifetime.next_deadline(),
            self.sockets.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn run_beacons(&mut self, now: Instant) {
        let keepalive = self.lifetime.keepalive();
        let moved =
            self.beacons.drive(&self.key, self.ticket.as_ref(), keepalive, &self.socket, now);
        self.refresh(now);
        if moved {
            // A path by this beacon is the same path, at another place.
            for (_, peer) in self.peers.iter() {
                let chosen = peer.paths.chosen();
                self.socket.set_way(&peer.route, chosen.and_then(|chosen| self.way(chosen.via)));
            }
        }
    }

    /// Makes all machines know what this side looks like now.
    pub(super) fn refresh(&mut self, now: Instant) {
        let observed = self.beacons.observed();
        let servers = self.beacons.stun_servers();
        let ips: Vec<IpAddr> = self.own.iter().map(SocketAddr::ip).collect();
        self.discovery.handle_local(&servers, &ips, self.network, now);
        let server = servers.first().map(|server| server.address);
        self.lifetime.handle_server(server, self.network, now);
        self.run_stun(now);

        let finding = self.finding();
        let mapped: Vec<SocketAddr> = match self.fixed {
            Some(_) => Vec::new(),
            None => finding.mapped.iter().copied().chain(observed).collect(),
        };
        let local = Local {
            candidates: self.all_candidates(&mapped),
            mapped: mapped.first().copied(),
            nat: finding.nat,
            keepalive: self.lifetime.keepalive(),
            beacons: self.beacons.seen(),
            network: self.network,
        };
        if local == self.local {
            return;
        }
        let tell = local.candidates != self.local.candidates;
        self.local = local;
        if tell {
            self.candidates.send_replace(self.local.candidates.clone());
        }
        for id in self.peers.ids() {
            let local = self.local.clone();
            self.with_peer(&id, now, |paths| paths.handle_local(local, now));
        }
    }

    /// What the operator gave, what a router maps, where beacons see this node,
    /// and this machine's own addresses.
    fn all_candidates(&self, mapped: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = Vec::new();
        let own = self.own.iter().filter(|_| self.fixed.is_none());
        let every = self.fixed.iter().chain(&self.port_mapped).chain(mapped).chain(own);
        for candidate in every {
            if !all.contains(candidate) && all.len() < MAX_CANDIDATES {
                all.push(*candidate);
            }
        }
        // Loopback last: it means something on one machine alone.
        all.sort_by_key(|candidate| candidate.ip().is_loopback());
        all
    }

    fn run_stun(&mut self, now: Instant) {
        while let Some(output) = self.discovery.poll_output() {
            if let Some(opened) = self.do_stun(output, Owner::Discovery, Asker::Discovery, now) {
                self.discovery.handle_sockets(opened, now);
            }
        }
        while let Some(output) = self.lifetime.poll_output() {
            if let Some(opened) = self.do_stun(output, Owner::Lifetime, Asker::Lifetime, now) {
                self.lifetime.handle_sockets(opened, now);
            }
        }
        self.tell_progress();
    }

    fn tell_progress(&self) {
        let (beacons, bound, failed) = self.beacons.tally();
        let (is_done, has_ticket) = (self.is_discovered(), self.ticket.is_some());
        let progress = Progress { is_done, has_ticket, beacons, bound, failed };
        self.progress.send_if_modified(|before| std::mem::replace(before, progress) != progress);
    }

    fn do_stun(
        &mut self,
        output: StunOutput,
        owner: Owner,
        asker: Asker,
        now: Instant,
    ) -> Option<Opened> {
        match output {
            StunOutput::Ask(ask) => {
                self.asks.send(&self.socket, asker, &ask, now);
                None
            }
            StunOutput::OpenSockets { request, count } => {
                let ids = self.sockets.open(&self.socket, owner, count);
                let sockets = ids.into_iter().map(|id| (id, None)).collect();
                Some(Opened { request, sockets })
            }
            StunOutput::CloseSockets(ids) => {
                self.sockets.close(&self.socket, &ids);
                None
            }
        }
    }

    fn hand_out_sockets(&mut self, now: Instant) {
        for (owner, opened) in self.sockets.ready(now) {
            if let Owner::Peer(peer) = owner {
                self.with_peer(&peer, now, |paths| paths.handle_sockets(opened, now));
            }
        }
    }

    pub(super) fn place_of(&self, beacon: BeaconId) -> Option<Place> {
        self.beacons.place(beacon)
    }

    /// What is known of the NAT. That no beacon answers over UDP is known
    /// sooner than that no STUN server does; but one that does proves more.
    pub(super) fn finding(&self) -> Finding {
        let mut finding = self.discovery.finding().clone();
        if finding.mapped.is_empty() && self.beacons.is_udp_blocked() {
            finding.nat = Nat::BLOCKED;
        }
        finding
    }

    pub(super) fn is_discovered(&self) -> bool {
        self.beacons.is_udp_blocked() || self.discovery.is_done()
    }

    pub(super) const fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    pub(super) fn beacon_reports(&self) -> Vec<BeaconReport> {
        self.beacons.report()
    }

    pub(super) fn extra_sockets(&self) -> usize {
        self.sockets.count()
    }
}
