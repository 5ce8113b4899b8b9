//! What QUIC takes for its UDP socket.
//!
//! Under it are the node's one UDP socket, those that it opens to get through
//! a NAT, and carriers (datagrams over TLS). QUIC sends and receives in the
//! kernel's batches (GSO, GRO); what a received batch holds besides is taken
//! out on the way and handed over as [`Datagram`]s. A peer or a carrier is one
//! synthetic address towards QUIC; [`Routes`] knows what stands behind it.
//! Nothing here answers anybody.

mod counters;
mod gather;
mod inbox;
mod io;
mod routes;

use core::fmt;
use std::collections::BTreeMap;
use std::io as std_io;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use pilot_paths::LocalId;
use pilot_proto::beacon::{RelayId, relay_header, split_relayed};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::demux::{Aside, Kind, Sender, classify, keep_quic};
pub use counters::{ByWay, SocketStats};
use counters::{Counters, count};
use gather::{Gather, Outgoing, Taken};
use inbox::Inbox;
use io::Io;
pub use routes::{CarrierId, Place};
pub(crate) use routes::{Destination, Route, Routes, Way, is_synthetic, synthetic};

/// A datagram that is no QUIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// How it came.
    pub origin: Origin,
    /// [`Kind::Stun`] or [`Kind::Ours`].
    pub kind: Kind,
    /// All of it, at most [`MAX_UDP_PAYLOAD`](crate::MAX_UDP_PAYLOAD) bytes.
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
pub struct Datagrams(mpsc::Receiver<Datagram>);

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

/// A carrier as the socket sees it.
#[derive(Clone)]
struct CarrierEnd {
    out: mpsc::Sender<Bytes>,
    /// The other end of its TCP connection, if this node took it.
    from: Option<SocketAddr>,
}

pub(crate) struct Socket {
    main: Arc<Io>,
    others: RwLock<BTreeMap<LocalId, Arc<Io>>>,
    carriers: RwLock<BTreeMap<CarrierId, CarrierEnd>>,
    last_carrier: AtomicU64,
    pub(crate) routes: Routes,
    gather: Gather,
    inbox: Inbox,
    /// Of the task that receives and flushes.
    waker: AtomicWaker,
    aside: mpsc::Sender<Datagram>,
    counters: Counters,
}

impl Socket {
    /// Binds `listen`. Must be called within a tokio runtime with I/O.
    pub(crate) fn bind(
        listen: SocketAddr,
        buffer: usize,
        max_datagrams: usize,
    ) -> std_io::Result<(Arc<Self>, Datagrams)> {
        let main = Arc::new(Io::bind(listen, buffer)?);
        let (aside, datagrams) = mpsc::channel(max_datagrams.max(1));
        let socket = Self {
            main,
            others: RwLock::default(),
            carriers: RwLock::default(),
            last_carrier: AtomicU64::new(1),
            routes: Routes::default(),
            gather: Gather::default(),
            inbox: Inbox::default(),
            waker: AtomicWaker::new(),
            aside,
            counters: Counters::default(),
        };
        Ok((Arc::new(socket), Datagrams(datagrams)))
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.main.local()
    }

    /// How the main socket names `to`, if it can reach it.
    pub(crate) fn reachable(&self, to: SocketAddr) -> Option<SocketAddr> {
        if is_synthetic(to) { Some(to) } else { self.main.reachable(to) }
    }

    pub(crate) fn stats(&self) -> SocketStats {
        self.counters.read()
    }

