//! What kind of NAT this node is behind, from STUN answers (RFC 5780).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::local::Opened;
use crate::stun::{Finding, StunHeard, StunOutput};

/// Public addresses of the main socket that are remembered.
pub const MAX_MAPPED: usize = 4;

/// A STUN server, usually a beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer {
    /// Where it is asked first.
    pub address: SocketAddr,
    /// Its other addresses and ports, as far as it told them outside of STUN;
    /// at most four are looked at.
    pub others: Vec<SocketAddr>,
}

/// Finds out what kind of NAT this node is behind.
#[derive(Debug, Default)]
pub struct Discovery {
    finding: Finding,
}

impl Discovery {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What there is to ask, and what this machine's own addresses are. A
    /// larger `network` than before begins anew, as do other servers or own
    /// addresses; the same again is ignored.
    pub fn handle_local(
        &mut self,
        _servers: &[StunServer],
        _own: &[IpAddr],
        _network: u64,
        _now: Instant,
    ) {
    }

    /// An answer came.
    pub fn handle_stun(&mut self, _heard: StunHeard, _now: Instant) {}

    /// The answer to [`StunOutput::OpenSockets`].
    pub fn handle_sockets(&mut self, _opened: Opened, _now: Instant) {}

    /// The time of [`next_deadline`](Self::next_deadline) has come. Harmless earlier.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<StunOutput> {
        None
    }

    /// What is known by now.
    #[must_use]
    pub fn finding(&self) -> &Finding {
        &self.finding
    }

    /// Whether all that can be found out has been.
    #[must_use]
    pub fn is_done(&self) -> bool {
        true
    }
}
