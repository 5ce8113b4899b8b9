//! Birthday probing: a hole where the public port cannot be known.
//!
//! One node is behind a NAT that gives each destination another public port,
//! the other one behind a NAT that lets in only whom was written to. The first
//! opens many sockets and pings the other one's public address from each: as
//! many public ports. The second pings ports of the first one's public address
//! at random. Where the two meet, both NATs have seen a packet go out before
//! one comes in: with 256 sockets and 1,000 of 64,512 ports that happens 98
//! times in 100.
//!
//! Polite: 100 packets a second from each side for 10 s at most, to one address
//! that the peer names as its own, and only when the two have a relay already.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::campaign::BIRTHDAY_FOR;
use crate::local::OpenRequest;
use crate::via::LocalId;

/// Sockets that are opened at once for birthday probing, at most.
pub const MAX_BIRTHDAY_SOCKETS: u16 = 256;

/// Between two pings, on either side. Over 256 sockets each is used again after
/// 2.6 s, well before a NAT forgets it.
const PING_EVERY: Duration = Duration::from_millis(10);

/// How long the sockets are kept after the other side has ended, or a path was
/// found.
const LINGER: Duration = Duration::from_secs(2);

/// Late wake-ups are made up for by so many pings at once.
const CATCH_UP: u8 = 5;

/// The ports that NATs give out: those that programs use without privileges.
const FIRST_PORT: u16 = 1024;
const PORTS: u64 = 65_536 - FIRST_PORT as u64;

/// Birthday probing, if it is under way.
#[derive(Debug, Default)]
pub(crate) struct Birthday {
    state: State,
    requests: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// A path was found. The peer may have found another one a moment before:
    /// its socket must still be there when the peer's first packets come.
    Met {
        sockets: Vec<LocalId>,
        until: Instant,
    },
    Opening {
        request: OpenRequest,
        target: SocketAddr,
        until: Instant,
    },
    Many {
        sockets: Vec<LocalId>,
        turn: usize,
        target: SocketAddr,
        pace: Pace,
    },
    Scan {
        ip: IpAddr,
        ports: Ports,
        pace: Pace,
    },
}

impl Birthday {
    /// Whether nothing is being looked for.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle | State::Met { .. })
    }

    /// Begins as the one with many sockets: they are to be opened.
    pub(crate) fn start_many(&mut self, target: SocketAddr, now: Instant) -> OpenRequest {
        self.requests = self.requests.wrapping_add(1);
        // Campaigns use the even numbers.
        let request = OpenRequest(self.requests.wrapping_mul(2).wrapping_sub(1));
        self.state = State::Opening { request, target, until: now + BIRTHDAY_FOR };
        request
    }

    /// Begins as the one that pings many ports, in an order drawn by `chance`.
    pub(crate) fn start_scan(&mut self, ip: IpAddr, first: Instant, chance: u64) {
        let pace = Pace { next: first, until: first + BIRTHDAY_FOR };
        self.state = State::Scan { ip, ports: Ports::new(chance), pace };
    }

    /// Sockets were opened; whether they are those of this machine.
    pub(crate) fn handle_sockets(
        &mut self,
        request: OpenRequest,
        sockets: impl Iterator<Item = LocalId>,
        now: Instant,
    ) -> bool {
        let State::Opening { request: ours, target, .. } = self.state else { return false };
        if ours != request {
            return false;
        }
        let sockets: Vec<_> = sockets.take(MAX_BIRTHDAY_SOCKETS.into()).collect();
        let pace = Pace { next: now, until: now + BIRTHDAY_FOR + LINGER };
        self.state = if sockets.is_empty() {
            State::Idle
        } else {
            State::Many { sockets, turn: 0, target, pace }
        };
        true
    }

    pub(crate) fn handle_socket_lost(&mut self, lost: LocalId) {
        if let State::Many { sockets, .. } | State::Met { sockets, .. } = &mut self.state {
            sockets.retain(|local| *local != lost);
        }
    }

    /// A path was found.
    pub(crate) fn handle_met(&mut self, now: Instant) {
        self.state = match core::mem::take(&mut self.state) {
            State::Many { sockets, .. } => State::Met { sockets, until: now + LINGER },
            met @ State::Met { .. } => met,
            State::Idle | State::Opening { .. } | State::Scan { .. } => State::Idle,
        };
    }

    /// No path is wanted.
    pub(crate) fn stop(&mut self) {
        self.state = State::Idle;
    }

    /// The next ping that is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(LocalId, SocketAddr)> {
        if self.until().is_some_and(|until| until <= now) {
            self.stop();
        }
        match &mut self.state {
            State::Idle | State::Opening { .. } | State::Met { .. } => None,
            State::Many { sockets, turn, target, pace } => {
                if !pace.take(now) {
                    return None;
                }
                let local = sockets.get(*turn % sockets.len().max(1)).copied();
                *turn = turn.wrapping_add(1);
                local.map(|local| (local, *target))
            }
            State::Scan { ip, ports, pace } => {
                pace.take(now).then(|| (LocalId::MAIN, SocketAddr::new(*ip, ports.next())))
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Opening { until, .. } | State::Met { until, .. } => Some(*until),
            State::Many { pace, .. } | State::Scan { pace, .. } => Some(pace.next.min(pace.until)),
        }
    }

    /// Whether a path with these ends was found by it.
    pub(crate) fn found(&self, local: LocalId, remote: SocketAddr) -> bool {
        match &self.state {
            State::Idle | State::Opening { .. } | State::Met { .. } => false,
            State::Many { sockets, target, .. } => remote == *target || sockets.contains(&local),
            State::Scan { ip, .. } => remote.ip() == *ip,
        }
    }

    /// The sockets in use.
    pub(crate) fn locals(&self) -> &[LocalId] {
        match &self.state {
            State::Many { sockets, .. } | State::Met { sockets, .. } => sockets,
            State::Idle | State::Opening { .. } | State::Scan { .. } => &[],
        }
    }

    const fn until(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Opening { until, .. } | State::Met { until, .. } => Some(*until),
            State::Many { pace, .. } | State::Scan { pace, .. } => Some(pace.until),
        }
    }
}

