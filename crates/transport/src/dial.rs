//! Reaching a peer: one dial, and a race of dials to several addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pilot_identity::NodeId;
use quinn::{ConnectionError, TransportErrorCode};

use crate::alpn::Alpn;
use crate::candidates::MAX_CANDIDATES;
use crate::carrier::Carrier;
use crate::connection::{Connection, code_of, reason_of};
use crate::endpoint::Endpoint;
use crate::socket::{canonical, synthetic};
use crate::tls::{ServerVerifier, TlsError};

/// Head start of each candidate before the next is tried beside it.
///
/// A handshake within a country is over by then; losing the race costs the
/// later candidates a few packets.
const HEAD_START: Duration = Duration::from_millis(50);

/// TLS alert `no_application_protocol` (RFC 7301 §3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Never sent: endpoints have no names.
const SERVER_NAME: &str = "node.invalid";

/// Whom a dial may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// This key and no other.
    Key(NodeId),
    /// Any: the caller decides by [`Connection::peer`] before it says anything.
    Any,
}

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no address that the socket could send to.
    #[error("no address of the peer can be reached from this socket")]
    Unreachable,
    /// Nothing came back for the idle timeout.
    #[error("the peer did not answer")]
    TimedOut,
    /// Somebody else is there.
    #[error("the key found there is {got}, not {expected}")]
    WrongKey {
        /// Who was wanted.
        expected: NodeId,
        /// Who proved to be there.
        got: NodeId,
    },
    /// The peer closed the connection during the handshake. A peer that
    /// objects to *this* node's key does so later: see [`Connection::closed`].
    #[error("{}", pilot_proto::close::meaning(*.code))]
    Refused {
        /// With a code of [`pilot_proto::close`].
        code: u32,
        /// With these words, at most 256 bytes.
        reason: String,
    },
    /// The peer takes no connection now: it stops, or has too many handshakes under way.
    #[error("the peer takes no connection now")]
    Busy,
    /// The peer does not speak the protocol, or no version of it in common.
    #[error("the peer does not speak this protocol")]
    VersionMismatch,
    /// The handshake failed in any other way.
    #[error("the handshake failed")]
    Handshake(#[source] ConnectionError),
    /// This endpoint is closed.
    #[error("this node is stopping")]
    Closed,
    /// This build cannot dial.
    #[error("dialing is impossible")]
    Local(#[from] TlsError),
}

impl ConnectError {
    /// How much it says about the peer; of several failures the highest is told.
    const fn weight(&self) -> u8 {
        match self {
            Self::Unreachable => 0,
            Self::TimedOut => 1,
            Self::Handshake(_) => 2,
            Self::WrongKey { .. } => 3,
            Self::VersionMismatch => 4,
            Self::Busy => 5,
            Self::Refused { .. } => 6,
            Self::Closed => 7,
            Self::Local(_) => 8,
        }
    }

    fn of(error: ConnectionError, expect: Expect, verifier: &ServerVerifier) -> Self {
        if let (Expect::Key(expected), Some(got)) = (expect, verifier.proved())
            && expected != got
        {
            return Self::WrongKey { expected, got };
        }
        let no_protocol = TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL);
        match error {
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::VersionMismatch => Self::VersionMismatch,
            ConnectionError::LocallyClosed => Self::Closed,
            ConnectionError::ApplicationClosed(close) => {
                Self::Refused { code: code_of(close.error_code), reason: reason_of(&close.reason) }
            }
            ConnectionError::ConnectionClosed(ref close) if close.error_code == no_protocol => {
                Self::VersionMismatch
            }
            ConnectionError::TransportError(ref own) if own.code == no_protocol => {
                Self::VersionMismatch
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Busy
            }
            ConnectionError::ConnectionClosed(_)
            | ConnectionError::TransportError(_)
            | ConnectionError::Reset
            | ConnectionError::CidsExhausted => Self::Handshake(error),
        }
    }
}

impl From<quinn::ConnectError> for ConnectError {
    fn from(error: quinn::ConnectError) -> Self {
        match error {
            quinn::ConnectError::InvalidRemoteAddress(_) => Self::Unreachable,
            quinn::ConnectError::CidsExhausted => Self::Handshake(ConnectionError::CidsExhausted),
            quinn::ConnectError::UnsupportedVersion => Self::VersionMismatch,
            quinn::ConnectError::EndpointStopping
            | quinn::ConnectError::InvalidServerName(_)
            | quinn::ConnectError::NoDefaultClientConfig => Self::Closed,
        }
    }
}

