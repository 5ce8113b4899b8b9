//! `metrics`: what `status`, `peers` and `netcheck` show, as numbers over time.
//!
//! | family | labels | what |
//! |---|---|---|
//! | `pilot_build_info` | `version` | 1 |
//! | `pilot_uptime_seconds` | | since the daemon started |
//! | `pilot_rendezvous_connected` | `transport` | 1 for how the rendezvous is reached, 0 for the others |
//! | `pilot_udp_passes` | | 1 or 0; absent while nobody has answered |
//! | `pilot_nat_info` | `nat`, `mapping`, `filtering` | 1 |
//! | `pilot_nat_lifetime_seconds` | | for how long the NAT remembers; absent until it is measured |
//! | `pilot_keepalive_seconds` | | pause between two signs of life |
//! | `pilot_extra_sockets` | | sockets open beside the main one |
//! | `pilot_beacons_known` | | beacons told or configured |
//! | `pilot_beacons_bound` | `transport` | those at which this node is bound |
//! | `pilot_beacon_rtt_seconds` | `beacon` | round trip to each that is |
//! | `pilot_peers` | `path` | trusted peers that are direct, relayed, offline |
//! | `pilot_trust_requests` | `side` | requests that wait for the peer (`ours`) or for this node (`theirs`) |
//! | `pilot_path_changes_total` | `reason` | changes of the path to a peer |
//! | `pilot_probes_total` | `direction`, `kind` | pings, pongs and calls |
//! | `pilot_probes_forged_total` | | probes that nobody of their pair sealed |
//! | `pilot_peer_datagrams_total` | `direction`, `path` | QUIC of trusted peers |
//! | `pilot_socket_sent_datagrams_total` | | of all kinds |
//! | `pilot_socket_received_datagrams_total` | `kind` | `quic`, `aside` (STUN and probes), `garbage` (dropped) |
//! | `pilot_socket_dropped_datagrams_total` | | too many waited |
//! | `pilot_tasks` | `queue` | as the queues of `status` |
//! | `pilot_leases_bound` | | tasks of this node's workers whose lease ends with a process |
//! | `pilot_events_published_total`, `pilot_events_heard_total` | | events of this node, and those that came from peers |
//! | `pilot_events_delivered_total`, `pilot_events_lost_total` | | events given to subscribers here, each counted, and those that these were too slow for |
//! | `pilot_event_subscribers` | | on this node |
//! | `pilot_messages` | `queue` | messages of this node that are not delivered (`queued`), and to it that are `unread` and `unacked` |
//! | `pilot_receipts_owed` | | receipts of tasks that are still to be put to the rendezvous |
//! | `pilot_receipts_put_total` | `outcome` | receipts that it answered: `counted`, `known`, `refused`, `held` (put again later) |
//! | `pilot_store_bytes`, `pilot_disk_free_bytes` | | the database, and what is left beside it |

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use pilot_local_api::network::Transport;
use pilot_overlay::RegistryClient;
use pilot_transport::{ByWay, NetReport, ProbeCounters};

use super::exposition::{self, Exposition, Type};
use super::status;
use crate::node::Node;
use crate::services::network::{Network, beacon_transport, line_transport, nat};

/// Counters and gauges in the text format of Prometheus.
#[utoipa::path(get, path = "/v1/metrics", tag = "node",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let mut out = Exposition::default();
    daemon(&mut out, &node);
    network(&mut out, &node.network().report(), node.network());
    peers(&mut out, &node);
    counters(&mut out, &node);
    events(&mut out, &node);
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], out.into_text())
}

