//! What comes in: sorted into QUIC, by whom it is from, and the rest.

use std::io::IoSliceMut;
use std::net::SocketAddr;

use bytes::Bytes;
use pilot_paths::LocalId;
use pilot_proto::beacon::{RelayId, split_relayed};
use pilot_proto::part::Part;
use quinn::udp::RecvMeta;
use tokio::sync::mpsc::error::TrySendError;

use super::counters::count;
use super::{CarrierId, Datagram, Origin, Place, Socket, as_quic_sees, canonical, is_synthetic};
use crate::demux::{Aside, Kind, Sender, classify, keep_quic};

impl Socket {
    /// Takes one datagram that came over a carrier.
    pub(crate) fn receive(&self, id: CarrierId, datagram: Bytes) {
        let place = Place::Carrier(id);
        match classify(&datagram) {
            Kind::Quic => self.quic_from(id.synthetic(), datagram),
            kind @ (Kind::Stun | Kind::Ours) => {
                self.hand_over(Origin::Carrier(id), kind, datagram);
            }
            Kind::Relayed => {
                let Some((relay_id, inner)) = split_relayed(&datagram) else { return };
                let inner = datagram.slice_ref(inner);
                match classify(&inner) {
                    Kind::Quic => self.relayed_quic(place, &relay_id, inner),
                    Kind::Ours => {
                        let origin = Origin::Relayed { place, id: relay_id };
                        self.hand_over(origin, Kind::Ours, inner);
                    }
                    Kind::Part => self.part(place, &relay_id, &inner),
                    Kind::Stun | Kind::Relayed | Kind::Garbage => count(&self.counters.garbage, 1),
                }
            }
            Kind::Part | Kind::Garbage => count(&self.counters.garbage, 1),
        }
    }

    fn relayed_quic(&self, place: Place, id: &RelayId, datagram: Bytes) {
        match self.routes.relayed_source(place, id, 1) {
            Some(source) => {
                count(&self.counters.from_peers.relayed, 1);
                self.quic_from(source, datagram);
            }
            None => count(&self.counters.garbage, 1),
        }
    }

    /// Takes a part of a datagram of QUIC; the datagram, if it is whole with it.
    fn part(&self, place: Place, id: &RelayId, bytes: &[u8]) {
        let (Some(route), Some(part)) = (self.routes.relayed(place, id), Part::decode(bytes))
        else {
            return count(&self.counters.garbage, 1);
        };
        match route.take_part(&part) {
            Some(whole) if classify(&whole) == Kind::Quic => {
                self.relayed_quic(place, id, whole.into());
            }
            Some(_) => count(&self.counters.garbage, 1),
            None => {}
        }
    }

    /// Queues one datagram for QUIC; the newest is lost beyond the bound.
    fn quic_from(&self, source: SocketAddr, datagram: Bytes) {
        let counter = match self.inbox.push(source, datagram) {
            true => &self.counters.quic,
            false => &self.counters.dropped,
        };
        count(counter, 1);
        self.waker.wake();
    }

    /// Leaves only QUIC of one sender in one received batch.
    fn sort(&self, local: LocalId, buffer: &mut [u8], meta: &mut RecvMeta) {
        let Some(batch) = buffer.get_mut(..meta.len) else { return };
        let from = canonical(meta.addr);
        let place = Place::Udp(from);
        let kept = keep_quic(batch, meta.stride, |aside| match aside {
            Aside::Datagram(kind, bytes) => {
                self.hand_over(Origin::Udp { local, from }, kind, Bytes::copy_from_slice(bytes));
            }
            Aside::Relayed(id, bytes) => {
                let origin = Origin::Relayed { place, id };
                self.hand_over(origin, Kind::Ours, Bytes::copy_from_slice(bytes));
            }
            Aside::Part(id, bytes) => self.part(place, &id, bytes),
            Aside::Quic(Sender::Direct, bytes) => {
                let source = self.routes.source(local, from, 1);
                self.count_direct(source, 1);
                self.quic_from(as_quic_sees(source), Bytes::copy_from_slice(bytes));
            }
            Aside::Quic(Sender::Relayed(id), bytes) => {
                self.relayed_quic(place, &id, Bytes::copy_from_slice(bytes));
            }
            Aside::Garbage(_) => count(&self.counters.garbage, 1),
        });
        let datagrams = kept.len.div_ceil(kept.stride);
        let source = match kept.sender {
            Sender::Direct => {
                let source = self.routes.source(local, from, datagrams);
                self.count_direct(source, datagrams);
                Some(source)
            }
            Sender::Relayed(id) => self
                .routes
                .relayed_source(place, &id, datagrams)
                .inspect(|_| count(&self.counters.from_peers.relayed, datagrams)),
        };
        (meta.len, meta.stride) = (kept.len, kept.stride);
        match source {
            Some(source) => {
                if is_synthetic(source) {
                    meta.dst_ip = None;
                }
                meta.addr = as_quic_sees(source);
                count(&self.counters.quic, datagrams);
            }
            None => {
                count(&self.counters.garbage, datagrams);
                meta.len = 0;
            }
        }
    }

    fn count_direct(&self, source: SocketAddr, datagrams: usize) {
        if is_synthetic(source) {
            count(&self.counters.from_peers.direct, datagrams);
        }
    }

    fn hand_over(&self, origin: Origin, kind: Kind, bytes: Bytes) {
        let counter = match self.aside.try_send(Datagram { origin, kind, bytes }) {
            Ok(()) => &self.counters.aside,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => &self.counters.dropped,
        };
        count(counter, 1);
    }

    pub(super) fn sort_all(
        &self,
        local: LocalId,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        batches: usize,
    ) {
        for (buffer, meta) in bufs.iter_mut().zip(meta).take(batches) {
            self.sort(local, buffer, meta);
        }
    }
}
