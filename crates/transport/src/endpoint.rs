//! A node on the network: one socket, one key, many connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pilot_identity::{NodeId, NodeKey};
use pilot_paths::LocalId;
use quinn::{ClientConfig, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::sync::{Semaphore, mpsc};

use crate::alpn::Alpn;
use crate::carrier::{self, Attached, Carrier, CarrierError, Opening, Proxies, Pump};
use crate::host_port::HostPort;
use crate::incoming::Incoming;
use crate::mtu::MtuSearch;
use crate::reach::Reach;
use crate::reset::{ConnectionIds, ResetKey};
use crate::settings::Settings;
use crate::socket::{Datagrams, SendDatagramError, Socket, SocketStats};
use crate::tls::{ServerVerifier, Tls, TlsError};

/// Bytes kept of each handshake that waits to be accepted, beyond its first
/// packet; more is dropped and sent again.
const WAITING_HANDSHAKE_BYTES: u64 = 16 * 1024;

/// Pause between two resets to peers of a former run; packets between are
/// left without an answer and come again.
///
/// A thousand peers of a restarted node learn of it within a second. A flood
/// of packets cannot spend this: only ids that this node made are answered,
/// each with less than was received.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// A node's socket with everything on it; clones are the same endpoint.
///
/// When all clones are dropped, its connections go on until their own handles
/// are dropped, and then the socket is closed.
#[derive(Debug, Clone)]
pub struct Endpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    quinn: quinn::Endpoint,
    socket: Arc<Socket>,
    tls: Arc<Tls>,
    reach: Reach,
    proxies: Proxies,
    transport: Arc<TransportConfig>,
    /// For connections that end after a few small messages, or carry no others.
    unprobed: Arc<TransportConfig>,
    id: NodeId,
    slots: Arc<Semaphore>,
    max_handshakes: usize,
    handshake_timeout: Duration,
}

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The caller is not within a tokio runtime.
    #[error("an endpoint needs a tokio runtime")]
    NoRuntime,
    /// The idle timeout is longer than QUIC can say.
    #[error("the idle timeout is too long")]
    IdleTimeout,
    /// The address is in use, or not of this machine.
    #[error("cannot bind {listen}")]
    Socket {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// This build has no usable TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
}

