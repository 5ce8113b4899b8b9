//! What travels in the simulated internet.

use std::net::SocketAddr;

use pilot_paths::StunAsk;
use pilot_proto::probe::Probe;

/// A node, by its number in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeIx(pub(crate) usize);

/// A datagram.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) body: Body,
}

/// What is in it.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Between two nodes.
    Peer(Sealed),
    /// Node to beacon: I am here.
    Bind { node: NodeIx },
    /// Beacon to node: you are, and this is where I see you.
    Bound { observed: SocketAddr },
    /// Node to beacon: for that node.
    Relay { from: NodeIx, to: NodeIx, inner: Sealed },
    /// Beacon to node: from that node.
    Relayed { inner: Sealed },
    /// Beacon to node: that node is not here.
    Absent { of: NodeIx },
    /// Beacon to node: nor are you.
    Unknown,
    /// Node to STUN server.
    Stun { node: NodeIx, asked: Asked },
    /// STUN server to node.
    Answer { node: NodeIx, asked: Asked, mapped: SocketAddr, other: Option<SocketAddr> },
}

/// Who asked a STUN server, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) by: Asker,
    pub(crate) ask: StunAsk,
}

/// The part of a node that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// The shell, for a fresh socket.
    Fresh,
    Discovery,
    Lifetime,
}

/// What only `to` can read and only `from` can have written.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) from: NodeIx,
    pub(crate) to: NodeIx,
    pub(crate) inner: Inner,
}

#[derive(Debug, Clone)]
pub(crate) enum Inner {
    Probe(Probe),
    /// Stands for QUIC.
    Data,
}
