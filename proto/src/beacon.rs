//! What nodes and beacons say to each other, over UDP or a carrier.
//!
//! ```text
//! a9 'p' 'l' 't'  TYPE  …                                       control ([`MARK`])
//! a9 'p' 'l' 'r'  RELAY ID (12)  inner datagram                 relayed ([`RELAY_MARK`])
//!
//! type          from    after the type
//! 1 probe       node    not read by beacons
//! 2 hello       node    its key (32), zeros up to 128 bytes in all
//! 3 challenge   beacon  its key (32), cookie (16)
//! 4 bind        node    its key (32), cookie (16), nonce (12), sealed [`Bind`]
//! 5 told        beacon  nonce (12), sealed [`Told`]
//! 6 alive       node    its relay id (12), nonce (12), sealed [`Alive`]
//! 7 unknown     beacon  nothing
//! ```
//!
//! What is sealed is postcard under the [`PairKey`] of node and beacon for
//! [`CONTEXT`], which authenticates all bytes before it. Of a relayed packet
//! the id is the receiver's on the way to the beacon and the sender's on the
//! way from it.

use core::fmt;
use std::net::SocketAddr;

use pilot_identity::{NONCE_BYTES, NodeId, PairKey, SEAL_OVERHEAD, SignedTicket};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{frame, list};

/// How packets of ours that are no QUIC begin.
///
/// The two high bits are `10`: QUIC has bit `0x40` set, STUN has neither.
pub const MARK: [u8; 4] = [0xa9, b'p', b'l', b't'];

/// How relayed packets begin.
pub const RELAY_MARK: [u8; 4] = [0xa9, b'p', b'l', b'r'];

/// Bytes of a relayed packet before the inner datagram: [`RELAY_MARK`] and a [`RelayId`].
pub const RELAY_HEADER: usize = RELAY_MARK.len() + RelayId::BYTES;

/// The purpose of the [`PairKey`] of a node and a beacon.
pub const CONTEXT: &str = "pilot/1 beacon";

/// Bytes of a hello. It is padded so that no answer to it is larger: whoever
/// forges its source wins nothing.
pub const HELLO_BYTES: usize = 128;

/// Bytes of a challenge.
pub const CHALLENGE_BYTES: usize = HEADER + KEY_BYTES + COOKIE_BYTES;

/// Bytes of a cookie.
pub const COOKIE_BYTES: usize = 16;

/// The whole of a packet of type unknown: "you are not bound here".
pub const UNKNOWN: [u8; HEADER] = header(TYPE_UNKNOWN);

/// The type of a probe between nodes, which beacons pass on unread.
pub const TYPE_PROBE: u8 = 1;

/// The longest control packet of node and beacon, in bytes; the longest there
/// is today has less than 300. A longer one is refused.
pub const MAX_PACKET: usize = 1024;

/// Further STUN addresses that a beacon may tell.
pub const MAX_STUN: usize = 4;

const TYPE_HELLO: u8 = 2;
const TYPE_CHALLENGE: u8 = 3;
const TYPE_BIND: u8 = 4;
const TYPE_TOLD: u8 = 5;
const TYPE_ALIVE: u8 = 6;
const TYPE_UNKNOWN: u8 = 7;

const HEADER: usize = MARK.len() + 1;
const KEY_BYTES: usize = 32;

/// What a node is called in relayed packets: the first 12 bytes of a hash of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayId([u8; Self::BYTES]);

impl RelayId {
    /// How many bytes it has.
    pub const BYTES: usize = 12;

    /// The id of `node`.
    #[must_use]
    pub fn of(node: &NodeId) -> Self {
        let hash = blake3::derive_key("pilot/1 relay id", node.as_bytes());
        Self(hash.first_chunk().copied().unwrap_or_default())
    }

