//! What the shell knows about this node, told to the machine of every peer.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_proto::probe::Nat;

use crate::via::{BeaconId, LocalId};

/// This node's side, as the shell and the STUN machines see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Where the main socket may be reached: interfaces, mappings asked of a
    /// router, fixed ones, and what STUN told. The most promising first; those
    /// beyond [`MAX_CANDIDATES`](pilot_proto::probe::MAX_CANDIDATES) are left out.
    pub candidates: Vec<SocketAddr>,
    /// Where a beacon sees the main socket. None as long as none has told.
    pub mapped: Option<SocketAddr>,
    /// How the NAT behaves ([`Discovery`](crate::Discovery) finds out).
    pub nat: Nat,
    /// For how long a silent path may be left before its mapping is in danger
    /// ([`Lifetime`](crate::Lifetime) measures it). Taken as 2 s if it is less,
    /// and as 25 s if it is more.
    pub keepalive: Duration,
    /// The beacons; at most [`MAX_CALL_BEACONS`](pilot_proto::probe::MAX_CALL_BEACONS)
    /// are looked at.
    pub beacons: Vec<Beacon>,
    /// Grows whenever the network of this machine changed (another address,
    /// another interface, woken from sleep): all proofs are then forgotten.
    pub network: u64,
}

/// A beacon as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// The shell's number for it.
    pub id: BeaconId,
    /// The first eight bytes of its public key: its name between two nodes.
    pub key_prefix: [u8; 8],
    /// The round trip to it, once measured.
    pub rtt: Option<Duration>,
    /// Whether this node is bound there now, and it relays.
    pub bound: bool,
}

/// Names one wish for sockets of one machine. The shell keeps it together with
/// whose wish it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenRequest(pub u32);

/// What became of a wish for sockets. Every wish gets one such answer, with
/// fewer sockets than wished, or none, if there are no more to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The wish.
    pub request: OpenRequest,
    /// The sockets, each with the address that a STUN server saw it come
    /// from, if that was wished for and an answer came.
    pub sockets: Vec<(LocalId, Option<SocketAddr>)>,
}

/// What QUIC did on the chosen path since the last time it was told.
///
/// Told at most ten times a second and only when something happened. Neither
/// counts as a proof: the source of a packet can be forged, and packets may
/// arrive while none get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Something was sent.
    pub sent: bool,
    /// Something came.
    pub heard: bool,
}