impl Endpoint {
    /// Binds the socket and starts to answer. What drives it runs on the
    /// current tokio runtime until endpoint and connections are gone.
    ///
    /// # Errors
    ///
    /// [`BindError`]
    pub fn bind(key: Arc<NodeKey>, settings: Settings) -> Result<Self, BindError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BindError::NoRuntime);
        }
        let id = key.id();
        let accepting = settings.accepting().ok_or(BindError::IdleTimeout)?;
        let transport = settings.dialing(settings.mtu_search).ok_or(BindError::IdleTimeout)?;
        let unprobed = settings.dialing(MtuSearch::None).ok_or(BindError::IdleTimeout)?;
        let tls = Arc::new(Tls::new(Arc::clone(&key), settings.key_exchange)?);
        let server = server_config(&tls, &settings, accepting)?;

        let failed = |source| BindError::Socket { listen: settings.listen, source };
        let (socket, datagrams) =
            Socket::bind(settings.listen, settings.socket_buffer, settings.max_datagrams)
                .map_err(failed)?;
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            endpoint_config(&key, settings.mtu_search.takes()),
            server,
            Arc::<Socket>::clone(&socket),
            Arc::new(TokioRuntime),
        )
        .map_err(failed)?;
        tracing::debug!(local = %socket.local(), node = %id.short(), "endpoint bound");
        let reach = Reach::new(
            key,
            Arc::clone(&socket),
            Arc::clone(&tls),
            settings.proxies.clone(),
            datagrams,
        );
        let max_handshakes = settings.max_handshakes.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Inner {
            quinn,
            socket,
            tls,
            reach,
            proxies: settings.proxies,
            transport,
            unprobed,
            id,
            slots: Arc::new(Semaphore::new(max_handshakes)),
            max_handshakes,
            handshake_timeout: settings.handshake_timeout,
        })))
    }

    /// This node's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The address the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.socket.local()
    }

    /// The next handshake that somebody begins, or `None` once the endpoint is closed.
    ///
    /// Waits while as many as allowed are under way. While more than half of
    /// them are, those who have not proved their address are sent to do so.
    ///
    /// Cancel safe: no handshake is lost.
    pub async fn accept(&self) -> Option<Incoming> {
        loop {
            let slot = Arc::clone(&self.0.slots).acquire_owned().await.ok()?;
            let incoming = Incoming::new(
                self.0.quinn.accept().await?,
                self.0.reach.clone(),
                slot,
                self.0.handshake_timeout,
            );
            let crowded = self.0.slots.available_permits() < self.0.max_handshakes / 2;
            if !crowded || incoming.is_validated() {
                return Some(incoming);
            }
            incoming.retry();
        }
    }

    /// Takes the receiver of what is no QUIC; `None` the second time, and once
    /// [`Reach::drive`] reads it. Until somebody does, the newest are dropped
    /// once [`Settings::max_datagrams`] wait.
    #[must_use]
    pub fn take_datagrams(&self) -> Option<Datagrams> {
        self.0.reach.take_datagrams()
    }

    /// The ways to trusted peers.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// Gives a carrier that somebody opened from `from` to this endpoint a
    /// place at its socket: what is sent to it comes out of `out`'s other end,
    /// and is lost while that is full.
    #[must_use]
    pub fn attach_carrier(&self, out: mpsc::Sender<Bytes>, from: SocketAddr) -> Attached {
        Attached::new(Arc::clone(&self.0.socket), out, Some(from))
    }

    /// Opens a carrier to `target`, at its own port or at 443, through the
    /// proxy if one is set. [`Endpoint::connect_over`] then reaches who is there.
    /// The pump is to be awaited for as long as the carrier is used.
    ///
    /// Cancel safe: dropped, nothing is open.
    ///
    /// # Errors
    ///
    /// [`CarrierError`]
    pub async fn open_carrier(
        &self,
        target: &HostPort,
        expected: Option<NodeId>,
    ) -> Result<(Carrier, Pump), CarrierError> {
        let Inner { socket, tls, proxies, .. } = &*self.0;
        carrier::open(&Opening { socket, tls, proxies }, target, expected).await
    }

    /// Sends one STUN or marked datagram, once, without waiting.
    ///
    /// # Errors
    ///
    /// [`SendDatagramError`]; that it was sent does not mean that it arrives.
    pub fn send_datagram(&self, to: SocketAddr, contents: &[u8]) -> Result<(), SendDatagramError> {
        self.0.socket.send_datagram(LocalId::MAIN, to, contents)
    }

    /// What went through the socket so far.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.0.socket.stats()
    }

    /// How many connections are open or closing.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.quinn.open_connections()
    }

    /// Closes all connections with a code of [`pilot_proto::close`] and
    /// accepts and dials no more.
    pub fn close(&self, code: u32, reason: &str) {
        self.0.quinn.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until no connection is left and all peers were told. After
    /// [`Endpoint::close`] that takes three round trips or so.
    ///
    /// Cancel safe.
    pub async fn wait_idle(&self) {
        self.0.quinn.wait_idle().await;
    }

    pub(crate) fn socket(&self) -> &Arc<Socket> {
        &self.0.socket
    }

    pub(crate) fn quinn(&self) -> &quinn::Endpoint {
        &self.0.quinn
    }

    pub(crate) fn client_config(
        &self,
        alpn: Alpn,
        verifier: Arc<ServerVerifier>,
    ) -> Result<ClientConfig, TlsError> {
        let mut config = ClientConfig::new(Arc::new(self.0.tls.client(alpn, verifier)?));
        config.transport_config(match alpn {
            Alpn::Peer => Arc::clone(&self.0.transport),
            Alpn::Trust | Alpn::Registry => Arc::clone(&self.0.unprobed),
        });
        Ok(config)
    }
}

fn endpoint_config(key: &NodeKey, takes: u16) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey::of(key)));
    let ids = ConnectionIds::of(key);
    config
        .cid_generator(move || Box::new(ids.clone()))
        .grease_quic_bit(false)
        .min_reset_interval(RESET_INTERVAL);
    if config.max_udp_payload_size(takes).is_err() {
        tracing::debug!(takes, "quinn keeps its own datagram size");
    }
    config
}

fn server_config(
    tls: &Tls,
    settings: &Settings,
    transport: Arc<TransportConfig>,
) -> Result<Option<ServerConfig>, TlsError> {
    if settings.accept.is_empty() {
        return Ok(None);
    }
    let waiting = u64::try_from(settings.max_handshakes).unwrap_or(u64::MAX);
    let mut config = ServerConfig::with_crypto(Arc::new(tls.server(&settings.accept)?));
    config
        .transport_config(transport)
        .max_incoming(settings.max_handshakes)
        .incoming_buffer_size(WAITING_HANDSHAKE_BYTES)
        .incoming_buffer_size_total(WAITING_HANDSHAKE_BYTES.saturating_mul(waiting));
    Ok(Some(config))
}
