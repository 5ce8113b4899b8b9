//! What carriers and the beacon have to say to each other.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::place::CarrierId;

/// What a carrier tells the beacon.
#[derive(Debug)]
pub enum FromCarrier {
    /// A carrier is there.
    Opened {
        /// Its number.
        id: CarrierId,
        /// Its other end.
        remote: SocketAddr,
        /// Where what goes over it is queued. What finds it full is dropped.
        out: mpsc::Sender<Bytes>,
    },
    /// A datagram came over it.
    Packet {
        /// Over which.
        id: CarrierId,
        /// All of it.
        packet: Vec<u8>,
    },
    /// It is there no more.
    Ended {
        /// Which.
        id: CarrierId,
    },
}