fn daemon(out: &mut Exposition, node: &Node) {
    out.family("pilot_build_info", Type::Gauge, "The version that runs.");
    out.sample("pilot_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let uptime = node.uptime().as_secs();
    out.single("pilot_uptime_seconds", Type::Gauge, "Time since the daemon started.", uptime);

    let line = node.overlay().registry().map(RegistryClient::status).unwrap_or_default();
    let way = line.way.filter(|_| line.connected).map(line_transport);
    let name = "pilot_rendezvous_connected";
    out.family(name, Type::Gauge, "Whether this node is registered, by how it is.");
    for transport in Transport::ALL {
        out.sample(name, &[("transport", transport.word())], u8::from(way == Some(transport)));
    }

    let queues = status::queues(node);
    out.family("pilot_tasks", Type::Gauge, "Tasks, by where they wait.");
    for (queue, count) in [
        ("submitted_live", queues.submitted_live),
        ("submitted_undelivered", queues.submitted_undelivered),
        ("received_waiting", queues.received_waiting),
        ("received_leased", queues.received_leased),
        ("results_pending", queues.results_pending),
    ] {
        out.sample("pilot_tasks", &[("queue", queue)], count);
    }
    let help = "Leases that end with a process.";
    let bound = node.tasks().counts().leases_bound;
    out.single("pilot_leases_bound", Type::Gauge, help, bound);
    out.family("pilot_messages", Type::Gauge, "Messages, by where they wait.");
    for (queue, count) in [
        ("queued", queues.messages_queued),
        ("unread", queues.messages_unread),
        ("unacked", queues.messages_unacked),
    ] {
        out.sample("pilot_messages", &[("queue", queue)], count);
    }
    receipts(out, node);
    let disk = status::disk(node);
    out.single("pilot_store_bytes", Type::Gauge, "Bytes of the database.", disk.store_bytes);
    out.single(
        "pilot_disk_free_bytes",
        Type::Gauge,
        "Bytes left on its file system.",
        disk.free_bytes,
    );
}

fn receipts(out: &mut Exposition, node: &Node) {
    if let Some(owed) = node.receipts().owed() {
        let help = "Receipts that are still to be put to the rendezvous.";
        out.single("pilot_receipts_owed", Type::Gauge, help, owed);
    }
    let name = "pilot_receipts_put_total";
    out.family(name, Type::Counter, "Receipts that the rendezvous answered, by how.");
    for (outcome, count) in node.receipts().answered() {
        out.sample(name, &[("outcome", outcome)], count);
    }
}

fn network(out: &mut Exposition, report: &NetReport, network: &Network) {
    if let Some(passes) = network.passes_udp(report) {
        out.single("pilot_udp_passes", Type::Gauge, "Whether UDP passes.", u8::from(passes));
    }
    let (mapping, filtering, kind) = nat(report);
    let labels =
        [("nat", kind.word()), ("mapping", mapping.word()), ("filtering", filtering.word())];
    out.family("pilot_nat_info", Type::Gauge, "What kind of NAT this node is behind.");
    out.sample("pilot_nat_info", &labels, 1);
    if let Some(lifetime) = report.lifetime {
        let help = "How long the NAT remembers a mapping at least.";
        out.single("pilot_nat_lifetime_seconds", Type::Gauge, help, lifetime.as_secs_f64());
    }
    let help = "Pause between two signs of life.";
    out.single("pilot_keepalive_seconds", Type::Gauge, help, report.keepalive.as_secs_f64());
    let help = "Sockets open beside the main one.";
    out.single("pilot_extra_sockets", Type::Gauge, help, report.extra_sockets);

    let beacons = &report.beacons;
    out.single("pilot_beacons_known", Type::Gauge, "Beacons told or configured.", beacons.len());
    let name = "pilot_beacons_bound";
    out.family(name, Type::Gauge, "Beacons at which this node is bound, by how.");
    for transport in Transport::ALL {
        let bound = beacons.iter().filter(|beacon| beacon_transport(beacon) == Some(transport));
        out.sample(name, &[("transport", transport.word())], bound.count());
    }
    let name = "pilot_beacon_rtt_seconds";
    out.family(name, Type::Gauge, "Round trip to each beacon.");
    for beacon in beacons {
        if let Some(rtt) = beacon.rtt {
            out.sample(name, &[("beacon", &beacon.target.to_string())], rtt.as_secs_f64());
        }
    }
}

fn peers(out: &mut Exposition, node: &Node) {
    let peers = status::peers(node);
    out.family("pilot_peers", Type::Gauge, "Trusted peers, by the path to them.");
    for (path, count) in
        [("direct", peers.direct), ("relayed", peers.relayed), ("offline", peers.offline)]
    {
        out.sample("pilot_peers", &[("path", path)], count);
    }
    let name = "pilot_trust_requests";
    out.family(name, Type::Gauge, "Requests for trust without an answer, by who asks.");
    for (side, count) in [("ours", peers.requested), ("theirs", peers.pending)] {
        out.sample(name, &[("side", side)], count);
    }
}

fn events(out: &mut Exposition, node: &Node) {
    let counts = node.events().counters().counts();
    for (name, help, count) in [
        ("pilot_events_published_total", "Events published on this node.", counts.published),
        ("pilot_events_heard_total", "Events that came from peers.", counts.heard),
        ("pilot_events_delivered_total", "Events given to subscribers here.", counts.delivered),
        ("pilot_events_lost_total", "Events that subscribers here were too slow for.", counts.lost),
    ] {
        out.single(name, Type::Counter, help, count);
    }
    let help = "Subscribers on this node.";
    out.single("pilot_event_subscribers", Type::Gauge, help, node.events().listeners());
}

fn counters(out: &mut Exposition, node: &Node) {
    let (paths, socket) = node.overlay().reach().counters();
    let name = "pilot_path_changes_total";
    out.family(name, Type::Counter, "Changes of the path to a peer, by reason.");
    for (reason, count) in &paths.changes {
        out.sample(name, &[("reason", reason)], count);
    }
    let name = "pilot_probes_total";
    out.family(name, Type::Counter, "Sealed probes between nodes.");
    for (direction, ProbeCounters { pings, pongs, calls }) in
        [("sent", paths.sent), ("received", paths.heard)]
    {
        for (kind, count) in [("ping", pings), ("pong", pongs), ("call", calls)] {
            out.sample(name, &[("direction", direction), ("kind", kind)], count);
        }
    }
    let name = "pilot_probes_forged_total";
    out.single(name, Type::Counter, "Probes that nobody of their pair sealed.", paths.forged);

    let name = "pilot_peer_datagrams_total";
    out.family(name, Type::Counter, "QUIC datagrams of trusted peers, by path.");
    for (direction, ByWay { direct, relayed }) in
        [("sent", socket.to_peers), ("received", socket.from_peers)]
    {
        for (path, count) in [("direct", direct), ("relayed", relayed)] {
            out.sample(name, &[("direction", direction), ("path", path)], count);
        }
    }
    let name = "pilot_socket_sent_datagrams_total";
    out.single(name, Type::Counter, "Datagrams sent, of all kinds.", socket.sent);
    let name = "pilot_socket_received_datagrams_total";
    out.family(name, Type::Counter, "Datagrams received; garbage was dropped.");
    for (kind, count) in
        [("quic", socket.quic), ("aside", socket.aside), ("garbage", socket.garbage)]
    {
        out.sample(name, &[("kind", kind)], count);
    }
    let name = "pilot_socket_dropped_datagrams_total";
    out.single(name, Type::Counter, "Datagrams dropped: too many waited.", socket.dropped);
}
