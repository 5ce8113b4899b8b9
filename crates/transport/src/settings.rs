//! What an endpoint is told when it is made, and its limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::alpn::Alpn;
use crate::carrier::Proxies;
use crate::congestion::ByDelivery;
use crate::mtu::MtuSearch;

/// Which key exchanges an endpoint offers and takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyExchange {
    /// X25519MLKEM768 preferred, X25519 with those that have no other.
    #[default]
    Hybrid,
    /// X25519 preferred, X25519MLKEM768 with those that have no other.
    ClassicalFirst,
    /// X25519 alone.
    ClassicalOnly,
}

/// Everything an [`Endpoint`](crate::Endpoint) is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the socket is bound. An unspecified IPv6 address takes IPv4 too.
    pub listen: SocketAddr,
    /// The protocols for which connections are accepted; with none, the
    /// endpoint only dials and answers nobody.
    pub accept: Vec<Alpn>,
    /// The key exchanges.
    pub key_exchange: KeyExchange,
    /// Bytes asked for the socket's buffers, each way. The kernel may give less.
    pub socket_buffer: usize,
    /// Silence after which the side that dialed sends a packet to be answered;
    /// the side that accepted waits a quarter longer, so that both do not send
    /// at once and an idle connection costs half the packets.
    pub keep_alive: Duration,
    /// Silence after which the peer of a connection, or of a dial, counts as gone.
    pub idle_timeout: Duration,
    /// How long a stranger's handshake may take as a whole: packets that keep
    /// it from falling silent do not keep its place.
    pub handshake_timeout: Duration,
    /// Streams that a peer may have open at once; it waits beyond.
    pub max_streams: u32,
    /// Bytes that a peer may send ahead on one stream; it waits beyond.
    pub stream_window: u32,
    /// Bytes that a peer may send ahead on all streams of a connection, and
    /// that wait to be acknowledged the other way; the sender waits beyond.
    pub connection_window: u32,
    /// How accepted connections, and dials for [`Alpn::Peer`], look for the
    /// largest datagram that passes.
    pub mtu_search: MtuSearch,
    /// Handshakes of strangers under way at once. Beyond as many again that
    /// wait, new ones are refused; beyond half of it, strangers must first
    /// prove their address.
    pub max_handshakes: usize,
    /// Datagrams that are no QUIC and wait to be taken; the newest is dropped beyond.
    pub max_datagrams: usize,
    /// Which proxies stand before carriers; none by default.
    pub proxies: Proxies,
}

impl Settings {
    /// The defaults, bound to `listen` and accepting `accept`.
    #[must_use]
    pub const fn new(listen: SocketAddr, accept: Vec<Alpn>) -> Self {
        Self {
            listen,
            accept,
            key_exchange: KeyExchange::Hybrid,
            // A few milliseconds at 10 Gbit/s, while this process does something else.
            socket_buffer: 4 * 1024 * 1024,
            // Two keepalives may be lost, and a gone peer is known within 10 s.
            keep_alive: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(9),
            // Three of QUIC's first retransmissions, and as much again.
            handshake_timeout: Duration::from_secs(10),
            // An idle connection costs 38 kB with 100 streams, 114 kB with 1,000.
            max_streams: 100,
            // 1 Gbit/s over 30 ms.
            stream_window: 4 * 1024 * 1024,
            connection_window: 8 * 1024 * 1024,
            mtu_search: MtuSearch::Ordinary,
            max_handshakes: 256,
            max_datagrams: 1024,
            proxies: Proxies::none(),
        }
    }

    /// For connections that this side accepts.
    pub(crate) fn accepting(&self) -> Option<Arc<TransportConfig>> {
        self.transport(self.mtu_search, self.keep_alive + self.keep_alive / 4)
    }

    /// For connections that this side dials.
    pub(crate) fn dialing(&self, mtu_search: MtuSearch) -> Option<Arc<TransportConfig>> {
        self.transport(mtu_search, self.keep_alive)
    }

    fn transport(
        &self,
        mtu_search: MtuSearch,
        keep_alive: Duration,
    ) -> Option<Arc<TransportConfig>> {
        let idle = IdleTimeout::try_from(self.idle_timeout).ok()?;
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(keep_alive))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.max_streams))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.connection_window))
            .send_window(u64::from(self.connection_window))
            .datagram_receive_buffer_size(None)
            .congestion_controller_factory(Arc::new(ByDelivery))
            .mtu_discovery_config(mtu_search.config());
        Some(Arc::new(transport))
    }
}
