//! What stands between this node and others, put together from its sockets,
//! its sessions and the line to the rendezvous.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_identity::{NodeId, Timestamp};
use pilot_local_api::network::{NatBehaviour, NatKind, Transport};
use pilot_local_api::peers::{PathKind, path_reason};
use pilot_overlay::{Overlay, RegistryClient, RegistryWay};
use pilot_proto::probe::Behaviour;
use pilot_transport::{BeaconReport, NetReport, PathReport, Place, Progress, WayReport};
use tokio::time::timeout;

use crate::clock;

/// The network as it is at this moment.
#[derive(Clone)]
pub(crate) struct Network {
    overlay: Overlay,
}

/// How a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerPath {
    pub(crate) kind: PathKind,
    /// Where packets for it go.
    pub(crate) endpoint: Option<String>,
    /// How a relayed one is carried to the beacon.
    pub(crate) transport: Option<Transport>,
    /// Why it is so, in a word.
    pub(crate) reason: &'static str,
    pub(crate) since: Option<Timestamp>,
    pub(crate) rtt: Option<Duration>,
}

/// Trusted peers by how they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PathCounts {
    pub(crate) direct: u64,
    pub(crate) relayed: u64,
    pub(crate) offline: u64,
}

impl Network {
    pub(crate) const fn new(overlay: Overlay) -> Self {
        Self { overlay }
    }

    /// What was found out about it.
    pub(crate) fn report(&self) -> NetReport {
        self.overlay.reach().report()
    }

    /// Where peers are told that this node may be.
    pub(crate) fn candidates(&self) -> Vec<SocketAddr> {
        self.overlay.reach().candidates().borrow().clone()
    }

    /// Waits until all that can be found out for now has been, at most `patience`;
    /// true if it has.
    ///
    /// Cancel safe.
    pub(crate) async fn settled(&self, patience: Duration) -> bool {
        let mut progress = self.overlay.reach().progress();
        let settled = async {
            loop {
                let now = *progress.borrow_and_update();
                if is_settled(now, self.awaits_registry(now)) {
                    return true;
                }
                let registry = self.overlay.registry().filter(|line| !line.status().connected);
                let changed = match registry {
                    Some(registry) => tokio::select! {
                        changed = progress.changed() => changed,
                        _ = registry.up(patience) => Ok(()),
                    },
                    None => progress.changed().await,
                };
                if changed.is_err() {
                    return false;
                }
            }
        };
        timeout(patience, settled).await.unwrap_or(false)
    }

    /// Whether all that can be found out for now has been.
    pub(crate) fn is_settled(&self) -> bool {
        let now = *self.overlay.reach().progress().borrow();
        is_settled(now, self.awaits_registry(now))
    }

    /// Whether the rendezvous is still to tell which beacons there are.
    fn awaits_registry(&self, progress: Progress) -> bool {
        let status = self.overlay.registry().map(RegistryClient::status);
        !progress.has_ticket
            && status.is_some_and(|status| status.connected || status.trouble.is_none())
    }

    /// Whether UDP passes; none as long as nobody has answered.
    pub(crate) fn passes_udp(&self, report: &NetReport) -> Option<bool> {
        let line = self.overlay.registry().map(RegistryClient::status);
        let line = line.filter(|line| line.connected).and_then(|line| line.way);
        passes_udp(report, line)
    }

    /// How `peer` is reached at this moment.
    pub(crate) fn path(&self, peer: &NodeId) -> PeerPath {
        let reach = self.overlay.reach();
        let Some(report) = reach.path(peer) else {
            return PeerPath::offline(path_reason::NOT_TRUSTED);
        };
        let Some(session) = self.overlay.current(peer) else {
            let idle = report.way.is_some();
            return PeerPath::offline(if idle { path_reason::NO_TUNNEL } else { report.reason });
        };
        let connection = session.connection();
        if !connection.follows_paths() {
            return PeerPath {
                kind: PathKind::Direct,
                endpoint: Some(connection.remote_addr().to_string()),
                transport: None,
                reason: path_reason::ACCEPTED,
                since: None,
                rtt: Some(connection.rtt()),
            };
        }
        let beacons = || reach.report().beacons;
        let path = PeerPath::of(&report, beacons);
        match path.kind {
            PathKind::Direct | PathKind::Relayed => {
                let rtt = path.rtt.unwrap_or_else(|| connection.rtt());
                PeerPath { rtt: Some(rtt), ..path }
            }
            PathKind::Offline => path,
        }
    }

