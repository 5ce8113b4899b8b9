//! What two nodes say to each other outside of QUIC, to find a way between them.
//!
//! A [`Probe`] travels sealed, with a key that only the two nodes have, either
//! straight between them or inside a relayed packet. The first byte of the
//! plaintext is the variant; an unknown one is [`FrameError::Malformed`] and is
//! dropped, so new variants go last.
//!
//! ```text
//! Ping  00 | transaction 12
//! Pong  01 | transaction 12 | observed address
//! Call  02 | seq | answer | method | start_in_ms | nat 2 | mapped | candidates | beacons
//! ```
//!
//! A ping is answered to the address it came from, over the socket it came to.
//! A pong proves the way there and back between the two sockets it belongs to,
//! and nothing else proves one. A call is the signal by which both begin to
//! ping at the same moment.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::frame::{self, FrameError};
use crate::list;

/// The most bytes of an encoded [`Probe`]; with the seal and the header of a
/// relayed packet it is still below the 1,200 bytes that every network carries.
pub const MAX_PROBE: usize = 1_100;

/// Socket addresses in a call; further ones are dropped by the sender and
/// refused by the receiver.
pub const MAX_CANDIDATES: usize = 16;

/// Beacons in a call, likewise: a node binds at no more.
pub const MAX_CALL_BEACONS: usize = 4;

/// By which a pong is found to belong to a ping. Not to be guessed by the peer:
/// whoever can name it has seen the ping arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Transaction(pub [u8; 12]);

/// One message between two nodes outside of QUIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// Are you there, by this way?
    Ping {
        /// To be repeated in the pong.
        tx: Transaction,
    },
    /// To a [`Probe::Ping`], by the way it came.
    Pong {
        /// That of the ping.
        tx: Transaction,
        /// Where the ping came from, as its receiver saw it. By a relay it
        /// means nothing and is the unspecified address.
        observed: SocketAddr,
    },
    /// Let us ping each other. Only by a relay.
    Call(Call),
}

/// An invitation to ping each other's candidates, or the answer to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Grows with every call that its sender begins; an answer repeats it.
    pub seq: u64,
    /// Whether this answers a call instead of beginning one.
    pub answer: bool,
    /// What is proposed; an answer repeats it.
    pub method: Method,
    /// Milliseconds from the sending of this to the first ping of its sender.
    /// A node that begins starts when the answer comes: here it says after how
    /// long that was the last time, or 0 if it does not know.
    pub start_in_ms: u16,
    /// What stands between the sender and the internet.
    pub nat: Nat,
    /// Where a beacon sees the sender's main socket, if it has one that does.
    pub mapped: Option<SocketAddr>,
    /// Where its sockets may be reached, the most promising first.
    pub candidates: Candidates,
    /// The beacons at which it is bound.
    pub beacons: BeaconTimes,
}

/// How the two sides of a call go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Both ping at the same moment.
    Together,
    /// The one who began pings a little earlier.
    CallerFirst,
    /// The one who answers pings a little earlier.
    AnswererFirst,
    /// The one behind a mapping that differs by destination pings from many
    /// sockets, the other one pings many of its ports.
    Birthday,
}

/// How a NAT behaves, in the words of RFC 4787.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nat {
    /// On what the public port depends (§4.1).
    pub mapping: Behaviour,
    /// From whom packets are let in (§5).
    pub filtering: Behaviour,
}

/// On what a NAT lets something depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Behaviour {
    /// Not yet found out, or it cannot be.
    #[default]
    Unknown,
    /// There is no NAT, or it lets everything through.
    None,
    /// On nothing but the own socket.
    EndpointIndependent,
    /// On the address of the other end.
    AddressDependent,
    /// On the address and the port of the other end.
    AddressAndPortDependent,
    /// Nothing passes over UDP.
    Blocked,
}

/// At most [`MAX_CANDIDATES`] different socket addresses, the most promising first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Candidates(Vec<SocketAddr>);

/// At most [`MAX_CALL_BEACONS`] beacons with their round-trip times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BeaconTimes(Vec<BeaconTime>);

