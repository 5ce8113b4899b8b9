//! Where the datagrams of a carrier go.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use pilot_proto::beacon::{MARK, RELAY_MARK};
use tokio::sync::mpsc;

use crate::beacon::{CarrierId, FromCarrier};

/// The QUIC endpoint of the registry, as carriers see it.
pub trait QuicDoor: Send + Sync {
    /// Gives a carrier that comes from `from` a place at the endpoint: what
    /// QUIC sends to it is put into `out`, and is lost while that is full.
    fn open(&self, from: SocketAddr, out: mpsc::Sender<Bytes>) -> Box<dyn QuicWay>;
}

/// A carrier's place at the endpoint. Dropped, what QUIC sends there is lost.
pub trait QuicWay: Send {
    /// Takes one datagram that came over the carrier, or drops it.
    fn receive(&self, datagram: Bytes);
}

/// What is behind the carriers of this process.
#[derive(Clone, Default)]
pub struct Ways {
    /// The registry; QUIC is dropped without one.
    pub registry: Option<Arc<dyn QuicDoor>>,
    /// The beacon; its packets are dropped without one.
    pub beacon: Option<mpsc::Sender<FromCarrier>>,
}

/// The ways of one carrier.
pub(super) struct Switch {
    ways: Ways,
    id: CarrierId,
    remote: SocketAddr,
    out: mpsc::Sender<Bytes>,
    /// Opened by the first datagram: most carriers are for one of the two.
    quic: Option<Box<dyn QuicWay>>,
}

impl Switch {
    /// Cancel safe: dropped, the beacon may know of a carrier that has ended.
    pub(super) async fn new(
        ways: Ways,
        id: CarrierId,
        remote: SocketAddr,
        out: mpsc::Sender<Bytes>,
    ) -> Self {
        let opened = FromCarrier::Opened { id, remote, out: out.clone() };
        if let Some(beacon) = &ways.beacon
            && beacon.send(opened).await.is_err()
        {
            tracing::debug!("the beacon takes no carriers any more");
        }
        Self { ways, id, remote, out, quic: None }
    }

    /// Sends on a datagram by its first bytes. What is neither is dropped.
    pub(super) fn receive(&mut self, datagram: Bytes) {
        let is_ours = datagram.starts_with(&MARK) || datagram.starts_with(&RELAY_MARK);
        match datagram.first() {
            Some(first) if first & 0x40 != 0 => self.receive_quic(datagram),
            Some(_) if is_ours => {
                let packet = FromCarrier::Packet { id: self.id, packet: datagram.into() };
                let sent = self.ways.beacon.as_ref().map(|beacon| beacon.try_send(packet));
                if !matches!(sent, Some(Ok(()))) {
                    tracing::trace!(id = self.id.0, "the beacon does not keep up with a carrier");
                }
            }
            Some(_) | None => tracing::trace!(id = self.id.0, "garbage over a carrier"),
        }
    }

    fn receive_quic(&mut self, datagram: Bytes) {
        let Some(registry) = &self.ways.registry else { return };
        let way = self.quic.get_or_insert_with(|| registry.open(self.remote, self.out.clone()));
        way.receive(datagram);
    }

    /// Tells the beacon that it is over.
    pub(super) async fn end(self) {
        if let Some(beacon) = self.ways.beacon
            && beacon.send(FromCarrier::Ended { id: self.id }).await.is_err()
        {
            tracing::trace!("the beacon has ended before its carriers");
        }
    }
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { registry, beacon } = self;
        f.debug_struct("Ways")
            .field("registry", &registry.is_some())
            .field("beacon", &beacon.is_some())
            .finish()
    }
}