    /// How many of `peers` are reached in which way.
    pub(crate) fn count<'a>(&self, peers: impl IntoIterator<Item = &'a NodeId>) -> PathCounts {
        let mut counts = PathCounts::default();
        for peer in peers {
            match self.path(peer).kind {
                PathKind::Direct => counts.direct += 1,
                PathKind::Relayed => counts.relayed += 1,
                PathKind::Offline => counts.offline += 1,
            }
        }
        counts
    }
}

impl PeerPath {
    const fn offline(reason: &'static str) -> Self {
        Self {
            kind: PathKind::Offline,
            endpoint: None,
            transport: None,
            reason,
            since: None,
            rtt: None,
        }
    }

    /// The path of a tunnel; `beacons` tells which one is behind a carrier.
    fn of(report: &PathReport, beacons: impl FnOnce() -> Vec<BeaconReport>) -> Self {
        let (kind, endpoint, transport) = match report.way {
            None => return Self::offline(report.reason),
            Some(WayReport::Direct(at)) => (PathKind::Direct, Some(at.to_string()), None),
            Some(WayReport::Relayed(Place::Udp(at))) => {
                (PathKind::Relayed, Some(at.to_string()), Some(Transport::Udp))
            }
            Some(WayReport::Relayed(place @ Place::Carrier(_))) => {
                let beacon = beacons().into_iter().find(|beacon| beacon.place == Some(place));
                let transport = beacon.as_ref().and_then(beacon_transport);
                let endpoint = beacon.map(|beacon| beacon.target.to_string());
                (PathKind::Relayed, endpoint, transport.or(Some(Transport::Tcp)))
            }
        };
        let since = report.since.map(clock::moment);
        Self { kind, endpoint, transport, reason: report.reason, since, rtt: report.rtt }
    }
}

/// How a beacon is spoken with; none if it is not.
pub(crate) fn beacon_transport(beacon: &BeaconReport) -> Option<Transport> {
    match (beacon.place?, beacon.by_proxy) {
        (Place::Udp(_), _) => Some(Transport::Udp),
        (Place::Carrier(_), false) => Some(Transport::Tcp),
        (Place::Carrier(_), true) => Some(Transport::TcpProxy),
    }
}

/// How the line to the rendezvous goes.
pub(crate) const fn line_transport(way: RegistryWay) -> Transport {
    match way {
        RegistryWay::Udp => Transport::Udp,
        RegistryWay::Tcp => Transport::Tcp,
        RegistryWay::TcpByProxy => Transport::TcpProxy,
    }
}

/// Mapping and filtering, and both in one word.
pub(crate) const fn nat(report: &NetReport) -> (NatBehaviour, NatBehaviour, NatKind) {
    let mapping = behaviour(report.finding.nat.mapping);
    let filtering = behaviour(report.finding.nat.filtering);
    (mapping, filtering, NatKind::of(mapping, filtering))
}

const fn behaviour(of: Behaviour) -> NatBehaviour {
    match of {
        Behaviour::Unknown => NatBehaviour::Unknown,
        Behaviour::None => NatBehaviour::None,
        Behaviour::EndpointIndependent => NatBehaviour::EndpointIndependent,
        Behaviour::AddressDependent => NatBehaviour::AddressDependent,
        Behaviour::AddressAndPortDependent => NatBehaviour::AddressAndPortDependent,
        Behaviour::Blocked => NatBehaviour::Blocked,
    }
}

