//! The one UDP socket of a node, under QUIC and everything else.
//!
//! QUIC sends and receives in the kernel's batches (GSO, GRO); what a
//! received batch holds besides is taken out on the way and handed over as
//! [`Datagram`]s. Nothing here answers anybody.

use core::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::demux::{Kind, classify, keep_quic};

/// Errors in a row after which receiving fails for good. Single ones are the
/// leftovers of earlier sends and mean nothing.
const MAX_RECEIVE_ERRORS: usize = 16;

/// A datagram that is no QUIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it, as its header claims.
    pub from: SocketAddr,
    /// [`Kind::Stun`] or [`Kind::Ours`].
    pub kind: Kind,
    /// All of it, at most [`MAX_UDP_PAYLOAD`](crate::MAX_UDP_PAYLOAD) bytes.
    pub bytes: Bytes,
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
    /// The kernel did not take it; also when its buffer is full.
    #[error("the datagram was not sent")]
    Io(#[from] io::Error),
}

/// What went through a socket since it was bound, in datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketStats {
    /// QUIC datagrams received.
    pub quic: u64,
    /// STUN and marked datagrams received and handed over.
    pub aside: u64,
    /// STUN and marked datagrams dropped because too many waited.
    pub dropped: u64,
    /// Datagrams dropped because they are nothing known.
    pub garbage: u64,
    /// Datagrams given to the kernel, of all kinds.
    pub sent: u64,
}

#[derive(Debug, Default)]
struct Counters {
    quic: AtomicU64,
    aside: AtomicU64,
    dropped: AtomicU64,
    garbage: AtomicU64,
    sent: AtomicU64,
}

pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    aside: mpsc::Sender<Datagram>,
    counters: Counters,
}

impl Socket {
    /// Binds `listen`. Must be called within a tokio runtime with I/O.
    pub(crate) fn bind(
        listen: SocketAddr,
        buffer: usize,
        max_datagrams: usize,
    ) -> io::Result<(Arc<Self>, Datagrams)> {
        let socket =
            socket2::Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        ask_for_buffers(&socket, buffer);

        let socket: std::net::UdpSocket = socket.into();
        let state = UdpSocketState::new((&socket).into())?;
        let io = UdpSocket::from_std(socket)?;
        let local = io.local_addr()?;
        let (aside, datagrams) = mpsc::channel(max_datagrams.max(1));
        let counters = Counters::default();
        Ok((Arc::new(Self { io, state, local, aside, counters }), Datagrams(datagrams)))
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// How this socket names `to`, if it can reach it.
    pub(crate) fn reachable(&self, to: SocketAddr) -> Option<SocketAddr> {
        match (self.local, to.ip().to_canonical()) {
            (_, _) if to.port() == 0 => None,
            (SocketAddr::V4(_), IpAddr::V6(_)) => None,
            (SocketAddr::V4(_), ip @ IpAddr::V4(_)) => Some(SocketAddr::new(ip, to.port())),
            (SocketAddr::V6(_), IpAddr::V4(ip)) => {
                Some(SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()))
            }
            (SocketAddr::V6(_), IpAddr::V6(_)) => Some(to),
        }
    }

    pub(crate) fn stats(&self) -> SocketStats {
        let Counters { quic, aside, dropped, garbage, sent } = &self.counters;
        SocketStats {
            quic: quic.load(Ordering::Relaxed),
            aside: aside.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            garbage: garbage.load(Ordering::Relaxed),
            sent: sent.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn send_datagram(
        &self,
        to: SocketAddr,
        contents: &[u8],
    ) -> Result<(), SendDatagramError> {
        match classify(contents) {
            Kind::Stun | Kind::Ours => {}
            Kind::Quic | Kind::Garbage => return Err(SendDatagramError::Kind),
        }
        let destination = self.reachable(to).ok_or(SendDatagramError::Unreachable { to })?;
        let transmit =
            Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        Ok(self.try_send(&transmit)?)
    }

    /// Leaves only QUIC in one received batch.
    fn sort(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let Some(batch) = buffer.get_mut(..meta.len) else { return };
        let from = canonical(meta.addr);
        meta.len = keep_quic(batch, meta.stride, |kind, bytes| match kind {
            Kind::Stun | Kind::Ours => self.hand_over(from, kind, bytes),
            Kind::Quic | Kind::Garbage => count(&self.counters.garbage, 1),
        });
        count(&self.counters.quic, meta.len.div_ceil(meta.stride.max(1)));
    }

    fn hand_over(&self, from: SocketAddr, kind: Kind, bytes: &[u8]) {
        let counter = match self.aside.try_reserve() {
            Ok(slot) => {
                slot.send(Datagram { from, kind, bytes: Bytes::copy_from_slice(bytes) });
                &self.counters.aside
            }
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => &self.counters.dropped,
        };
        count(counter, 1);
    }
}

/// The address without IPv6's disguise of IPv4.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

fn ask_for_buffers(socket: &socket2::Socket, bytes: usize) {
    for result in [socket.set_recv_buffer_size(bytes), socket.set_send_buffer_size(bytes)] {
        if let Err(error) = result {
            tracing::debug!(%error, bytes, "the kernel keeps its own socket buffer size");
        }
    }
}

fn count(counter: &AtomicU64, datagrams: usize) {
    counter.fetch_add(u64::try_from(datagrams).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))?;
        let segments = transmit
            .segment_size
            .map_or(1, |segment| transmit.contents.len().div_ceil(segment.max(1)));
        count(&self.counters.sent, segments);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut errors = 0;
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let received = self
                .io
                .try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta));
            match received {
                Ok(batches) => {
                    for (buffer, meta) in bufs.iter_mut().zip(meta).take(batches) {
                        self.sort(buffer, meta);
                    }
                    return Poll::Ready(Ok(batches));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if errors >= MAX_RECEIVE_ERRORS => return Poll::Ready(Err(error)),
                Err(error) => {
                    tracing::debug!(%error, "receiving failed");
                    errors += 1;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.local).finish_non_exhaustive()
    }
}

/// Waits for room in the send buffer; each has its own place in the queue of wakers.
struct Writable {
    socket: Arc<Socket>,
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, waiting } = &mut *self;
        let future = waiting.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.io.writable().await })
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
