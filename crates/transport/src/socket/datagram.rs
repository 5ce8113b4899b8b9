//! What is no QUIC, for whoever takes it.

use std::io as std_io;
use std::net::SocketAddr;

use bytes::Bytes;
use pilot_paths::LocalId;
use pilot_proto::beacon::RelayId;
use tokio::sync::mpsc;

use super::{CarrierId, Place};
use crate::demux::Kind;

/// A datagram that is no QUIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// How it came.
    pub origin: Origin,
    /// [`Kind::Stun`] or [`Kind::Ours`].
    pub kind: Kind,
    /// All of it, at most [`MAX_ASIDE`](crate::MAX_ASIDE) bytes.
    pub bytes: Bytes,
}

/// How a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// To one of this node's sockets.
    Udp {
        /// Which.
        local: LocalId,
        /// Who sent it, as its header claims.
        from: SocketAddr,
    },
    /// Over a carrier.
    Carrier(CarrierId),
    /// Within a relayed packet.
    Relayed {
        /// From the beacon there.
        place: Place,
        /// Sent by the node with this id, as the beacon says.
        id: RelayId,
    },
}

/// The datagrams of an endpoint that are no QUIC.
#[derive(Debug)]
pub struct Datagrams(pub(super) mpsc::Receiver<Datagram>);

impl Datagrams {
    /// The next one, or `None` once the endpoint is gone.
    ///
    /// Cancel safe: none is lost.
    pub async fn next(&mut self) -> Option<Datagram> {
        self.0.recv().await
    }
}

/// Why a datagram was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendDatagramError {
    /// Nobody could tell it from QUIC or garbage.
    #[error("only STUN and marked datagrams of at most 1472 bytes are sent beside QUIC")]
    Kind,
    /// A socket for IPv4 does not reach an IPv6 address.
    #[error("the socket does not reach {to}")]
    Unreachable {
        /// The address.
        to: SocketAddr,
    },
    /// The socket or the carrier is closed.
    #[error("the socket is closed")]
    Closed,
    /// The kernel did not take it; also when its buffer is full.
    #[error("the datagram was not sent")]
    Io(#[from] std_io::Error),
}
