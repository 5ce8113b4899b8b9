//! The STUN server: which address answers, and how often (RFC 8489, RFC 5780).
//!
//! ```text
//!                     port             other port
//! address             0                1
//! other address       2                3
//! ```
//!
//! With all four it does everything that RFC 5780 asks for. With an other
//! port alone it answers there, and from there if asked to; but it names no
//! OTHER-ADDRESS, from which standard clients would conclude that there is
//! another address, too. Pure; the driver has the sockets.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Instant;

use pilot_stun::{
    AnswerFrom, CHANGE_REQUEST, Mapped, Outcome, Request, Response, UnknownAttributes,
};
use pilot_transport::{Limiter, source};

/// Sources that may be busy at once; see [`Limiter`].
const MAX_SOURCES: usize = 65_536;

/// Answers a second to another port than the one that asked. Nobody needs many:
/// a node measures the life of its NAT's mappings in seconds.
const ELSEWHERE_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// One of the up to four sockets: the other port is bit 0, the other address bit 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketIndex(usize);

impl SocketIndex {
    /// The socket that also relays.
    pub const MAIN: Self = Self(0);
    /// All there can be.
    pub const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// Its place in a list of all.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }

    const fn changed(self, how: AnswerFrom) -> Self {
        Self(match how {
            AnswerFrom::Same => self.0,
            AnswerFrom::OtherPort => self.0 ^ 1,
            AnswerFrom::OtherAddress => self.0 ^ 2,
            AnswerFrom::Other => self.0 ^ 3,
        })
    }
}

/// Where the sockets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One address and port.
    One(SocketAddr),
    /// One address, two ports.
    Ports(SocketAddr, u16),
    /// Two addresses and two ports of each; neither is unspecified.
    Full(SocketAddr, SocketAddr),
}

impl Layout {
    /// The address of a socket, if there is one.
    #[must_use]
    pub fn addr(&self, socket: SocketIndex) -> Option<SocketAddr> {
        match (*self, socket.0) {
            (Self::One(main) | Self::Ports(main, _) | Self::Full(main, _), 0) => Some(main),
            (Self::Ports(main, port), 1) => Some(SocketAddr::new(main.ip(), port)),
            (Self::Full(main, other), 1) => Some(SocketAddr::new(main.ip(), other.port())),
            (Self::Full(main, other), 2) => Some(SocketAddr::new(other.ip(), main.port())),
            (Self::Full(_, other), 3) => Some(other),
            (Self::One(_) | Self::Ports(..) | Self::Full(..), _) => None,
        }
    }

    /// What clients of the beacon are told besides where they found it. An
    /// unspecified address stands for the one that they used: the beacon may
    /// not know it, behind a NAT that maps its ports one to one.
    #[must_use]
    pub fn told(&self) -> Vec<SocketAddr> {
        let here = |port| match *self {
            Self::One(main) | Self::Ports(main, _) | Self::Full(main, _) => {
                let any: IpAddr = match main.ip() {
                    IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
                };
                SocketAddr::new(any, port)
            }
        };
        match *self {
            Self::One(_) => Vec::new(),
            Self::Ports(_, port) => vec![here(port)],
            Self::Full(main, other) => {
                vec![here(other.port()), SocketAddr::new(other.ip(), main.port()), other]
            }
        }
    }
}

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Who asks.
    pub from: SocketAddr,
    /// The socket.
    pub socket: SocketIndex,
    /// The address of this machine that was asked, where the kernel tells it.
    pub local_ip: Option<IpAddr>,
}

/// An answer to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunAnswer {
    /// From which socket.
    pub socket: SocketIndex,
    /// From which address of the socket, if it has several.
    pub local_ip: Option<IpAddr>,
    /// Where it goes.
    pub to: SocketAddr,
    /// All of it.
    pub message: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct StunServer {
    layout: Layout,
    limit_loopback: bool,
    answers: Limiter<IpAddr>,
    elsewhere: Limiter<IpAddr>,
    limited: u64,
    answered: u64,
}

impl StunServer {
    /// Answers each source `per_second` times at most.
    #[must_use]
    pub fn new(layout: Layout, per_second: NonZeroU32, limit_loopback: bool) -> Self {
        Self {
            layout,
            limit_loopback,
            answers: Limiter::new(per_second, MAX_SOURCES),
            elsewhere: Limiter::new(ELSEWHERE_PER_SECOND, MAX_SOURCES),
            limited: 0,
            answered: 0,
        }
    }

    /// How many requests were answered, and how many were too many.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.answered, self.limited)
    }

    /// The answer to what came, if it wants one.
    pub fn handle(&mut self, arrival: Arrival, message: &[u8], now: Instant) -> Option<StunAnswer> {
        let Arrival { from, socket, local_ip } = arrival;
        // Told apart before anything is read: a flood costs a look at a bucket.
        let source = source(from.ip());
        let is_limited = self.limit_loopback || !from.ip().to_canonical().is_loopback();
        if is_limited && self.answers.take(source, now).is_err() {
            self.limited = self.limited.saturating_add(1);
            return None;
        }
        let request = Request::decode(message);
        let here = StunAnswer { socket, local_ip, to: from, message: Vec::new() };
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                tracing::trace!(%from, %error, "no Binding request");
                let message = error.response()?.encode();
                self.answered = self.answered.saturating_add(1);
                return Some(StunAnswer { message, ..here });
            }
        };
        let mut answer = here;
        if let Some(port) = request.response_port {
            if is_limited && self.elsewhere.take(source, now).is_err() {
                self.limited = self.limited.saturating_add(1);
                return None;
            }
            answer.to.set_port(port);
        }
        answer.socket = socket.changed(request.answer_from);
        if self.layout.addr(answer.socket).is_none() {
            // RFC 5780 §6.1: as one who does not know the attribute.
            answer.socket = socket;
        }
        answer.message = self.response(&request, arrival, answer.socket).encode();
        // Only the socket that was asked has its address by that name.
        let is_other_ip = (answer.socket.0 ^ socket.0) & 2 != 0;
        answer.local_ip = local_ip.filter(|_| !is_other_ip);
        self.answered = self.answered.saturating_add(1);
        Some(answer)
    }

    fn response(&self, request: &Request, arrival: Arrival, answering: SocketIndex) -> Response {
        let wanted = arrival.socket.changed(request.answer_from);
        let outcome = if wanted == answering {
            let known = |ip: &IpAddr| !ip.is_unspecified();
            let origin = self.layout.addr(answering).and_then(|bound| {
                let ip = Some(bound.ip()).filter(known).or(arrival.local_ip)?;
                Some(SocketAddr::new(ip.to_canonical(), bound.port()))
            });
            let other = match self.layout {
                Layout::Full(..) => self.layout.addr(arrival.socket.changed(AnswerFrom::Other)),
                Layout::One(_) | Layout::Ports(..) => None,
            };
            // As long as the request at most: padding is no way to send more
            // to somebody else.
            let padding = request.padding.unwrap_or(0);
            let plain = other.map(|_| arrival.from);
            Outcome::Mapped(Mapped { address: arrival.from, plain, origin, other, padding })
        } else {
            Outcome::UnknownAttributes(UnknownAttributes::new([CHANGE_REQUEST]))
        };
        Response {
            transaction: request.transaction,
            outcome,
            has_fingerprint: request.has_fingerprint,
        }
    }
}
