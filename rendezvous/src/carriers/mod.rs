//! Carriers, the server's side: what nodes send where no UDP passes.
//!
//! A carrier is TLS over TCP with datagrams in it, each behind its length. It
//! takes what would else go over UDP to the registry or to the beacon; which
//! of the two the first bytes of each datagram tell. On a thread of its own:
//! handshakes and records are work, and neither of the two should wait for it.

mod door;
mod seats;
mod taker;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use pilot_identity::NodeKey;
use pilot_transport::TlsError;

use crate::worker::Worker;
pub use door::{QuicDoor, QuicWay, Ways};
use taker::Taker;

/// Connections that wait to be taken; the system drops further ones.
const BACKLOG: i32 = 1024;

/// A TCP address to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAt {
    /// The address.
    pub addr: SocketAddr,
    /// What it means if that is impossible.
    pub need: Need,
}

/// How much an address matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing starts without it.
    Required,
    /// An operator should know.
    Wanted,
    /// Nice to have.
    Tried,
}

/// What the carriers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierSettings {
    /// Carriers at once; further ones are refused.
    pub max: NonZeroU32,
    /// Carriers of one source at once: many nodes may be behind one proxy.
    pub max_of_one: NonZeroU32,
    /// New carriers a second of one source; more are refused.
    pub per_second: NonZeroU32,
    /// Whether the rate also holds for nodes on this machine.
    pub limit_loopback: bool,
}

/// Why no carriers are taken.
#[derive(Debug, thiserror::Error)]
pub enum StartCarriersError {
    /// A required address is in use, not of this machine, or not allowed.
    #[error("cannot listen at {addr} for TCP")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This build has no usable TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// The system gives no thread, or no runtime in it.
    #[error("cannot start the thread of the carriers")]
    Thread(#[source] io::Error),
}

/// Carriers that are taken. Dropped, they end by themselves a moment later.
#[derive(Debug)]
pub struct Carriers {
    addrs: Vec<SocketAddr>,
    worker: Worker,
}

impl Carriers {
    /// Listens, and takes carriers at once.
    ///
    /// # Errors
    ///
    /// [`StartCarriersError`]
    pub fn start(
        key: Arc<NodeKey>,
        listen: &[ListenAt],
        settings: &CarrierSettings,
        ways: Ways,
    ) -> Result<Self, StartCarriersError> {
        let listeners = bind_all(listen)?;
        let addrs = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let taker = Taker::new(key, settings, ways)?;
        let worker = Worker::start("carriers", async move |stop| taker.run(listeners, stop).await)
            .map_err(StartCarriersError::Thread)?;
        tracing::info!(?addrs, "carriers are taken");
        Ok(Self { addrs, worker })
    }

    /// Where they are taken.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Waits until its thread has ended, which it should not do by itself.
    ///
    /// Cancel safe.
    pub async fn ended(&self) {
        self.worker.ended().await;
    }

    /// Ends all of them.
    ///
    /// Not cancel safe: dropped, the thread ends without anybody waiting.
    pub async fn stop(self) {
        self.worker.stop().await;
    }
}

fn bind_all(listen: &[ListenAt]) -> Result<Vec<std::net::TcpListener>, StartCarriersError> {
    let mut listeners = Vec::new();
    for ListenAt { addr, need } in listen.iter().copied() {
        match (bind(addr), need) {
            (Ok(listener), _) => listeners.push(listener),
            (Err(source), Need::Required) => return Err(StartCarriersError::Bind { addr, source }),
            (Err(error), Need::Wanted) => {
                tracing::warn!(%addr, %error, "nodes behind a wall do not get through here");
            }
            (Err(error), Need::Tried) => tracing::debug!(%addr, %error, "no carriers here"),
        }
    }
    Ok(listeners)
}

fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    // A restart finds the connections of the run before still closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
