//! How this node is doing.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::network::{BeaconView, NatKind, Transport};

/// `GET status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatusView {
    /// The daemon itself.
    pub daemon: DaemonStatus,
    /// The link to the rendezvous.
    pub rendezvous: RendezvousStatus,
    /// `IP:PORT` under which other nodes can reach this one, best first.
    pub endpoints: Vec<String>,
    /// Whether untrusted nodes may see name, address and endpoints.
    pub public: bool,
    /// What stands between it and others; `GET netcheck` has more.
    #[serde(default)]
    pub network: NetworkStatus,
    /// How many nodes it knows, by kind.
    pub peers: PeerCounts,
    /// How much is waiting.
    pub queues: QueueCounts,
    /// What went through the UDP socket.
    #[serde(default)]
    pub socket: SocketCounts,
    /// What it uses of the disk.
    pub disk: DiskStatus,
    /// What an operator should look at, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// See [`StatusView::daemon`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// How long it has been up.
    pub uptime_ms: u64,
    /// Its home folder.
    pub home: String,
    /// `IP:PORT` of its UDP socket.
    pub listen: String,
}

/// See [`StatusView::rendezvous`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RendezvousStatus {
    /// `HOST:PORT` of the registry as configured, if any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether this node is registered there now.
    pub connected: bool,
    /// How it is reached, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Since when it is as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Why the last try failed, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// See [`StatusView::network`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkStatus {
    /// What kind of NAT it is behind.
    pub nat: NatKind,
    /// Its beacons.
    pub beacons: Vec<BeaconView>,
}

/// See [`StatusView::socket`]. Datagrams since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SocketCounts {
    /// Given to the kernel or a carrier.
    pub sent: u64,
    /// Received, and of use.
    pub received: u64,
    /// Dropped because too many waited.
    pub dropped: u64,
    /// Dropped because they are nothing known.
    pub garbage: u64,
}

/// See [`StatusView::peers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerCounts {
    /// With mutual trust.
    pub trusted: u64,
    /// Of these, with an open tunnel.
    pub connected: u64,
    /// Trusted ones that are reached directly.
    #[serde(default)]
    pub direct: u64,
    /// Trusted ones that are reached through a relay.
    #[serde(default)]
    pub relayed: u64,
    /// Trusted ones to which there is no path now.
    #[serde(default)]
    pub offline: u64,
    /// Asked by this node, not answered yet.
    pub requested: u64,
    /// Asking this node, not answered yet.
    pub pending: u64,
}

/// See [`StatusView::queues`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueCounts {
    /// Tasks submitted here that have not ended.
    pub submitted_live: u64,
    /// Of these, the ones their worker's node does not have yet.
    pub submitted_undelivered: u64,
    /// Tasks received that wait for a worker.
    pub received_waiting: u64,
    /// Tasks received that a worker has accepted.
    pub received_leased: u64,
    /// Results of this node that their submitter has not confirmed yet.
    pub results_pending: u64,
    /// Messages of this node that are not delivered yet.
    #[serde(default)]
    pub messages_queued: u64,
    /// Messages to this node that nobody has read yet.
    #[serde(default)]
    pub messages_unread: u64,
    /// Messages to this node that are not acknowledged yet, read or not.
    #[serde(default)]
    pub messages_unacked: u64,
}

/// See [`StatusView::disk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskStatus {
    /// Bytes of the node's store.
    pub store_bytes: u64,
    /// Bytes left on its file system.
    pub free_bytes: u64,
    /// Whether new work is refused because the disk is full.
    pub full: bool,
}
