//! UDP, beacons, NAT, and the endpoint that the operator gave.

use std::net::SocketAddr;

use pilot_local_api::doctor::{Cause, Finding};
use pilot_local_api::network::{NatKind, Transport};
use pilot_overlay::RegistryWay;
use pilot_proto::beacon::BindRefusal;
use pilot_transport::{BeaconReport, Place};

use super::{Facts, note, ok, problem, warning};
use crate::services::network::{beacon_transport, nat};

/// What a person can do where NATs let nobody in: forward a port of the router.
const FORWARD: &str = "pilot-daemon -endpoint PUBLIC-IP:PORT  # once the router forwards that UDP port to this machine";

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = udp(facts).into_iter().collect();
    findings.extend(beacons(facts));
    findings.extend(kind_of_nat(facts));
    findings.extend(endpoint(facts));
    findings.push(peers(facts));
    findings
}

/// Whether anything passes over TCP.
fn passes_tcp(facts: &Facts) -> bool {
    let way = facts.rendezvous.as_ref().filter(|(_, line)| line.connected);
    let line = way.and_then(|(_, line)| line.way);
    matches!(line, Some(RegistryWay::Tcp | RegistryWay::TcpByProxy))
        || facts.net.beacons.iter().any(|beacon| {
            matches!(beacon_transport(beacon), Some(Transport::Tcp | Transport::TcpProxy))
        })
}

/// Silence alone says nothing of UDP: the others may be down.
fn udp(facts: &Facts) -> Option<Finding> {
    match facts.udp? {
        true => Some(ok(Cause::Udp, "UDP passes")),
        false if passes_tcp(facts) => Some(
            warning(
                Cause::UdpBlocked,
                "UDP does not pass this network: everything goes over TCP and a relay",
            )
            .safe("all peers are reached; it is slower")
            .mend("pilotctl netcheck  # then have UDP to ports 9000 and 9001 let through"),
        ),
        false => None,
    }
}

fn beacons(facts: &Facts) -> Vec<Finding> {
    let beacons = &facts.net.beacons;
    let is_bound = beacons.iter().any(|beacon| beacon.place.is_some());
    if beacons.is_empty() {
        // Without a line to the rendezvous nobody could tell of any.
        let told = facts.net.has_ticket || facts.rendezvous.is_none();
        let what = "no beacon is known: there is no relay, and nobody helps through NATs";
        let safe = "peers that can be reached directly are";
        let mend = "pilot-daemon -beacon-addr HOST:9001";
        return told
            .then(|| note(Cause::NoBeacon, what).safe(safe).mend(mend))
            .into_iter()
            .collect();
    }
    beacons.iter().map(|beacon| one_beacon(beacon, is_bound)).collect()
}

fn one_beacon(beacon: &BeaconReport, another_is_bound: bool) -> Finding {
    let target = &beacon.target;
    if let Some(transport) = beacon_transport(beacon) {
        let rtt = beacon.rtt.unwrap_or_default();
        let what = format!(
            "bound at beacon {target} over {}, {:.1} ms away",
            transport.word(),
            rtt.as_secs_f64() * 1e3
        );
        return ok(Cause::Beacon, what);
    }
    let (code, what, mend) = match beacon.refusal {
        Some(refusal) => (
            Cause::TicketRefused,
            format!("beacon {target} does not take this node: {refusal}"),
            match refusal {
                BindRefusal::NoTicket | BindRefusal::BadTicket => format!(
                    "pilot-rendezvous --ticket-key KEY  # at {target}, with the key of this node's \
                     rendezvous"
                ),
                BindRefusal::Expired | BindRefusal::Stale => {
                    format!("timedatectl  # here and at {target}: one of the clocks may be wrong")
                }
                BindRefusal::Full => {
                    format!("pilot-rendezvous --max-beacon-clients N  # at {target}")
                }
            },
        ),
        None => (
            Cause::BeaconSilent,
            match &beacon.problem {
                Some(problem) => format!("beacon {target} does not answer: {problem}"),
                None => format!("beacon {target} does not answer over UDP; TCP is being tried"),
            },
            format!("systemctl status pilot-rendezvous  # on {}", target.host()),
        ),
    };
    let finding = match another_is_bound {
        true => warning(code, what).safe("another beacon does its work"),
        false => problem(code, what).safe("peers that can be reached directly are"),
    };
    finding.mend(mend)
}

fn kind_of_nat(facts: &Facts) -> Option<Finding> {
    let (mapping, filtering, kind) = nat(&facts.net);
    match kind {
        // Of these the findings about UDP and beacons say what there is to say.
        NatKind::Unknown | NatKind::UdpBlocked => None,
        NatKind::None => Some(ok(Cause::Nat, "there is no NAT before this node")),
        NatKind::Cone | NatKind::Restricted | NatKind::PortRestricted => {
            let what = format!("the NAT is {}: others can be met directly", kind.word());
            Some(ok(Cause::Nat, what))
        }
        NatKind::Symmetric => {
            let what = format!(
                "the NAT is symmetric (mapping {}, filtering {}): some peers are met directly, the \
                 others through the relay",
                mapping.word(),
                filtering.word()
            );
            Some(note(Cause::SymmetricNat, what).safe("every peer is reached").mend(FORWARD))
        }
    }
}

/// Only addresses of the same family can contradict, and an address of an own
/// interface needs nobody's word.
fn endpoint(facts: &Facts) -> Option<Finding> {
    let given = facts.endpoint?;
    if facts.interfaces.contains(&given.ip()) {
        return None;
    }
    let over_udp = |beacon: &&BeaconReport| matches!(beacon.place, Some(Place::Udp(_)));
    let observed = facts.net.beacons.iter().filter(over_udp).filter_map(|beacon| beacon.observed);
    let seen: Vec<SocketAddr> = observed
        .chain(facts.net.finding.mapped.iter().copied())
        .filter(|seen| seen.is_ipv4() == given.is_ipv4())
        .collect();
    let first = seen.first()?;
    if seen.iter().any(|seen| seen.ip() == given.ip()) {
        return None;
    }
    let what = format!(
        "peers are told that this node is at {given}, and beacons see it come from {}",
        first.ip()
    );
    Some(
        warning(Cause::EndpointContradicted, what)
            .safe("peers that do not reach it there meet it through the relay")
            .mend(format!(
                "pilot-daemon -endpoint {}  # or without -endpoint, to find it out",
                SocketAddr::new(first.ip(), given.port())
            )),
    )
}

fn peers(facts: &Facts) -> Finding {
    let paths = facts.paths;
    let what = format!(
        "trusted peers: {} direct, {} relayed, {} without a path now",
        paths.direct, paths.relayed, paths.offline
    );
    ok(Cause::Peers, what)
}
