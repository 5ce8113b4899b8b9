//! New connections, each source limited by itself.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use crate::limits::{Limiter, source};

/// What is done with somebody who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// Let in.
    Accept,
    /// Its source knocks often: it shows first that it is really there, so
    /// that nobody uses up the share of another with a false address.
    Prove,
    /// Its source had its share.
    Refuse,
}

/// Decides about each handshake that begins; see [`Limiter`] for the burst.
#[derive(Debug)]
pub struct Knocks {
    connections: Limiter<IpAddr>,
    limit_loopback: bool,
}

impl Knocks {
    /// Lets each source begin `per_second` connections; at most `max_sources`
    /// may be busy at once.
    #[must_use]
    pub fn new(per_second: NonZeroU32, max_sources: usize, limit_loopback: bool) -> Self {
        Self { connections: Limiter::new(per_second, max_sources), limit_loopback }
    }

    /// Somebody knocks from `ip`; `is_proved` if it answers there.
    pub fn knock(&mut self, ip: IpAddr, is_proved: bool, now: Instant) -> Knock {
        if self.is_exempt(ip) {
            return Knock::Accept;
        }
        let source = source(ip);
        if !is_proved && self.connections.is_strained(&source, now) {
            Knock::Prove
        } else if self.connections.take(source, now).is_ok() {
            Knock::Accept
        } else {
            Knock::Refuse
        }
    }

    /// Whether `ip` is on this machine, and that is not limited: whoever is
    /// there has cheaper ways to use it up.
    #[must_use]
    pub const fn is_exempt(&self, ip: IpAddr) -> bool {
        !self.limit_loopback && ip.to_canonical().is_loopback()
    }
}