/// How far a node is from a beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconTime {
    /// The first eight bytes of the beacon's public key.
    pub key_prefix: [u8; 8],
    /// The round trip in milliseconds; [`u16::MAX`] if it has not been measured.
    pub rtt_ms: u16,
}

impl Probe {
    /// The bytes to be sealed: never more than [`MAX_PROBE`].
    ///
    /// # Errors
    ///
    /// None with the bounded lists of today; the limit is checked all the same.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let bytes = postcard::to_allocvec(self).map_err(|_| FrameError::Malformed)?;
        match bytes.len() {
            len if len > MAX_PROBE => Err(FrameError::TooLarge { len, limit: MAX_PROBE }),
            _ => Ok(bytes),
        }
    }

    /// Reads what was sealed; every byte must belong to it.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] beyond [`MAX_PROBE`]; [`FrameError::Malformed`]
    /// if it is not a probe, or something is left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        match bytes.len() {
            len if len > MAX_PROBE => Err(FrameError::TooLarge { len, limit: MAX_PROBE }),
            _ => frame::decode(bytes),
        }
    }
}

impl Nat {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { mapping: Behaviour::Unknown, filtering: Behaviour::Unknown };

    /// Nothing passes over UDP.
    pub const BLOCKED: Self = Self { mapping: Behaviour::Blocked, filtering: Behaviour::Blocked };
}

impl Candidates {
    /// Keeps the first [`MAX_CANDIDATES`] different ones.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut kept = Vec::new();
        for candidate in candidates {
            if kept.len() == MAX_CANDIDATES {
                break;
            }
            if !kept.contains(&candidate) {
                kept.push(candidate);
            }
        }
        Self(kept)
    }

    /// The addresses, the most promising first.
    #[must_use]
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl BeaconTimes {
    /// Keeps the first [`MAX_CALL_BEACONS`].
    #[must_use]
    pub fn new(beacons: impl IntoIterator<Item = BeaconTime>) -> Self {
        Self(beacons.into_iter().take(MAX_CALL_BEACONS).collect())
    }

    /// The beacons, in no order.
    #[must_use]
    pub fn as_slice(&self) -> &[BeaconTime] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Candidates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list::at_most::<MAX_CANDIDATES, _, _>(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for BeaconTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list::at_most::<MAX_CALL_BEACONS, _, _>(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;

    #[test]
    fn the_largest_call_is_below_the_limit() {
        let address =
            |port| SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from([0xff; 16]), port, 0, 0));
        let beacon = BeaconTime { key_prefix: [0xff; 8], rtt_ms: u16::MAX };
        let call = Call {
            seq: u64::MAX,
            answer: true,
            method: Method::Birthday,
            start_in_ms: u16::MAX,
            nat: Nat::BLOCKED,
            mapped: Some(address(u16::MAX)),
            candidates: Candidates::new((0..20).map(|i| address(u16::MAX - i))),
            beacons: BeaconTimes::new([beacon; 9]),
        };
        assert_eq!(call.candidates.as_slice().len(), MAX_CANDIDATES);
        assert_eq!(call.beacons.as_slice().len(), MAX_CALL_BEACONS);

        let bytes = Probe::Call(call.clone()).encode().unwrap();

        assert!(bytes.len() <= MAX_PROBE / 2, "{} bytes", bytes.len());
        assert_eq!(Probe::decode(&bytes), Ok(Probe::Call(call)));
    }

    #[test]
    fn a_candidate_named_twice_is_kept_once() {
        let address: SocketAddr = "192.0.2.1:4000".parse().unwrap();

        assert_eq!(Candidates::new([address, address]).as_slice(), [address]);
    }

    #[test]
    fn more_bytes_than_a_probe_may_have_are_refused_unread() {
        let too_many = vec![0; MAX_PROBE + 1];

        let error = FrameError::TooLarge { len: MAX_PROBE + 1, limit: MAX_PROBE };
        assert_eq!(Probe::decode(&too_many), Err(error));
    }
}
