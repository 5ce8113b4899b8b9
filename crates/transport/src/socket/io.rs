//! One UDP socket of the kernel: batches in, batches out.

use core::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Errors in a row after which receiving fails for good. Single ones are the
/// leftovers of earlier sends and mean nothing.
const MAX_RECEIVE_ERRORS: usize = 16;

pub(crate) struct Io {
    udp: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl Io {
    /// Binds `listen`. Must be called within a tokio runtime with I/O.
    pub(crate) fn bind(listen: SocketAddr, buffer: usize) -> io::Result<Self> {
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
        let udp = UdpSocket::from_std(socket)?;
        let local = udp.local_addr()?;
        Ok(Self { udp, state, local })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
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

    /// Gives one batch to the kernel; what it cannot send at all is lost like
    /// any datagram.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if the send buffer is full; the batch
    /// was not taken then.
    pub(crate) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = || self.state.send((&self.udp).into(), transmit);
        match send() {
            // The runtime does not know of a fresh socket that it has room
            // before it has polled it once, so it is asked second: to learn
            // that there is none, and to wait for some.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.udp.try_io(Interest::WRITABLE, send)
            }
            sent => sent,
        }
    }

    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut errors = 0;
        loop {
            ready!(self.udp.poll_recv_ready(cx))?;
            let received = self
                .udp
                .try_io(Interest::READABLE, || self.state.recv((&self.udp).into(), bufs, meta));
            match received {
                Ok(batches) => return Poll::Ready(Ok(batches)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if errors >= MAX_RECEIVE_ERRORS => return Poll::Ready(Err(error)),
                Err(error) => {
                    tracing::debug!(%error, "receiving failed");
                    errors += 1;
                }
            }
        }
    }

    /// Waits for room in the send buffer.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.udp.writable().await
    }

    /// The same for the one task that flushes: it must not be polled by two.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.udp.poll_send_ready(cx)
    }

    pub(crate) const fn state(&self) -> &UdpSocketState {
        &self.state
    }
}

fn ask_for_buffers(socket: &socket2::Socket, bytes: usize) {
    for result in [socket.set_recv_buffer_size(bytes), socket.set_send_buffer_size(bytes)] {
        if let Err(error) = result {
            tracing::debug!(%error, bytes, "the kernel keeps its own socket buffer size");
        }
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("local", &self.local).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_fresh_socket_sends_before_the_runtime_has_polled_it() {
        let to = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let io = Io::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 65_536).unwrap();

        // Nothing is awaited, so the runtime has not polled the socket.
        let transmit = Transmit {
            destination: to.local_addr().unwrap(),
            ecn: None,
            contents: b"first",
            segment_size: None,
            src_ip: None,
        };
        io.try_send(&transmit).unwrap();

        let mut buffer = [0; 16];
        let (len, from) = to.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"first"[..], io.local()));
    }
}