    /// The id that came in a packet.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// What comes before the inner datagram of a relayed packet.
#[must_use]
pub fn relay_header(id: RelayId) -> [u8; RELAY_HEADER] {
    let mut header = [0; RELAY_HEADER];
    let (mark, rest) = header.split_at_mut(RELAY_MARK.len());
    mark.copy_from_slice(&RELAY_MARK);
    rest.copy_from_slice(id.as_bytes());
    header
}

/// The id and the inner datagram of a relayed packet; nothing if it is none.
#[must_use]
pub fn split_relayed(packet: &[u8]) -> Option<(RelayId, &[u8])> {
    let (id, inner) = packet.strip_prefix(&RELAY_MARK)?.split_first_chunk()?;
    Some((RelayId(*id), inner))
}

/// What a beacon does, one bit each; unknown bits are kept and mean nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Services(u8);

impl Services {
    /// It answers STUN.
    pub const STUN: Self = Self(1);
    /// It passes control packets on between its clients.
    pub const PUNCH: Self = Self(2);
    /// It passes everything on between its clients.
    pub const RELAY: Self = Self(4);
    /// Nothing at all.
    pub const NONE: Self = Self(0);
    /// All that this version knows.
    pub const ALL: Self = Self(7);

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Words with commas between them, or `none`.
impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [(Self::STUN, "stun"), (Self::PUNCH, "punch"), (Self::RELAY, "relay")];
        let mut comma = "";
        for (_, word) in known.iter().filter(|(service, _)| self.contains(*service)) {
            write!(f, "{comma}{word}")?;
            comma = ",";
        }
        if comma.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// What a node says to be bound: from then on the beacon sends what is for it
/// to the address that this came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Larger than in every packet of this node before; the wall clock in
    /// microseconds is such a number.
    pub seq: u64,
    /// That the node is registered, for a beacon that wants to know.
    pub ticket: Option<SignedTicket>,
}

/// What a bound node says from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// As in [`Bind`].
    pub seq: u64,
}

/// What a beacon tells a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// To [`Bind`]: done.
    Bound {
        /// Of the packet that this answers.
        seq: u64,
        /// Where the node is seen to come from.
        observed: SocketAddr,
        /// Further addresses of this beacon that answer STUN: another port of
        /// the same address, and another address. An unspecified IP address
        /// stands for the one at which the node found the beacon.
        #[serde(deserialize_with = "list::at_most::<MAX_STUN, _, _>")]
        stun: Vec<SocketAddr>,
        /// What the beacon does.
        services: Services,
    },
    /// To [`Alive`].
    Alive {
        /// Of the packet that this answers.
        seq: u64,
        /// Where the node is seen to come from.
        observed: SocketAddr,
    },
    /// A relayed packet was dropped: nobody of this id is bound here. Not
    /// told of every one.
    Absent {
        /// For whom it was.
        id: RelayId,
    },
    /// To [`Bind`]: not done.
    Refused {
        /// Of the packet that this answers.
        seq: u64,
        /// Why.
        code: BindRefusal,
    },
}

/// Why a node is not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum BindRefusal {
    /// This beacon takes nobody without one.
    #[error("the beacon wants a ticket of its rendezvous")]
    NoTicket,
    /// It is of another rendezvous, or another node, or forged.
    #[error("the beacon does not take this ticket")]
    BadTicket,
    /// It was good.
    #[error("the ticket has expired")]
    Expired,
    /// Too many nodes are bound.
    #[error("the beacon is full")]
    Full,
    /// The number is not larger than one that the beacon has seen of this node.
    #[error("the packet is an old one")]
    Stale,
}

/// Bytes that only their receiver can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    before: &'a [u8],
    nonce: [u8; NONCE_BYTES],
    bytes: &'a [u8],
}

/// Sealed bytes that are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Not sealed by whom the packet claims, for this node.
    #[error("the packet does not open")]
    Forged,
    /// Sealed by it, and yet no message.
    #[error("the packet opens and does not decode")]
    Malformed,
}

