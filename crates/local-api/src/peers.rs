//! Other nodes: the roster, look-ups and pings.

use pilot_proto::identity::{Fingerprint, NodeId};
use pilot_proto::{Address, NodeName, Tags};
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::identity::PeerIdentity;
use crate::network::Transport;
use crate::trust::TrustState;

/// The way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PathKind {
    /// From socket to socket.
    Direct,
    /// Through the relay of a beacon, which sees ciphertext.
    Relayed,
    /// There is no open tunnel.
    Offline,
}

impl PathKind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
            Self::Offline => "offline",
        }
    }
}

/// The query of `GET peers`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeersQuery {
    /// Only nodes with all of these tags, `k=v,k2=v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// One line of `GET peers`: a trusted node, one that is being asked or asks,
/// or a public one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerView {
    /// Who it is.
    #[serde(flatten)]
    pub identity: PeerIdentity,
    /// What it says about itself.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub tags: Tags,
    /// Whether it is up, `null` if that is not known.
    #[serde(default)]
    pub online: Option<bool>,
    /// How well it works, if the rendezvous tells: see [`crate::polo`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polo: Option<i64>,
    /// The way to it.
    pub path: PathKind,
    /// `IP:PORT` where packets for it go: its own if the path is direct, the
    /// beacon's if it is relayed (`HOST:PORT` where that goes over TCP).
    #[serde(default)]
    pub endpoint: Option<String>,
    /// How a relayed path is carried to the beacon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Why the path is as it is, in a word: see [`path_reason`].
    #[serde(default)]
    pub path_reason: Option<String>,
    /// Since when this path is used.
    #[serde(default)]
    pub path_since: Option<Time>,
    /// Microseconds to it and back, as last measured.
    #[serde(default)]
    pub rtt_us: Option<u64>,
    /// How far trust has come.
    pub trust: TrustState,
    /// When this node last heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

/// Reasons for a path beside those of the path machines, which are
/// `relay_first`, `relay_better`, `direct_proven`, `direct_faster`,
/// `direct_nearer`, `birthday`, `direct_died`, `network_changed`,
/// `peer_absent` and `no_path`.
pub mod path_reason {
    /// Trust is not mutual, so no path is kept.
    pub const NOT_TRUSTED: &str = "not_trusted";
    /// Nothing was sent for a while, or the peer is away: a tunnel is opened
    /// when it is needed.
    pub const NO_TUNNEL: &str = "no_tunnel";
    /// The peer came to this node's socket by itself, and is answered there.
    pub const ACCEPTED: &str = "accepted";
}

/// `GET resolve/{peer}`. Of a private node that does not trust this one, only
/// the address is there, and `visible` is false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResolveView {
    /// Its address, unless the peer is known by its key alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub address: Option<Address>,
    /// Whether it lets this node see the rest.
    pub visible: bool,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub name: Option<NodeName>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub public_key: Option<NodeId>,
    /// The hash of the key that people compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub fingerprint: Option<Fingerprint>,
    /// What it says about itself.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub tags: Tags,
    /// Whether it is up, `null` if that is not known.
    #[serde(default)]
    pub online: Option<bool>,
    /// How well it works, if the rendezvous tells: see [`crate::polo`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polo: Option<i64>,
    /// The way to it, if trust is mutual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathKind>,
    /// How far trust has come.
    pub trust: TrustState,
    /// When this node last heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

/// The query of `GET ping/{peer}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingQuery {
    /// How long to wait for the answer; the daemon's default is 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `GET ping/{peer}`: one round trip over the tunnel, which is opened if need be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PingView {
    /// Microseconds from sending the probe to its echo.
    pub rtt_us: u64,
    /// The path it took.
    pub path: PathKind,
    /// `IP:PORT` where packets went: the peer's if the path is direct, the
    /// beacon's if it is relayed (`HOST:PORT` where that goes over TCP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How a relayed path is carried to the beacon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
}
