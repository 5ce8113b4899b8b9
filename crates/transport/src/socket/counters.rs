//! What went through a socket.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went through a socket since it was bound, in datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketStats {
    /// QUIC datagrams received.
    pub quic: u64,
    /// STUN and marked datagrams received and handed over.
    pub aside: u64,
    /// Datagrams dropped because too many waited.
    pub dropped: u64,
    /// Datagrams dropped because they are nothing known.
    pub garbage: u64,
    /// Datagrams given to the kernel or a carrier, of all kinds.
    pub sent: u64,
    /// Of these, QUIC that went to trusted peers.
    pub to_peers: ByWay,
    /// QUIC datagrams that came from trusted peers.
    pub from_peers: ByWay,
}

/// Datagrams by the way they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByWay {
    /// Straight.
    pub direct: u64,
    /// Through a relay.
    pub relayed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) quic: AtomicU64,
    pub(super) aside: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) garbage: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) to_peers: WayCounters,
    pub(super) from_peers: WayCounters,
}

#[derive(Debug, Default)]
pub(super) struct WayCounters {
    pub(super) direct: AtomicU64,
    pub(super) relayed: AtomicU64,
}

impl WayCounters {
    fn read(&self) -> ByWay {
        ByWay {
            direct: self.direct.load(Ordering::Relaxed),
            relayed: self.relayed.load(Ordering::Relaxed),
        }
    }
}

impl Counters {
    pub(super) fn read(&self) -> SocketStats {
        SocketStats {
            quic: self.quic.load(Ordering::Relaxed),
            aside: self.aside.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            garbage: self.garbage.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            to_peers: self.to_peers.read(),
            from_peers: self.from_peers.read(),
        }
    }
}

pub(super) fn count(counter: &AtomicU64, datagrams: usize) {
    counter.fetch_add(u64::try_from(datagrams).unwrap_or(u64::MAX), Ordering::Relaxed);
}
