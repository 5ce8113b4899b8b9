//! What goes out: to real addresses, to peers by their way, and over carriers.

use std::io as std_io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pilot_paths::LocalId;
use pilot_proto::beacon::{RelayId, relay_header};
use quinn::udp::Transmit;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::counters::count;
use super::gather::{Outgoing, Taken};
use super::io::Io;
use super::parts::parts;
use super::{Place, Route, SendDatagramError, Socket, Way};
use crate::demux::{Kind, classify};
use crate::mtu::MAX_RELAYED;

impl Socket {
    /// Sends one STUN or marked datagram from one of the sockets.
    pub(crate) fn send_datagram(
        &self,
        local: LocalId,
        to: SocketAddr,
        contents: &[u8],
    ) -> Result<(), SendDatagramError> {
        match classify(contents) {
            Kind::Stun | Kind::Ours | Kind::Relayed => {}
            Kind::Quic | Kind::Part | Kind::Garbage => return Err(SendDatagramError::Kind),
        }
        let io = self.io(local).ok_or(SendDatagramError::Closed)?;
        let destination = io.reachable(to).ok_or(SendDatagramError::Unreachable { to })?;
        let transmit =
            Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        io.try_send(&transmit)?;
        count(&self.counters.sent, 1);
        Ok(())
    }

    /// Sends one marked datagram, or STUN, to a beacon.
    pub(crate) fn send_to_place(
        &self,
        place: Place,
        contents: &[u8],
    ) -> Result<(), SendDatagramError> {
        match place {
            Place::Udp(to) => self.send_datagram(LocalId::MAIN, to, contents),
            Place::Carrier(id) => {
                let carrier = self.carrier(id).ok_or(SendDatagramError::Closed)?;
                self.give(&carrier, Bytes::copy_from_slice(contents));
                Ok(())
            }
        }
    }

    /// Sends one marked datagram to a peer through the relay at `place`.
    pub(crate) fn send_relayed(
        &self,
        place: Place,
        id: &RelayId,
        contents: &[u8],
    ) -> Result<(), SendDatagramError> {
        let packet = [&relay_header(*id)[..], contents].concat();
        self.send_to_place(place, &packet)
    }

    fn give(&self, carrier: &mpsc::Sender<Bytes>, datagram: Bytes) {
        let counter = match carrier.try_send(datagram) {
            Ok(()) => &self.counters.sent,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => &self.counters.dropped,
        };
        count(counter, 1);
    }

    pub(super) fn gathered(&self, io: &Arc<Io>, out: &Outgoing<'_>) -> std_io::Result<()> {
        if self.gather.send(io, out)? == Taken::Waits {
            self.waker.wake();
        }
        Ok(())
    }

    pub(super) fn send_to_peer(
        &self,
        route: &Route,
        transmit: &Transmit<'_>,
    ) -> std_io::Result<()> {
        let datagrams = segments(transmit);
        let largest = segment(transmit);
        let to_peers = &self.counters.to_peers;
        let (io, to, header) = match route.way() {
            None => {
                hold(route, transmit);
                return Ok(());
            }
            Some(Way::Direct { local, remote }) => {
                if largest > MAX_RELAYED {
                    route.grow();
                }
                let Some(io) = self.io(local) else { return Ok(()) };
                (io, remote, None)
            }
            Some(Way::Relayed { place }) if largest > MAX_RELAYED => {
                return self.send_in_parts(route, place, transmit);
            }
            Some(Way::Relayed { place: Place::Udp(beacon) }) => {
                (Arc::clone(&self.main), beacon, Some(relay_header(route.relay_id)))
            }
            Some(Way::Relayed { place: Place::Carrier(id) }) => {
                let Some(carrier) = self.carrier(id) else { return Ok(()) };
                let header = relay_header(route.relay_id);
                self.send_on_carrier(&carrier, &header, transmit);
                count(&to_peers.relayed, datagrams);
                return Ok(());
            }
        };
        let Some(to) = io.reachable(to) else { return Ok(()) };
        let counter = if header.is_some() { &to_peers.relayed } else { &to_peers.direct };
        let header = header.as_ref().map_or(&[][..], |header| &header[..]);
        let Transmit { ecn, contents, segment_size: segment, .. } = *transmit;
        let out = Outgoing { to, from: None, ecn, contents, segment, header };
        match self.gathered(&io, &out) {
            // QUIC waits for the main socket alone.
            Err(_) if !Arc::ptr_eq(&io, &self.main) => Ok(()),
            sent => sent.inspect(|()| {
                count(counter, datagrams);
                count(&self.counters.sent, datagrams);
            }),
        }
    }

