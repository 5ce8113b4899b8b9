//! What QUIC takes for its UDP socket.
//!
//! Under it are the node's one UDP socket, those that it opens to get through
//! a NAT, and carriers (datagrams over TLS). QUIC sends and receives in the
//! kernel's batches (GSO, GRO); what a received batch holds besides is taken
//! out on the way and handed over as [`Datagram`]s. A peer or a carrier is one
//! synthetic address towards QUIC; [`Routes`] knows what stands behind it.
//! Nothing here answers anybody.

mod counters;
mod datagram;
mod gather;
mod inbox;
mod io;
mod parts;
mod receive;
mod routes;
mod send;
mod writable;

use core::fmt;
use std::collections::BTreeMap;
use std::io as std_io;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use pilot_paths::LocalId;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

pub use counters::{ByWay, SocketStats};
use counters::{Counters, count};
pub use datagram::{Datagram, Datagrams, Origin, SendDatagramError};
use gather::{Gather, Outgoing};
use inbox::Inbox;
use io::Io;
pub use routes::{CarrierId, Place};
pub(crate) use routes::{Destination, Route, Routes, Way, is_synthetic, synthetic};
use send::{hold, segments};
use writable::Writable;

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

/// Datagrams of a batch by which QUIC finds out whether anything passes; what
/// comes in larger batches is data, and said again without our help.
const PROBES: usize = 2;

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
                if route.is_doubted() && route.way().is_some() && segments <= PROBES {
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
        // Also where the kernel gathers nothing, what is not QUIC's may be longer
        // than what QUIC takes.
        self.main.state().gro_segments().max(2)
    }

    fn may_fragment(&self) -> bool {
        self.main.state().may_fragment()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.main.local()).finish_non_exhaustive()
    }
}
