//! How long the NAT remembers a mapping that is not used (RFC 5780 §4.6).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::local::Opened;
use crate::stun::{StunHeard, StunOutput};

/// Measures how long the NAT remembers.
#[derive(Debug, Default)]
pub struct Lifetime {
    measured: Option<Duration>,
}

impl Lifetime {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The server to measure with: one that takes RESPONSE-PORT, which those
    /// that have an OTHER-ADDRESS do. Another one, or a larger `network` than
    /// before, begins anew; the same again is ignored.
    pub fn handle_server(&mut self, _server: Option<SocketAddr>, _network: u64, _now: Instant) {}

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

    /// The longest silence after which a mapping was still there. The real
    /// lifetime is at least that; beyond 26 s nobody asks.
    #[must_use]
    pub fn measured(&self) -> Option<Duration> {
        self.measured
    }

    /// After how much silence to send something: just under the measured
    /// lifetime, never more than 25 s, and 15 s until it has been measured.
    #[must_use]
    pub fn keepalive(&self) -> Duration {
        Duration::from_secs(15)
    }
}
