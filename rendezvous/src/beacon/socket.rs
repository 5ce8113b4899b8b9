//! A UDP socket of the beacon, in the kernel's batches both ways (GSO, GRO).

use core::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes asked for the socket's buffers, each way: some milliseconds at
/// 10 Gbit/s. The kernel may give less.
const BUFFER: usize = 4 * 1024 * 1024;

/// The most bytes the kernel takes at once: a datagram's 16-bit length without
/// the headers of IPv4 and UDP.
const MAX_SEND: usize = 65_507;

/// Datagrams of `stride` bytes to one place, the last one possibly shorter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) to: SocketAddr,
    /// From which address of this machine; the kernel chooses if none.
    pub(super) from: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: &'a [u8],
    pub(super) stride: usize,
}

/// How far a batch came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel has taken it, or will never take it.
    Done,
    /// The send buffer was full after so many bytes.
    Blocked {
        /// A multiple of the stride.
        after: usize,
    },
}

/// Bound, and not yet in the hands of a runtime.
#[derive(Debug)]
pub(super) struct Bound {
    socket: std::net::UdpSocket,
    pub(super) local: SocketAddr,
}

impl Bound {
    /// Binds `listen`. An unspecified IPv6 address takes IPv4, too.
    pub(super) fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        for asked in [socket.set_recv_buffer_size(BUFFER), socket.set_send_buffer_size(BUFFER)] {
            if let Err(error) = asked {
                tracing::debug!(%error, "the kernel keeps its own socket buffer size");
            }
        }
        let socket: std::net::UdpSocket = socket.into();
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    /// Must be called within a tokio runtime with I/O.
    pub(super) fn open(self) -> io::Result<Socket> {
        let state = UdpSocketState::new((&self.socket).into())?;
        let offload = state.max_gso_segments();
        Ok(Socket { io: UdpSocket::from_std(self.socket)?, state, offload, local: self.local })
    }
}

pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// Datagrams that the kernel took at once when the socket was opened.
    offload: usize,
    local: SocketAddr,
}

impl Socket {
    /// Waits until something may be received. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Waits until something may be sent. Cancel safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// Receives into as many buffers as there is something for, without waiting.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is nothing; others are the
    /// leftovers of earlier sends.
    pub(super) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), buffers, meta))
    }

    /// Sends a batch as far as the kernel takes it, without waiting.
    pub(super) fn send(&self, batch: &Batch<'_>) -> Sent {
        let stride = batch.stride.clamp(1, MAX_SEND);
        let Some(destination) = self.name_of(batch.to) else { return Sent::Done };
        let mut after = 0;
        while after < batch.bytes.len() {
            // Asked each time: an error may have ended the offload.
            let datagrams = self.state.max_gso_segments().clamp(1, MAX_SEND / stride);
            let end = after.saturating_add(datagrams * stride).min(batch.bytes.len());
            let contents = batch.bytes.get(after..end).unwrap_or_default();
            let transmit = Transmit {
                destination,
                ecn: batch.ecn,
                contents,
                segment_size: (contents.len() > stride).then_some(stride),
                src_ip: batch.from,
            };
            let sent = self
                .io
                .try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit));
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Sent::Blocked { after };
                }
                // Whoever it was for cannot be reached, and says so by silence.
                Err(error) => tracing::trace!(to = %batch.to, %error, "not sent"),
            }
            after = end;
        }
        Sent::Done
    }

    /// Tries segmentation offload again, if errors ended it: the kernel has the
    /// same error for a lack of it and for a destination that takes no
    /// datagrams so large.
    pub(super) fn restore_offload(&mut self) {
        if self.state.max_gso_segments() >= self.offload {
            return;
        }
        match UdpSocketState::new((&self.io).into()) {
            Ok(state) => self.state = state,
            Err(error) => tracing::debug!(%error, "the socket stays without offload"),
        }
    }

    /// How this socket names `to`, if it can reach it.
    fn name_of(&self, to: SocketAddr) -> Option<SocketAddr> {
        match (self.local, to.ip()) {
            (SocketAddr::V4(_), IpAddr::V6(_)) => None,
            (SocketAddr::V6(_), IpAddr::V4(ip)) => {
                Some(SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()))
            }
            (SocketAddr::V4(_), IpAddr::V4(_)) | (SocketAddr::V6(_), IpAddr::V6(_)) => Some(to),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.local).finish_non_exhaustive()
    }
}