impl Sealed<'_> {
    /// What is in it, if the other half of `key` sealed it.
    ///
    /// # Errors
    ///
    /// [`SealedError`]
    pub fn open<T: DeserializeOwned>(&self, key: &PairKey) -> Result<T, SealedError> {
        let plaintext =
            key.open(self.before, self.nonce, self.bytes).map_err(|_| SealedError::Forged)?;
        frame::decode(&plaintext).map_err(|_| SealedError::Malformed)
    }
}

/// Why bytes are no control packet between node and beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// They do not begin with [`MARK`].
    #[error("the packet does not begin with the mark")]
    NotMarked,
    /// No packet of this direction has this type.
    #[error("a packet of type {0} does not come from there")]
    Type(u8),
    /// Too short or too long for its type.
    #[error("a packet of type {kind} has not {len} bytes")]
    Length {
        /// Its type.
        kind: u8,
        /// Its length.
        len: usize,
    },
}

/// A control packet of a node to a beacon.
///
/// Keys are as they came: to know whether one is a key takes time that is
/// spent on those who showed a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromNode<'a> {
    /// "What is the cookie for this key and address?"
    Hello {
        /// The node's key.
        client: [u8; KEY_BYTES],
    },
    /// "Bind me here."
    Bind {
        /// The node's key.
        client: [u8; KEY_BYTES],
        /// As in the challenge.
        cookie: [u8; COOKIE_BYTES],
        /// A [`Bind`].
        sealed: Sealed<'a>,
    },
    /// "I am still here."
    Alive {
        /// The node's id.
        id: RelayId,
        /// An [`Alive`].
        sealed: Sealed<'a>,
    },
}

impl<'a> FromNode<'a> {
    /// Reads a packet that came to a beacon.
    ///
    /// # Errors
    ///
    /// [`PacketError`]
    pub fn decode(packet: &'a [u8]) -> Result<Self, PacketError> {
        let (kind, body) = split(packet)?;
        let read = match kind {
            TYPE_HELLO if packet.len() == HELLO_BYTES => {
                body.first_chunk().map(|client| Self::Hello { client: *client })
            }
            TYPE_BIND => body.split_first_chunk().and_then(|(client, rest)| {
                let (cookie, rest) = rest.split_first_chunk()?;
                let sealed = sealed(packet, rest)?;
                Some(Self::Bind { client: *client, cookie: *cookie, sealed })
            }),
            TYPE_ALIVE => body.split_first_chunk().and_then(|(id, rest)| {
                Some(Self::Alive { id: RelayId(*id), sealed: sealed(packet, rest)? })
            }),
            TYPE_HELLO => None,
            other => return Err(PacketError::Type(other)),
        };
        read.ok_or(PacketError::Length { kind, len: packet.len() })
    }
}

/// A control packet of a beacon to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromBeacon<'a> {
    /// To a hello.
    Challenge {
        /// The beacon's key, as it came.
        beacon: [u8; KEY_BYTES],
        /// To be sent back with [`Bind`].
        cookie: [u8; COOKIE_BYTES],
    },
    /// A [`Told`].
    Told(Sealed<'a>),
    /// The node is not bound where it sent from; it says hello again.
    Unknown,
}

impl<'a> FromBeacon<'a> {
    /// Reads a packet that came from a beacon.
    ///
    /// # Errors
    ///
    /// [`PacketError`]
    pub fn decode(packet: &'a [u8]) -> Result<Self, PacketError> {
        let (kind, body) = split(packet)?;
        let read = match kind {
            TYPE_CHALLENGE if packet.len() == CHALLENGE_BYTES => {
                body.split_first_chunk().and_then(|(beacon, cookie)| {
                    Some(Self::Challenge { beacon: *beacon, cookie: cookie.try_into().ok()? })
                })
            }
            TYPE_TOLD => sealed(packet, body).map(Self::Told),
            TYPE_UNKNOWN if body.is_empty() => Some(Self::Unknown),
            TYPE_CHALLENGE | TYPE_UNKNOWN => None,
            other => return Err(PacketError::Type(other)),
        };
        read.ok_or(PacketError::Length { kind, len: packet.len() })
    }
}