    /// Opens another socket on a port of the system's choice. The caller
    /// bounds how many there are.
    pub(crate) fn open(&self, id: LocalId, buffer: usize) -> std_io::Result<SocketAddr> {
        let io = Io::bind(SocketAddr::new(self.main.local().ip(), 0), buffer)?;
        let local = io.local();
        self.others.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(io));
        self.waker.wake();
        Ok(local)
    }

    pub(crate) fn close(&self, id: LocalId) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// What is sent to the carrier goes into `out`; what does not fit is lost.
    pub(crate) fn attach(&self, out: mpsc::Sender<Bytes>, from: Option<SocketAddr>) -> CarrierId {
        let id = CarrierId(self.last_carrier.fetch_add(1, Ordering::Relaxed));
        let end = CarrierEnd { out, from };
        self.carriers.write().unwrap_or_else(PoisonError::into_inner).insert(id, end);
        id
    }

    pub(crate) fn detach(&self, id: CarrierId) {
        self.carriers.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn io(&self, id: LocalId) -> Option<Arc<Io>> {
        if id == LocalId::MAIN {
            return Some(Arc::clone(&self.main));
        }
        self.others.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Sends one STUN or marked datagram from one of the sockets.
    pub(crate) fn send_datagram(
        &self,
        local: LocalId,
        to: SocketAddr,
        contents: &[u8],
    ) -> Result<(), SendDatagramError> {
        match classify(contents) {
            Kind::Stun | Kind::Ours | Kind::Relayed => {}
            Kind::Quic | Kind::Garbage => return Err(SendDatagramError::Kind),
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

    fn carrier(&self, id: CarrierId) -> Option<mpsc::Sender<Bytes>> {
        self.end_of(id).map(|end| end.out)
    }

    fn end_of(&self, id: CarrierId) -> Option<CarrierEnd> {
        self.carriers.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Where on the network what QUIC calls `addr` is: of a peer its direct
    /// address, if that is in use; of a carrier the other end of its TCP
    /// connection. What is at no known place stays as it is.
    pub(crate) fn real(&self, addr: SocketAddr) -> SocketAddr {
        match self.routes.destination(addr) {
            Destination::Real(addr) => canonical(addr),
            Destination::Peer(route) => match route.way() {
                Some(Way::Direct { remote, .. }) => remote,
                Some(Way::Relayed { .. }) | None => addr,
            },
            Destination::Carrier(id) => {
                self.end_of(id).and_then(|end| end.from).map_or(addr, canonical)
            }
            Destination::Nobody => addr,
        }
    }

    fn give(&self, carrier: &mpsc::Sender<Bytes>, datagram: Bytes) {
        let counter = match carrier.try_send(datagram) {
            Ok(()) => &self.counters.sent,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => &self.counters.dropped,
        };
        count(counter, 1);
    }

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
                    Kind::Stun | Kind::Relayed | Kind::Garbage => count(&self.counters.garbage, 1),
                }
            }
            Kind::Garbage => count(&self.counters.garbage, 1),
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

    fn gathered(&self, io: &Arc<Io>, out: &Outgoing<'_>) -> std_io::Result<()> {
        if self.gather.send(io, out)? == Taken::Waits {
            self.waker.wake();
        }
        Ok(())
    }

    fn send_to_peer(&self, route: &Route, transmit: &Transmit<'_>) -> std_io::Result<()> {
        let datagrams = segments(transmit);
        let to_peers = &self.counters.to_peers;
        let (io, to, header) = match route.way() {
            None => {
                hold(route, transmit);
                return Ok(());
            }
            Some(Way::Direct { local, remote }) => match self.io(local) {
                Some(io) => (io, remote, None),
                None => return Ok(()),
            },
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

    fn send_on_carrier(
        &self,
        carrier: &mpsc::Sender<Bytes>,
        header: &[u8],
        transmit: &Transmit<'_>,
    ) {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        for datagram in transmit.contents.chunks(segment.max(1)) {
            self.give(carrier, [header, datagram].concat().into());
        }
    }
}

/// How many datagrams there are in a batch.
fn segments(transmit: &Transmit<'_>) -> usize {
    transmit.segment_size.map_or(1, |segment| transmit.contents.len().div_ceil(segment.max(1)))
}

fn hold(route: &Route, transmit: &Transmit<'_>) {
    let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
    for datagram in transmit.contents.chunks(segment.max(1)) {
        route.hold(Instant::now(), Bytes::copy_from_slice(datagram));
    }
}

/// The address without IPv6's disguise of IPv4.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// QUIC is told that its socket is an IPv6 one, which alone has synthetic
/// addresses; so IPv4 is disguised.
fn as_quic_sees(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(addr) => SocketAddr::new(addr.ip().to_ipv6_mapped().into(), addr.port()),
        SocketAddr::V6(_) => addr,
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { io: Arc::clone(&self.main), waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> std_io::Result<()> {
        let segments = segments(transmit);
        match self.routes.destination(transmit.destination) {
            Destination::Real(to) => {
                let Some(to) = self.main.reachable(to) else { return Ok(()) };
                let Transmit { ecn, contents, segment_size: segment, src_ip: from, .. } = *transmit;
                let out = Outgoing { to, from, ecn, contents, segment, header: &[] };
                self.gathered(&self.main, &out)?;
            }
            Destination::Peer(route) => {
                self.send_to_peer(&route, transmit)?;
                if route.is_doubted() {
                    hold(&route, transmit);
                }
                if route.count_sent(segments) {
                    self.routes.stirred.notify_one();
                }
                return Ok(());
            }
            Destination::Carrier(id) => {
                if let Some(carrier) = self.carrier(id) {
                    self.send_on_carrier(&carrier, &[], transmit);
                }
                return Ok(());
            }
            Destination::Nobody => return Ok(()),
        }
        count(&self.counters.sent, segments);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<std_io::Result<usize>> {
        self.waker.register(cx.waker());
        if self.gather.poll_flush(cx).is_pending() {
            tracing::trace!("a batch waits for more");
        }
        let taken = self.inbox.pop_into(bufs, meta);
        if taken > 0 {
            return Poll::Ready(Ok(taken));
        }
        // Those that are open for one peer come first: they have little to
        // say, and a busy main socket would never let them.
        let others: Vec<_> = {
            let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
            others.iter().map(|(id, io)| (*id, Arc::clone(io))).collect()
        };
        for (id, io) in others {
            if let Poll::Ready(Ok(batches)) = io.poll_recv(cx, bufs, meta) {
                self.sort_all(id, bufs, meta, batches);
                return Poll::Ready(Ok(batches));
            }
        }
        let batches = ready!(self.main.poll_recv(cx, bufs, meta))?;
        self.sort_all(LocalId::MAIN, bufs, meta, batches);
        Poll::Ready(Ok(batches))
    }

    fn local_addr(&self) -> std_io::Result<SocketAddr> {
        Ok(as_quic_sees(self.main.local()))
    }

    fn max_transmit_segments(&self) -> usize {
        self.main.state().max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.main.state().gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.main.state().may_fragment()
    }
}

impl Socket {
    fn sort_all(
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

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.main.local()).finish_non_exhaustive()
    }
}

/// Waits for room in the send buffer; each has its own place in the queue of wakers.
struct Writable {
    io: Arc<Io>,
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = std_io::Result<()>> + Send + Sync>>;

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std_io::Result<()>> {
        let Self { io, waiting } = &mut *self;
        let future = waiting.get_or_insert_with(|| {
            let io = Arc::clone(io);
            Box::pin(async move { io.writable().await })
        });
        let result = ready!(future.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").field("waiting", &self.waiting.is_some()).finish()
    }
}