    /// Sends through a relay what is too long for it.
    fn send_in_parts(
        &self,
        route: &Route,
        place: Place,
        transmit: &Transmit<'_>,
    ) -> std_io::Result<()> {
        let datagrams = segments(transmit);
        if !route.is_grown() {
            // QUIC tries how much passes. It would, but costs more than it brings.
            count(&self.counters.dropped, datagrams);
            return Ok(());
        }
        let header = relay_header(route.relay_id);
        for (at, datagram) in transmit.contents.chunks(segment(transmit)).enumerate() {
            let packets = match datagram.len() {
                ..=MAX_RELAYED => Some(([&header[..], datagram].concat(), segment(transmit))),
                _ => parts(datagram, route.next_number(), &header),
            };
            let Some((bytes, stride)) = packets else { continue };
            match place {
                Place::Udp(beacon) => {
                    let Some(destination) = self.main.reachable(beacon) else { return Ok(()) };
                    let sent = self.main.try_send(&Transmit {
                        destination,
                        ecn: transmit.ecn,
                        contents: &bytes,
                        segment_size: (bytes.len() > stride).then_some(stride),
                        src_ip: None,
                    });
                    match sent {
                        Ok(()) => {}
                        // Nothing of it is sent: QUIC waits.
                        Err(error) if at == 0 => return Err(error),
                        // The rest is lost, as in any full buffer.
                        Err(_) => break,
                    }
                    count(&self.counters.sent, bytes.len().div_ceil(stride));
                }
                Place::Carrier(id) => {
                    let Some(carrier) = self.carrier(id) else { return Ok(()) };
                    bytes.chunks(stride).for_each(|packet| {
                        self.give(&carrier, Bytes::copy_from_slice(packet));
                    });
                }
            }
        }
        count(&self.counters.to_peers.relayed, datagrams);
        Ok(())
    }

    /// Sends everything to the peer this way from now on, first what was held
    /// for want of one.
    pub(crate) fn set_way(&self, route: &Route, way: Option<Way>) {
        route.set_way(way);
        if way.is_none() {
            return;
        }
        for datagram in route.take_held(Instant::now()) {
            let transmit = Transmit {
                destination: route.synthetic,
                ecn: None,
                contents: &datagram,
                segment_size: None,
                src_ip: None,
            };
            if let Err(error) = self.send_to_peer(route, &transmit) {
                tracing::trace!(%error, "what was held is lost");
            }
        }
    }

    pub(super) fn send_on_carrier(
        &self,
        carrier: &mpsc::Sender<Bytes>,
        header: &[u8],
        transmit: &Transmit<'_>,
    ) {
        for datagram in transmit.contents.chunks(segment(transmit)) {
            self.give(carrier, [header, datagram].concat().into());
        }
    }
}

/// Bytes of each datagram of a batch but the last, which may be shorter; not 0.
fn segment(transmit: &Transmit<'_>) -> usize {
    transmit.segment_size.unwrap_or(transmit.contents.len()).max(1)
}

/// How many datagrams there are in a batch.
pub(super) fn segments(transmit: &Transmit<'_>) -> usize {
    transmit.segment_size.map_or(1, |_| transmit.contents.len().div_ceil(segment(transmit)))
}

pub(super) fn hold(route: &Route, transmit: &Transmit<'_>) {
    for datagram in transmit.contents.chunks(segment(transmit)) {
        route.hold(Instant::now(), Bytes::copy_from_slice(datagram));
    }
}
