//! `netcheck`, and what other views show of the network.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use pilot_local_api::network::{BeaconView, NetcheckQuery, NetcheckView, PortMapping};
use pilot_portmap::{Mapping, Protocol};
use pilot_proto::beacon::Services;
use pilot_transport::{BeaconReport, Place};

use super::extract::Params;
use super::failure::Failure;
use crate::node::Node;
use crate::services::network::{beacon_transport, nat};

/// The longest a netcheck may wait.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What was found out about the network of this node.
#[utoipa::path(get, path = "/v1/netcheck", tag = "node",
    params(("wait_ms" = Option<u64>, Query)), responses((status = 200, body = NetcheckView)))]
pub(crate) async fn netcheck(
    State(node): State<Arc<Node>>,
    Params(query): Params<NetcheckQuery>,
) -> Result<Json<NetcheckView>, Failure> {
    let patience = Duration::from_millis(query.wait_ms.unwrap_or_default()).min(MAX_WAIT);
    let done = match patience.is_zero() {
        true => node.network().is_settled(),
        false => node.network().settled(patience).await,
    };
    Ok(Json(view(&node, done)))
}

fn view(node: &Node, done: bool) -> NetcheckView {
    let report = node.network().report();
    let (mapping, filtering, kind) = nat(&report);
    let is_local = node.overlay().local_addr().ip().is_loopback();
    let mut usable =
        report.candidates.iter().filter(|candidate| is_local || !candidate.ip().is_loopback());
    let ipv4 = usable.clone().any(|candidate| candidate.is_ipv4());
    let ipv6 = usable.any(|candidate| candidate.is_ipv6());
    // Where a beacon sees this node is known before STUN has said the same.
    let over_udp = |beacon: &&BeaconReport| matches!(beacon.place, Some(Place::Udp(_)));
    let observed = report.beacons.iter().filter(over_udp).filter_map(|beacon| beacon.observed);
    let mut mapped = report.finding.mapped.clone();
    for address in observed.chain(report.port_mapped.iter().copied()) {
        if !mapped.contains(&address) {
            mapped.push(address);
        }
    }
    NetcheckView {
        done,
        udp: node.network().passes_udp(&report) == Some(true),
        ipv4,
        ipv6,
        mapping,
        filtering,
        nat: kind,
        hairpin: report.finding.hairpin,
        port_mapping: port_mapping(&node.port_mappings()),
        mapped: mapped.iter().map(ToString::to_string).collect(),
        lifetime_ms: report.lifetime.map(millis),
        keepalive_ms: millis(report.keepalive),
        beacons: report.beacons.iter().map(beacon_view).collect(),
        candidates: report.candidates.iter().map(ToString::to_string).collect(),
    }
}

fn port_mapping(mappings: &[Mapping]) -> PortMapping {
    let of = |protocol| {
        let mapping = mappings.iter().find(|mapping| mapping.protocol == protocol);
        mapping.map(|mapping| mapping.external.to_string())
    };
    PortMapping { upnp: of(Protocol::Upnp), nat_pmp: of(Protocol::NatPmp), pcp: of(Protocol::Pcp) }
}

/// One beacon, as people see it.
pub(super) fn beacon_view(beacon: &BeaconReport) -> BeaconView {
    let endpoint = match beacon.place {
        Some(Place::Udp(at)) => Some(at.to_string()),
        Some(Place::Carrier(_)) | None => None,
    };
    let services =
        [(Services::STUN, "stun"), (Services::PUNCH, "punch"), (Services::RELAY, "relay")];
    let offered = services.into_iter().filter(|(service, _)| beacon.services.contains(*service));
    BeaconView {
        address: beacon.target.to_string(),
        key: beacon.key,
        transport: beacon_transport(beacon),
        rtt_us: beacon.rtt.map(micros),
        endpoint,
        observed: beacon.observed.map(|observed| observed.to_string()),
        services: offered.map(|(_, word)| word.to_owned()).collect(),
        problem: beacon.problem.clone(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A round trip in microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