/// The type of a control packet and what comes after it.
fn split(packet: &[u8]) -> Result<(u8, &[u8]), PacketError> {
    let marked = packet.strip_prefix(&MARK).ok_or(PacketError::NotMarked)?;
    let (kind, body) = marked.split_first().ok_or(PacketError::NotMarked)?;
    if packet.len() > MAX_PACKET {
        return Err(PacketError::Length { kind: *kind, len: packet.len() });
    }
    Ok((*kind, body))
}

/// Nonce and sealed bytes at the end of `packet`.
fn sealed<'a>(packet: &'a [u8], rest: &'a [u8]) -> Option<Sealed<'a>> {
    let (nonce, bytes) = rest.split_first_chunk()?;
    let before = packet.get(..packet.len().checked_sub(bytes.len())?)?;
    (bytes.len() > SEAL_OVERHEAD).then_some(Sealed { before, nonce: *nonce, bytes })
}

/// A hello of the node with the key `client`.
#[must_use]
pub fn hello(client: &NodeId) -> [u8; HELLO_BYTES] {
    let mut packet = [0; HELLO_BYTES];
    let used = header(TYPE_HELLO).into_iter().chain(*client.as_bytes());
    packet.iter_mut().zip(used).for_each(|(place, byte)| *place = byte);
    packet
}

/// A challenge of the beacon with the key `beacon`.
#[must_use]
pub fn challenge(beacon: &NodeId, cookie: &[u8; COOKIE_BYTES]) -> [u8; CHALLENGE_BYTES] {
    let mut packet = [0; CHALLENGE_BYTES];
    let all = header(TYPE_CHALLENGE).into_iter().chain(*beacon.as_bytes()).chain(*cookie);
    packet.iter_mut().zip(all).for_each(|(place, byte)| *place = byte);
    packet
}

/// A bind of the node with the key `client`, whose pair with the beacon `key`
/// is. `nonce` is drawn at random, as in all of these.
#[must_use]
pub fn bind(
    client: &NodeId,
    cookie: &[u8; COOKIE_BYTES],
    key: &PairKey,
    nonce: [u8; NONCE_BYTES],
    bind: &Bind,
) -> Vec<u8> {
    let before = [header(TYPE_BIND).as_slice(), client.as_bytes(), cookie, &nonce].concat();
    seal(before, key, nonce, bind)
}

/// Something that a beacon tells the node whose pair with it `key` is.
#[must_use]
pub fn told(key: &PairKey, nonce: [u8; NONCE_BYTES], told: &Told) -> Vec<u8> {
    seal([header(TYPE_TOLD).as_slice(), &nonce].concat(), key, nonce, told)
}

/// A sign of life of the bound node with this id.
#[must_use]
pub fn alive(id: RelayId, key: &PairKey, nonce: [u8; NONCE_BYTES], alive: &Alive) -> Vec<u8> {
    let before = [header(TYPE_ALIVE).as_slice(), id.as_bytes(), &nonce].concat();
    seal(before, key, nonce, alive)
}

fn seal<T: Serialize>(
    mut packet: Vec<u8>,
    key: &PairKey,
    nonce: [u8; NONCE_BYTES],
    message: &T,
) -> Vec<u8> {
    // Plain structs of integers, arrays and short lists: postcard has no
    // failure for those but a full buffer, and this one grows.
    let plaintext = postcard::to_allocvec(message).unwrap_or_default();
    key.seal_into(&mut packet, &plaintext, nonce);
    packet
}

const fn header(kind: u8) -> [u8; HEADER] {
    let [a, b, c, d] = MARK;
    [a, b, c, d, kind]
}
