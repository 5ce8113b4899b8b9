//! The paths to one peer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use pilot_proto::probe::Probe;

use crate::chosen::{Chosen, Reason};
use crate::local::{Local, Opened, Traffic};
use crate::output::Output;
use crate::via::{BeaconId, LocalId, Via};

/// Sockets that are opened at once for birthday probing, at most.
pub const MAX_BIRTHDAY_SOCKETS: u16 = 256;

/// The paths to one peer, for as long as it is trusted.
#[derive(Debug)]
pub struct Paths {
    chosen: Option<Chosen>,
    reason: Reason,
    outbox: VecDeque<Output>,
}

impl Paths {
    /// Nothing known, nothing wanted. The seed is random and secret, and never
    /// used for anything else: the peer must not guess the transactions.
    #[must_use]
    pub fn new(_seed: [u8; 32], _now: Instant) -> Self {
        Self { chosen: None, reason: Reason::NoPath, outbox: VecDeque::new() }
    }

    /// Somebody here has a session with the peer, or wants one. While nobody
    /// does nothing is sent but answers.
    pub fn handle_wanted(&mut self, _wanted: bool, _now: Instant) {}

    /// This node's side changed. Cheap if it did not: may be called with the
    /// same again.
    pub fn handle_local(&mut self, _local: Local, _now: Instant) {}

    /// Where the registry's card of the peer says that it is.
    pub fn handle_endpoints(&mut self, _endpoints: &[SocketAddr], _now: Instant) {}

    /// A probe of the peer came this way. The shell has opened it with the key
    /// of the two nodes: nobody else can have made it, but anybody can have
    /// sent it again, from anywhere. The source of a direct one is in `via`.
    pub fn handle_probe(&mut self, _via: Via, _probe: Probe, _now: Instant) {}

    /// QUIC sent or received on the chosen path.
    pub fn handle_traffic(&mut self, _traffic: Traffic, _now: Instant) {}

    /// A beacon says that the peer is not bound there.
    pub fn handle_absent(&mut self, _beacon: BeaconId, _now: Instant) {}

    /// The answer to [`Output::OpenSockets`]. Sockets that are no longer wanted
    /// are given back by [`Output::CloseSockets`].
    pub fn handle_sockets(&mut self, _opened: Opened, _now: Instant) {}

    /// A socket that was opened for this machine is gone.
    pub fn handle_socket_lost(&mut self, _local: LocalId, _now: Instant) {}

    /// The time of [`next_deadline`](Self::next_deadline) has come. Harmless earlier.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The path in use; none if the peer cannot be reached now.
    #[must_use]
    pub fn chosen(&self) -> Option<Chosen> {
        self.chosen
    }

    /// Why this path is in use, or why none is.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}