/// Without beacons there is nothing more to find out; with some, one of them
/// must have answered, over whatever, or all must have failed.
const fn is_settled(progress: Progress, awaits_registry: bool) -> bool {
    if progress.beacons == 0 {
        return !awaits_registry;
    }
    progress.is_done && (progress.bound > 0 || progress.failed == progress.beacons)
}

fn passes_udp(report: &NetReport, line: Option<RegistryWay>) -> Option<bool> {
    if report.finding.nat.mapping == Behaviour::Blocked {
        return Some(false);
    }
    let answers = |beacon: &BeaconReport| beacon_transport(beacon) == Some(Transport::Udp);
    if !report.finding.mapped.is_empty() || report.beacons.iter().any(answers) {
        return Some(true);
    }
    line.map(|way| way == RegistryWay::Udp)
}

#[cfg(test)]
mod tests {
    use pilot_transport::{CarrierId, HostPort};

    use super::*;

    fn progress(is_done: bool, beacons: usize, bound: usize, failed: usize) -> Progress {
        Progress { is_done, has_ticket: true, beacons, bound, failed }
    }

    #[test]
    fn what_is_still_to_come_is_waited_for_and_nothing_else() {
        let table = [
            (progress(true, 0, 0, 0), true, false, "which beacons there are"),
            (progress(true, 0, 0, 0), false, true, "there are none"),
            (progress(true, 2, 0, 0), false, false, "nobody has answered"),
            (progress(false, 2, 1, 0), false, false, "STUN is asked"),
            (progress(true, 2, 1, 0), false, true, "the other one may be away"),
            (progress(true, 2, 0, 1), false, false, "the other one may answer"),
            (progress(true, 2, 0, 2), false, true, "both are known to be away"),
        ];

        for (progress, awaits, settled, why) in table {
            assert_eq!(is_settled(progress, awaits), settled, "{why}");
        }
    }

    fn path(way: WayReport) -> PeerPath {
        let (since, rtt) = (std::time::Instant::now().checked_sub(Duration::from_secs(5)), None);
        let report = PathReport { way: Some(way), reason: "relay_first", since, rtt };
        let target: HostPort = "beacon.example:9001".parse().unwrap();
        let beacon = |place, by_proxy| BeaconReport {
            target: target.clone(),
            key: None,
            place: Some(place),
            by_proxy,
            rtt: None,
            observed: None,
            services: pilot_proto::beacon::Services::ALL,
            refusal: None,
            problem: None,
        };
        let places = [(Place::Carrier(CarrierId(1)), false), (Place::Carrier(CarrierId(2)), true)];
        PeerPath::of(&report, || places.map(|(place, proxy)| beacon(place, proxy)).to_vec())
    }

    #[test]
    fn each_way_is_shown_with_where_the_packets_go() {
        let at: SocketAddr = "192.0.2.1:7".parse().unwrap();
        let carrier = |id| WayReport::Relayed(Place::Carrier(CarrierId(id)));
        let table = [
            (WayReport::Direct(at), PathKind::Direct, "192.0.2.1:7", None),
            (
                WayReport::Relayed(Place::Udp(at)),
                PathKind::Relayed,
                "192.0.2.1:7",
                Some(Transport::Udp),
            ),
            (carrier(1), PathKind::Relayed, "beacon.example:9001", Some(Transport::Tcp)),
            (carrier(2), PathKind::Relayed, "beacon.example:9001", Some(Transport::TcpProxy)),
        ];

        for (way, kind, endpoint, transport) in table {
            let path = path(way);

            assert_eq!((path.kind, path.transport), (kind, transport), "{way:?}");
            assert_eq!(path.endpoint.as_deref(), Some(endpoint));
            let since = clock::now().since(path.since.unwrap());
            assert!((5..60).contains(&since.as_secs()), "{since:?}");
        }
    }
}
