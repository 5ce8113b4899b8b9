//! Names of the ways by which a packet can go.

use std::net::SocketAddr;

/// A UDP socket of this node. The shell gives out the numbers, and never one
/// twice while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(pub u32);

/// A beacon that this node knows: the shell's number for it, the same for all
/// peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BeaconId(pub u8);

/// A way for a packet to or from one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// Straight between two sockets.
    Direct {
        /// The socket here.
        local: LocalId,
        /// The address of the one there, as this side sees it.
        remote: SocketAddr,
    },
    /// Through a beacon.
    Relay(BeaconId),
}

impl LocalId {
    /// The socket that is there as long as the program runs.
    pub const MAIN: Self = Self(0);
}

impl Via {
    /// Whether no beacon stands between.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}