impl Endpoint {
    /// Connects to whoever `expect` allows at `addr`.
    ///
    /// This is for whom no path is kept: `addr` is where it is, and stays so.
    /// Gives up after the idle timeout without an answer; a caller with less
    /// patience drops the future. Cancel safe: that abandons the dial.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]
    pub async fn connect(
        &self,
        expect: Expect,
        addr: SocketAddr,
        alpn: Alpn,
    ) -> Result<Connection, ConnectError> {
        let expected = match expect {
            Expect::Key(node) => Some(node),
            Expect::Any => None,
        };
        let verifier = Arc::new(ServerVerifier::expecting(expected));
        let addr = self.socket().reachable(addr).ok_or(ConnectError::Unreachable)?;
        // Whoever speaks with a peer past its paths must get its answers so.
        self.socket().routes.forget_source(canonical(addr));
        let config = self.client_config(alpn, Arc::clone(&verifier))?;
        let connecting = self.quinn().connect_with(config, addr, SERVER_NAME)?;
        let connection =
            connecting.await.map_err(|error| ConnectError::of(error, expect, &verifier))?;
        match (Connection::established(connection, self.reach()), expected) {
            (Some(connection), Some(expected)) if connection.peer() != expected => {
                Err(ConnectError::WrongKey { expected, got: connection.peer() })
            }
            (Some(connection), _) => Ok(connection),
            (None, _) => Err(ConnectError::VersionMismatch),
        }
    }

    /// Connects to a trusted `peer` by the best path there is, as soon as there
    /// is one; the connection survives each change of path.
    ///
    /// Waits for a path for as long as the caller does. Cancel safe: that
    /// abandons the dial.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; [`ConnectError::Unreachable`] at once if the peer was
    /// not admitted to [`Endpoint::reach`].
    pub async fn connect_peer(&self, peer: NodeId, alpn: Alpn) -> Result<Connection, ConnectError> {
        let _want = self.reach().want(peer);
        if !self.reach().ready(&peer).await {
            return Err(ConnectError::Unreachable);
        }
        self.connect(Expect::Key(peer), synthetic(&peer), alpn).await
    }

    /// Connects to whoever `expect` allows at the other end of `carrier`.
    ///
    /// Cancel safe: that abandons the dial.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]
    pub async fn connect_over(
        &self,
        carrier: &Carrier,
        expect: Expect,
        alpn: Alpn,
    ) -> Result<Connection, ConnectError> {
        self.connect(expect, carrier.id().synthetic(), alpn).await
    }

    /// Connects to `peer` at whichever of `candidates` answers first.
    ///
    /// They are tried in order: the next one 50 ms after the one before, or as
    /// soon as that failed. The first to succeed is returned and the others
    /// are abandoned; the peer may have seen one of those as an own connection
    /// that was closed at once. Tries the first [`MAX_CANDIDATES`] different
    /// ones. Cancel safe: dropping the future abandons all dials.
    ///
    /// # Errors
    ///
    /// The most telling [`ConnectError`] of all candidates;
    /// [`ConnectError::Unreachable`] if there are none.
    pub async fn connect_any(
        &self,
        expect: Expect,
        candidates: &[SocketAddr],
        alpn: Alpn,
    ) -> Result<Connection, ConnectError> {
        let mut waiting = distinct(candidates).into_iter();
        let mut dials = FuturesUnordered::new();
        let mut worst = ConnectError::Unreachable;
        loop {
            match waiting.next() {
                Some(addr) => dials.push(self.connect(expect, addr, alpn)),
                None if dials.is_empty() => return Err(worst),
                None => {}
            }
            let patience = if waiting.len() == 0 { Duration::MAX } else { HEAD_START };
            match tokio::time::timeout(patience, dials.next()).await {
                Ok(Some(Ok(connection))) => return Ok(connection),
                Ok(Some(Err(error))) if error.weight() > worst.weight() => worst = error,
                Ok(Some(Err(_)) | None) | Err(_) => {}
            }
        }
    }
}

fn distinct(candidates: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut kept: Vec<SocketAddr> = Vec::new();
    for candidate in candidates {
        if kept.len() < MAX_CANDIDATES && !kept.contains(candidate) {
            kept.push(*candidate);
        }
    }
    kept
}
