//! `status`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pilot_local_api::status::{
    DaemonStatus, DiskStatus, NetworkStatus, PeerCounts, QueueCounts, RendezvousStatus,
    SocketCounts, StatusView,
};
use pilot_trust::TrustState;

use super::network::beacon_view;
use crate::node::Node;
use crate::services::data::TurnedAway;
use crate::services::network::{line_transport, nat};

/// How this node is doing.
#[utoipa::path(get, path = "/v1/status", tag = "node",
    responses((status = 200, body = StatusView)))]
pub(crate) async fn status(State(node): State<Arc<Node>>) -> Json<StatusView> {
    let rendezvous = rendezvous(&node);
    let disk = disk(&node);
    Json(StatusView {
        daemon: DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: u64::try_from(node.uptime().as_millis()).unwrap_or(u64::MAX),
            home: node.home().display().to_string(),
            listen: node.overlay().local_addr().to_string(),
        },
        endpoints: node.network().candidates().iter().map(ToString::to_string).collect(),
        public: node.settings().public,
        network: network(&node),
        peers: peers(&node),
        queues: queues(&node),
        socket: socket(&node),
        warnings: warnings(&node, &rendezvous, &disk),
        rendezvous,
        disk,
    })
}

fn rendezvous(node: &Node) -> RendezvousStatus {
    let registry = node.overlay().registry();
    let status = registry.map(pilot_overlay::RegistryClient::status).unwrap_or_default();
    RendezvousStatus {
        address: registry.map(|registry| registry.addr().at.to_string()),
        connected: status.connected,
        transport: status.way.filter(|_| status.connected).map(line_transport),
        since: status.since.map(Into::into),
        last_error: status.last_error,
    }
}

pub(super) fn peers(node: &Node) -> PeerCounts {
    let mut counts = PeerCounts::default();
    let mut trusted = Vec::new();
    node.trust().look(|trust, now| {
        for (record, standing) in trust.peers(now) {
            match standing.state {
                TrustState::Mutual => trusted.push(record.peer),
                TrustState::Requested => counts.requested += 1,
                TrustState::Pending => counts.pending += 1,
                TrustState::None => {}
            }
        }
    });
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    counts.trusted = count(trusted.len());
    let connected = trusted.iter().filter(|id| node.overlay().current(id).is_some());
    counts.connected = count(connected.count());
    let paths = node.network().count(&trusted);
    (counts.direct, counts.relayed, counts.offline) = (paths.direct, paths.relayed, paths.offline);
    counts
}

fn network(node: &Node) -> NetworkStatus {
    let report = node.network().report();
    let (_, _, nat) = nat(&report);
    NetworkStatus { nat, beacons: report.beacons.iter().map(beacon_view).collect() }
}

fn socket(node: &Node) -> SocketCounts {
    let (_, stats) = node.overlay().reach().counters();
    SocketCounts {
        sent: stats.sent,
        received: stats.quic.saturating_add(stats.aside),
        dropped: stats.dropped,
        garbage: stats.garbage,
    }
}

pub(super) fn queues(node: &Node) -> QueueCounts {
    let counts = node.tasks().counts();
    let messages = node.messages().counts();
    QueueCounts {
        submitted_live: counts.submitted_live,
        submitted_undelivered: counts.submitted_undelivered,
        received_waiting: counts.received_waiting,
        received_leased: counts.received_leased,
        results_pending: counts.results_pending,
        messages_queued: messages.queued,
        messages_unread: messages.unread,
        messages_unacked: messages.unacked,
    }
}

pub(super) fn disk(node: &Node) -> DiskStatus {
    let database = node.database();
    let wal = database.with_extension("db-wal");
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    DiskStatus {
        store_bytes: size(database).saturating_add(size(&wal)),
        free_bytes: rustix::fs::statvfs(node.home())
            .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize)),
        full: node.store().room_for_new_work().is_err(),
    }
}

fn warnings(node: &Node, rendezvous: &RendezvousStatus, disk: &DiskStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    match (&rendezvous.address, rendezvous.connected) {
        (None, _) => warnings.push(
            "no rendezvous is configured: start the daemon with -registry-addr HOST:9000"
                .to_owned(),
        ),
        (Some(address), false) => warnings.push(format!(
            "not registered with {address}: known peers are reached where they were last"
        )),
        (Some(_), true) => {}
    }
    if node.registration().get().name_taken {
        warnings.push("the name of this node is taken: choose another with --name".to_owned());
    }
    if disk.full {
        warnings.push("the disk is full: new tasks are refused, results still taken".to_owned());
    }
    for away in node.data().turned_away() {
        let TurnedAway { id, peer, bytes, reason } = away;
        let known = node.peer_identity(peer);
        let name = known.name.map(|name| name.to_string());
        let peer = name.or_else(|| known.address.map(|address| address.to_string()));
        let peer = peer.unwrap_or_else(|| known.public_key.short().to_string());
        warnings.push(format!("transfer {id} of {peer} ({bytes} bytes) is not let in: {reason}"));
    }
    warnings
}
