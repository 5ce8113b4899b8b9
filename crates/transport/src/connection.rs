//! An encrypted connection to one peer whose key is proved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot_identity::NodeId;
use quinn::crypto::rustls::HandshakeData;
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use rustls_pki_types::CertificateDer;

use crate::alpn::Alpn;
use crate::reach::{Reach, Want};
use crate::socket::is_synthetic;
use crate::tls::node_of_spki;

/// Bytes of a peer's reason that are kept.
const MAX_REASON: usize = 256;

/// Which streams go first when the network takes less than there is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Files and streams of data.
    Bulk,
    /// Messages and events.
    Message,
    /// Tasks.
    Task,
    /// What keeps the session itself going.
    Control,
}

impl Priority {
    const fn weight(self) -> i32 {
        match self {
            Self::Bulk => 0,
            Self::Message => 1,
            Self::Task => 2,
            Self::Control => 3,
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This side closed it.
    #[error("closed by this node")]
    LocallyClosed,
    /// The peer closed it.
    #[error("{}", pilot_proto::close::meaning(*.code))]
    PeerClosed {
        /// With a code of [`pilot_proto::close`].
        code: u32,
        /// With these words, at most 256 bytes.
        reason: String,
    },
    /// Nothing came from the peer for the idle timeout.
    #[error("the peer fell silent")]
    TimedOut,
    /// The peer was restarted and knows nothing of the connection.
    #[error("the peer was restarted")]
    Reset,
    /// The QUIC layer ended it: a broken or unwilling peer, or a refused handshake.
    #[error("the connection failed")]
    Other(#[source] ConnectionError),
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::LocallyClosed,
            ConnectionError::ApplicationClosed(close) => Self::PeerClosed {
                code: code_of(close.error_code),
                reason: reason_of(&close.reason),
            },
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::VersionMismatch
            | ConnectionError::TransportError(_)
            | ConnectionError::ConnectionClosed(_)
            | ConnectionError::CidsExhausted => Self::Other(error),
        }
    }
}

/// A peer's code; what does not fit is no code of ours.
pub(crate) fn code_of(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}

pub(crate) fn reason_of(bytes: &[u8]) -> String {
    let kept = bytes.get(..MAX_REASON).unwrap_or(bytes);
    String::from_utf8_lossy(kept).into_owned()
}

/// What a connection sent and received so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// System calls that sent them.
    pub sent_ios: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Bytes in them.
    pub received_bytes: u64,
    /// Packets that had to be sent again.
    pub lost_packets: u64,
    /// The size of datagrams found to pass, in bytes.
    pub mtu: u16,
}

/// A handle of a connection; clones are the same connection.
///
/// When the last handle and the last stream are dropped, it is closed with
/// code 0.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: quinn::Connection,
    peer: NodeId,
    alpn: Alpn,
    reach: Reach,
    /// While it lives, a path to the peer is wanted; none if QUIC itself
    /// knows the only one.
    want: Option<Arc<Want>>,
}

impl Connection {
    /// `None` if the handshake left no key or no protocol, which TLS excludes.
    pub(crate) fn established(inner: quinn::Connection, reach: &Reach) -> Option<Self> {
        let keys = inner.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let peer = node_of_spki(keys.first()?)?;
        let handshake = inner.handshake_data()?.downcast::<HandshakeData>().ok()?;
        let alpn = Alpn::from_wire(handshake.protocol.as_deref()?)?;
        let want = reach.want_at(inner.remote_address()).map(Arc::new);
        Some(Self { inner, peer, alpn, reach: reach.clone(), want })
    }

    /// The key that the peer proved to hold.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// What is spoken.
    #[must_use]
    pub const fn alpn(&self) -> Alpn {
        self.alpn
    }

    /// Where the peer is now; it changes when the peer's network does. While
    /// a trusted peer is not reached straight, this is no place on a network.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.reach.socket().real(self.inner.remote_address())
    }

    /// Whether [`Connection::remote_addr`] is where UDP packets reach the peer.
    #[must_use]
    pub fn is_at_udp_address(&self) -> bool {
        let known_to_quic = !is_synthetic(self.inner.remote_address());
        known_to_quic || (self.follows_paths() && !is_synthetic(self.remote_addr()))
    }

    /// Whether the path under it may change ([`Reach::path`](crate::Reach::path) tells it).
    #[must_use]
    pub const fn follows_paths(&self) -> bool {
        self.want.is_some()
    }

    /// The current estimate of the round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.inner.rtt()
    }

    /// Opens a stream, waiting while the peer has as many open as it allows.
    /// The peer learns of it with the first bytes.
    ///
    /// Cancel safe: until the future is ready, no stream is open.
    ///
    /// # Errors
    ///
    /// The [`CloseReason`] of the connection, if it ended.
    pub async fn open_bi(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), CloseReason> {
        let (send, recv) = self.inner.open_bi().await?;
        if send.set_priority(priority.weight()).is_err() {
            // Only a stream that is closed already refuses, and then so does a write.
            tracing::trace!(?priority, "a new stream was closed at once");
        }
        Ok((send, recv))
    }

    /// Waits for the next stream of the peer.
    ///
    /// Cancel safe: no stream is lost.
    ///
    /// # Errors
    ///
    /// The [`CloseReason`] of the connection, once it ended.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), CloseReason> {
        Ok(self.inner.accept_bi().await?)
    }

    /// Closes the connection at once and tells the peer a code of
    /// [`pilot_proto::close`] and a few words. Data under way may be lost.
    /// The first call counts.
    pub fn close(&self, code: u32, reason: &str) {
        self.inner.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until the connection has ended, and says why.
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> CloseReason {
        self.inner.closed().await.into()
    }

    /// Why it ended, or `None` while it lasts.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.close_reason().map(CloseReason::from)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.close_reason().is_some()
    }

    /// A number that tells connections of one process apart for as long as
    /// any handle of them exists.
    #[must_use]
    pub fn stable_id(&self) -> usize {
        self.inner.stable_id()
    }

    /// What it sent and received so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let stats = self.inner.stats();
        Traffic {
            sent_datagrams: stats.udp_tx.datagrams,
            sent_bytes: stats.udp_tx.bytes,
            sent_ios: stats.udp_tx.ios,
            received_datagrams: stats.udp_rx.datagrams,
            received_bytes: stats.udp_rx.bytes,
            lost_packets: stats.path.lost_packets,
            mtu: stats.path.current_mtu,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quinn::ApplicationClose;

    use super::*;

    #[test]
    fn a_peer_cannot_make_us_keep_a_long_reason() {
        let close =
            ApplicationClose { error_code: VarInt::MAX, reason: Bytes::from(vec![0xff; 100_000]) };

        let reason = CloseReason::from(ConnectionError::ApplicationClosed(close));

        let CloseReason::PeerClosed { code, reason } = reason else { panic!("{reason:?}") };
        assert_eq!(code, u32::MAX);
        assert_eq!(reason.chars().count(), 256);
    }

    #[test]
    fn what_keeps_the_session_going_goes_first() {
        let order = [Priority::Control, Priority::Task, Priority::Message, Priority::Bulk];

        assert_eq!(order.map(Priority::weight), [3, 2, 1, 0]);
    }
}
