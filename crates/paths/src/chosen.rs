//! The path that is used, and why this one.

use core::fmt;
use std::time::{Duration, Instant};

use crate::via::Via;

/// A path that carries what goes to the peer.
///
/// A direct one has always been proven by an own ping and its pong. The source
/// of an authentic ping is not enough, not even when there is no other path:
/// whoever overheard a ping can send it again from a forged source, and QUIC
/// would then flood somebody else. Such a source gets a pong and a ping at once
/// instead, so that honest peers wait for one round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The way.
    pub via: Via,
    /// Why this one.
    pub reason: Reason,
    /// Since when this way is used.
    pub since: Instant,
    /// The smoothed round trip by own pings; of a relay the sum of both ends'
    /// round trips to the beacon, where known.
    pub rtt: Option<Duration>,
}

/// Why a path is used, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing is proven yet; a relay needs no proof.
    RelayFirst,
    /// Another beacon is nearer to both, or the one used was lost.
    RelayBetter,
    /// A direct path was proven by an own ping and its pong.
    DirectProven,
    /// A direct path was clearly faster than the direct one used before.
    DirectFaster,
    /// A direct path on the local network was as fast as another one.
    DirectNearer,
    /// A direct path found by birthday probing was proven.
    Birthday,
    /// The direct path used before no longer answers.
    DirectDied,
    /// The network of this machine changed and the direct path with it.
    NetworkChanged,
    /// No path: every beacon says that the peer is not there.
    PeerAbsent,
    /// No path: this node is bound at no beacon, and nothing is proven.
    NoPath,
}

impl Reason {
    /// The word for it in the output of programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RelayFirst => "relay_first",
            Self::RelayBetter => "relay_better",
            Self::DirectProven => "direct_proven",
            Self::DirectFaster => "direct_faster",
            Self::DirectNearer => "direct_nearer",
            Self::Birthday => "birthday",
            Self::DirectDied => "direct_died",
            Self::NetworkChanged => "network_changed",
            Self::PeerAbsent => "peer_absent",
            Self::NoPath => "no_path",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
