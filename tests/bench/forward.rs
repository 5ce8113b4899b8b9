//! The plainest relay there can be, for a bare quinn stream to go through: a
//! process of one thread that sends on whatever comes, in the batches in which
//! it came, and knows one pair only.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use anyhow::{Context as _, anyhow};
use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::load::block_on;
use crate::role::{Orders, Worker};

pub(crate) const ROLE: &str = "forward";

/// Bytes of each buffer of a socket: as many as the bare endpoints have.
const BUFFER: usize = 4 * 1024 * 1024;

/// Largest batch of datagrams that a socket hands over at once.
const BATCH_BYTES: usize = 65_536;

/// A process that forwards. Dropped, it is killed.
pub(crate) struct Forwarder(Worker);

impl Forwarder {
    /// One in front of this server.
    pub(crate) fn start(server: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(Worker::start(ROLE, &[server.to_string()])?))
    }

    /// Where its server is reached.
    pub(crate) fn addr(&self) -> anyhow::Result<SocketAddr> {
        self.0.addr()
    }
}

/// The process: forwards until its parent is gone.
pub(crate) fn serve(args: &[String]) -> anyhow::Result<()> {
    let server: SocketAddr = args.first().context("where is the server?")?.parse()?;
    block_on(async {
        let (front, back) = (Socket::bind()?, Socket::bind()?);
        let client = Mutex::new(None);
        let mut orders = Orders::taken(&front.io.local_addr()?.to_string()).await?;
        let inward = front.forward(&back, |from| {
            *lock(&client) = Some(from);
            Some(server)
        });
        let outward = back.forward(&front, |_| *lock(&client));
        tokio::select! {
            () = orders.gone() => Ok(()),
            ended = inward => ended,
            ended = outward => ended,
        }
    })
}

fn lock(client: &Mutex<Option<SocketAddr>>) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
    client.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    fn bind() -> anyhow::Result<Self> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        set_socket_recv_buffer_size(&socket, BUFFER)?;
        set_socket_send_buffer_size(&socket, BUFFER)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { io: UdpSocket::from_std(socket)?, state })
    }

    /// Sends what comes on by `out`, to where `to` says for its sender.
    async fn forward(
        &self,
        out: &Self,
        to: impl Fn(SocketAddr) -> Option<SocketAddr>,
    ) -> anyhow::Result<()> {
        let mut room = vec![vec![0; BATCH_BYTES]; BATCH_SIZE];
        loop {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut slices: Vec<IoSliceMut<'_>> =
                room.iter_mut().map(|room| IoSliceMut::new(room)).collect();
            let receive = || self.state.recv((&self.io).into(), &mut slices, &mut metas);
            let count = self.io.async_io(Interest::READABLE, receive).await?;
            for (meta, bytes) in metas.iter().zip(&room).take(count) {
                let contents = bytes.get(..meta.len).ok_or_else(|| anyhow!("no such batch"))?;
                let Some(destination) = to(meta.addr) else { continue };
                let segment_size = (meta.stride < meta.len).then_some(meta.stride);
                let (ecn, src_ip) = (meta.ecn, None);
                let transmit = Transmit { destination, ecn, contents, segment_size, src_ip };
                out.send(&transmit).await?;
            }
        }
    }

    async fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let send = || self.state.try_send((&self.io).into(), transmit);
        self.io.async_io(Interest::WRITABLE, send).await
    }
}
