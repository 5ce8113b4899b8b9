//! A beacon: relay and STUN server with a second address and port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use pilot_paths::Change;

use crate::nat::at;
use crate::packet::{Body, NodeIx, Packet, Sealed};

/// Where a client is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A datagram from this own address to that one.
    Udp { own: SocketAddr, client: SocketAddr },
    /// The TCP connection of a node without UDP.
    Carrier(NodeIx),
}

/// One beacon.
#[derive(Debug)]
pub(crate) struct Beacon {
    /// The first is the one that nodes know.
    pub(crate) ips: [IpAddr; 2],
    pub(crate) clients: BTreeMap<NodeIx, Reach>,
    /// Whether it is there at all.
    pub(crate) up: bool,
}

const PORTS: [u16; 2] = [9001, 9002];

impl Beacon {
    pub(crate) fn new(ips: [&str; 2]) -> Self {
        let ips = ips.map(|ip| at(ip, 0).ip());
        Self { ips, clients: BTreeMap::new(), up: true }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ips[0], PORTS[0])
    }

    pub(crate) fn key_prefix(&self) -> [u8; 8] {
        let mut prefix = [0; 8];
        prefix[..4].copy_from_slice(&match self.ips[0] {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(_) => [6; 4],
        });
        prefix
    }

    pub(crate) fn handle_packet(&mut self, packet: Packet) -> Vec<(Reach, Body)> {
        let Packet { src, dst, body } = packet;
        self.handle(Reach::Udp { own: dst, client: src }, body)
    }

    pub(crate) fn handle(&mut self, from: Reach, body: Body) -> Vec<(Reach, Body)> {
        if !self.up {
            return Vec::new();
        }
        match body {
            Body::Bind { node } => {
                self.clients.insert(node, from);
                let observed = match from {
                    Reach::Udp { client, .. } => client,
                    Reach::Carrier(_) => at("0.0.0.0", 0),
                };
                vec![(from, Body::Bound { observed })]
            }
            Body::Relay { from: node, to, inner } => self.relay(from, node, to, inner),
            Body::Stun { node, asked } => {
                let Reach::Udp { own, client } = from else { return Vec::new() };
                let other = self.other(own);
                let source = match asked.ask.change {
                    Change::Same => own,
                    Change::Port => SocketAddr::new(own.ip(), other.port()),
                    Change::AddressAndPort => other,
                };
                let port = asked.ask.response_port.unwrap_or_else(|| client.port());
                let to = Reach::Udp { own: source, client: SocketAddr::new(client.ip(), port) };
                vec![(to, Body::Answer { node, asked, mapped: client, other: Some(other) })]
            }
            Body::Peer(_)
            | Body::Bound { .. }
            | Body::Relayed { .. }
            | Body::Absent { .. }
            | Body::Unknown
            | Body::Answer { .. } => Vec::new(),
        }
    }

    fn relay(&self, from: Reach, node: NodeIx, to: NodeIx, inner: Sealed) -> Vec<(Reach, Body)> {
        if self.clients.get(&node) != Some(&from) {
            return vec![(from, Body::Unknown)];
        }
        match self.clients.get(&to) {
            Some(reach) => vec![(*reach, Body::Relayed { inner })],
            None => vec![(from, Body::Absent { of: to })],
        }
    }

    /// The other address with the other port.
    fn other(&self, own: SocketAddr) -> SocketAddr {
        let ip = if own.ip() == self.ips[0] { self.ips[1] } else { self.ips[0] };
        let port = if own.port() == PORTS[0] { PORTS[1] } else { PORTS[0] };
        SocketAddr::new(ip, port)
    }

    /// Its own addresses beside the first, as it tells clients.
    pub(crate) fn others(&self) -> Vec<SocketAddr> {
        vec![SocketAddr::new(self.ips[1], PORTS[0]), self.other(self.address())]
    }
}
