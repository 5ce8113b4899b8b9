//! Encrypted connections between machines: QUIC over one UDP socket.
//!
//! An [`Endpoint`] owns the socket of a node, dials and accepts. Both sides
//! of a [`Connection`] prove an Ed25519 key (RFC 7250 raw public keys), so
//! that a connection *is* its peer's [`NodeId`](pilot_identity::NodeId), and
//! both agree on an [`Alpn`], which says what is spoken on it. Whether that
//! peer may speak is not decided here.
//!
//! What arrives at the socket and is no QUIC (STUN, packets with [`MARK`])
//! comes out as [`Datagram`]s.
//!
//! Everything is driven by the tokio runtime in which [`Endpoint::bind`] is
//! called. Nothing here is unbounded: see [`Settings`] for the limits.

mod alpn;
mod candidates;
mod carrier;
mod congestion;
mod connection;
mod demux;
mod dial;
mod endpoint;
mod framed;
mod host_port;
mod incoming;
mod knocks;
mod limits;
mod mtu;
mod reach;
mod reset;
mod settings;
mod socket;
mod tls;

pub use alpn::Alpn;
pub use candidates::{MAX_CANDIDATES, local_candidates};
pub use carrier::{
    Attached, CARRIER_ALPN, Carrier, CarrierError, HTTPS_PORT, MAX_FRAME, MAX_QUEUED, Proxies,
    Pump, pump,
};
pub use connection::{CloseReason, Connection, Priority, Traffic};
pub use demux::{Kind, MARK, MAX_ASIDE, classify};
pub use dial::{ConnectError, Expect};
pub use endpoint::{BindError, Endpoint};
pub use framed::{Budget, Framed, FramedError, Share, next_frame, next_frame_within, send_frame};
pub use host_port::{HostPort, HostPortError};
pub use incoming::{AcceptError, Incoming};
pub use knocks::{Knock, Knocks};
pub use limits::{Limiter, source};
pub use mtu::MtuSearch;
pub use pilot_paths::{Finding, LocalId};
pub use quinn::{RecvStream, SendStream};
pub use reach::{
    BeaconAt, BeaconReport, NetReport, PathCounters, PathInfo, PathReport, ProbeCounters, Progress,
    Reach, WayReport,
};
pub use settings::{KeyExchange, Settings};
pub use socket::{
    ByWay, CarrierId, Datagram, Datagrams, Origin, Place, SendDatagramError, SocketStats,
};
pub use tls::{TlsError, carrier_server};
