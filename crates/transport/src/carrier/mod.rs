//! Datagrams over TLS over TCP, for networks that let no UDP through.
//!
//! A carrier holds what would otherwise be UDP datagrams between a node and
//! its rendezvous or beacon, each behind its length. QUIC and beacon packets
//! are sealed within, as they are over UDP: the TLS around them is what makes
//! a carrier look like any other connection, and keeps its contents from
//! being counted. The server shows its Ed25519 key (RFC 7250), the client none.
//!
//! ```text
//! length (2, big endian) | datagram
//! ```
//!
//! What does not fit into the queue of a carrier is lost, like on any network.

mod open;
mod pump;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::socket::{CarrierId, Socket};
pub use open::{CarrierError, Proxies};
pub(crate) use open::{Opening, open};
pub use pump::{MAX_FRAME, Pump, pump};

/// The protocol of carriers, as TLS names it (RFC 7301).
pub const CARRIER_ALPN: &[u8] = b"pilot-carrier/1";

/// The port beside a target's own at which carriers are tried: the one that
/// networks close last.
pub const HTTPS_PORT: u16 = 443;

/// Datagrams that wait for a carrier; the newest is lost beyond. 64 KiB of the
/// largest ones: TCP's own buffer comes on top, and a longer queue only adds delay.
pub const MAX_QUEUED: usize = 256;

/// An open carrier. Dropped, it ends.
#[derive(Debug)]
pub struct Carrier {
    attached: Attached,
    ended: CancellationToken,
    by_proxy: bool,
}

/// A carrier's place at the socket: what QUIC and others send to
/// [`Attached::id`] comes out of the queue it was attached with.
///
/// Dropped, what is sent there is lost.
pub struct Attached {
    id: CarrierId,
    socket: Arc<Socket>,
}

impl Attached {
    pub(crate) fn new(
        socket: Arc<Socket>,
        out: mpsc::Sender<Bytes>,
        from: Option<SocketAddr>,
    ) -> Self {
        let id = socket.attach(out, from);
        Self { id, socket }
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> CarrierId {
        self.id
    }

    /// Takes one datagram that came over the carrier: QUIC goes to QUIC, the
    /// rest to [`Datagrams`](crate::Datagrams). Dropped if too many wait.
    pub fn receive(&self, datagram: Bytes) {
        self.socket.receive(self.id, datagram);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.socket.detach(self.id);
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Attached").field(&self.id).finish()
    }
}

impl Carrier {
    /// Its number.
    #[must_use]
    pub const fn id(&self) -> CarrierId {
        self.attached.id
    }

    /// Whether an HTTP proxy stands between.
    #[must_use]
    pub const fn is_by_proxy(&self) -> bool {
        self.by_proxy
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ended.is_cancelled()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}
