//! Somebody knocks.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::ConnectionError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::reach::Reach;

/// A handshake that somebody began and this node has not answered yet.
///
/// Dropped, it is refused. It holds one of the endpoint's handshake slots
/// until [`Incoming::accept`] is through.
#[derive(Debug)]
pub struct Incoming {
    inner: quinn::Incoming,
    reach: Reach,
    slot: OwnedSemaphorePermit,
    limit: Duration,
}

/// Why a stranger's handshake did not become a connection.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It failed: no key, a false signature, no protocol in common, silence.
    #[error("the handshake failed")]
    Handshake(#[from] ConnectionError),
    /// It took longer than [`Settings::handshake_timeout`](crate::Settings::handshake_timeout).
    #[error("the handshake took too long")]
    TooSlow,
    /// It left no key or no protocol.
    #[error("the handshake proved nothing")]
    Unproved,
}

impl Incoming {
    pub(crate) const fn new(
        inner: quinn::Incoming,
        reach: Reach,
        slot: OwnedSemaphorePermit,
        limit: Duration,
    ) -> Self {
        Self { inner, reach, slot, limit }
    }

    /// Where it came from, as the packet claims; an address of its own for
    /// each trusted peer whose way is not a direct one.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.reach.socket().real(self.inner.remote_address())
    }

    /// Whether the sender has shown that it receives what is sent there.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.inner.remote_address_validated()
    }

    /// Does the handshake. Then the peer has proved its key; whether it is
    /// welcome is for the caller to decide.
    ///
    /// Cancel safe: dropping the future abandons the handshake. Without an
    /// answer it fails after the idle timeout, and in any case after
    /// [`Settings::handshake_timeout`](crate::Settings::handshake_timeout).
    ///
    /// # Errors
    ///
    /// [`AcceptError`], always the other side's doing.
    pub async fn accept(self) -> Result<Connection, AcceptError> {
        let Self { inner, reach, slot, limit } = self;
        let connection =
            timeout(limit, inner.accept()?).await.map_err(|_| AcceptError::TooSlow)??;
        drop(slot);
        Connection::established(connection, &reach).ok_or(AcceptError::Unproved)
    }

    /// Tells the other side that no connection is taken now.
    pub fn refuse(self) {
        self.inner.refuse();
    }

    /// Lets the other side prove its address and knock again, which costs it a
    /// round trip and this node no memory. One that has done so is refused.
    pub fn retry(self) {
        if let Err(error) = self.inner.retry() {
            error.into_incoming().refuse();
        }
    }
}