#[derive(Debug)]
struct Pace {
    next: Instant,
    until: Instant,
}

impl Pace {
    fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let behind = now - self.next;
        self.next += behind.saturating_sub(PING_EVERY * CATCH_UP.into()) + PING_EVERY;
        true
    }
}

/// All ports, each once, in an order that chance picks.
#[derive(Debug)]
struct Ports {
    at: u64,
    step: u64,
}

impl Ports {
    fn new(chance: u64) -> Self {
        // 64,512 is 2^10 · 3^2 · 7: with a step that shares none of these
        // factors every port comes before any comes twice.
        let mut step = ((chance >> 32) % PORTS) | 1;
        while step.is_multiple_of(3) || step.is_multiple_of(7) {
            step += 2;
        }
        Self { at: (chance & 0xffff_ffff) % PORTS, step }
    }

    fn next(&mut self) -> u16 {
        self.at = (self.at + self.step) % PORTS;
        u16::try_from(self.at).unwrap_or_default().saturating_add(FIRST_PORT)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn target() -> SocketAddr {
        "198.51.100.2:4000".parse().unwrap()
    }

    fn run(birthday: &mut Birthday) -> Vec<(LocalId, SocketAddr)> {
        let mut pings = Vec::new();
        while let Some(at) = birthday.deadline() {
            pings.extend(core::iter::from_fn(|| birthday.poll(at)));
        }
        pings
    }

    #[test]
    fn every_port_comes_once() {
        for chance in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let mut ports = Ports::new(chance);
            let seen: BTreeSet<u16> = (0..PORTS).map(|_| ports.next()).collect();
            assert_eq!(seen.len() as u64, PORTS);
            assert_eq!(seen.first(), Some(&FIRST_PORT));
        }
    }

    #[test]
    fn a_scan_sends_a_hundred_packets_a_second_for_ten_seconds() {
        let now = crate::clock::start();
        let mut birthday = Birthday::default();
        birthday.start_scan(target().ip(), now, 7);

        let pings = run(&mut birthday);

        assert_eq!(pings.len(), 1_000);
        let ports: BTreeSet<u16> = pings.iter().map(|(_, to)| to.port()).collect();
        assert_eq!(ports.len(), 1_000);
        assert!(pings.iter().all(|(from, to)| *from == LocalId::MAIN && to.ip() == target().ip()));
        assert!(birthday.is_idle());
    }

    #[test]
    fn many_sockets_take_turns() {
        let now = crate::clock::start();
        let mut birthday = Birthday::default();
        let request = birthday.start_many(target(), now);
        assert!(birthday.poll(now).is_none());
        assert!(!birthday.handle_sockets(OpenRequest(8), [LocalId(1)].into_iter(), now));

        assert!(birthday.handle_sockets(request, (1..=1_000).map(LocalId), now));
        assert_eq!(birthday.locals().len(), usize::from(MAX_BIRTHDAY_SOCKETS));
        let pings = run(&mut birthday);

        assert_eq!(pings.len(), 1_200);
        assert!(pings.iter().all(|(_, to)| *to == target()));
        let first: BTreeSet<LocalId> = pings[..256].iter().map(|(from, _)| *from).collect();
        assert_eq!(first.len(), 256);
        assert!(birthday.locals().is_empty());
    }

    #[test]
    fn without_sockets_it_ends_and_without_an_answer_too() {
        let now = crate::clock::start();
        let mut birthday = Birthday::default();
        let request = birthday.start_many(target(), now);
        birthday.handle_sockets(request, core::iter::empty(), now);
        assert!(birthday.is_idle());

        birthday.start_many(target(), now);
        birthday.poll(now + BIRTHDAY_FOR);

        assert!(birthday.is_idle());
    }

    #[test]
    fn a_late_wake_up_is_no_burst() {
        let now = crate::clock::start();
        let mut birthday = Birthday::default();
        birthday.start_scan(target().ip(), now, 7);

        let late = now + Duration::from_secs(5);
        let burst = core::iter::from_fn(|| birthday.poll(late)).count();

        assert!(burst <= usize::from(CATCH_UP) + 1, "{burst}");
    }
}
