//! One healthy node, and everything that can be wrong with it, one by one.

use std::collections::BTreeSet;

use pilot_overlay::{RegistryTrouble, RegistryWay};
use pilot_proto::beacon::{BindRefusal, Services};
use pilot_proto::probe::{Behaviour, Nat};
use pilot_proto::registry::Registered;
use pilot_transport::{BeaconReport, CarrierId, Finding as Found, Place};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn beacon() -> BeaconReport {
    BeaconReport {
        target: "pilot.example:9001".parse().unwrap(),
        key: None,
        place: Some(Place::Udp("192.0.2.9:9001".parse().unwrap())),
        by_proxy: false,
        rtt: Some(Duration::from_millis(12)),
        observed: Some("198.51.100.1:4000".parse().unwrap()),
        services: Services::ALL,
        refusal: None,
        problem: None,
    }
}

fn line() -> RegistryStatus {
    RegistryStatus {
        registered: Some(Registered {
            address: "1:0001.0000.0001".parse().unwrap(),
            observed: "198.51.100.1:4000".parse().unwrap(),
            name: None,
            name_taken: false,
            minor: 0,
            now: NOW,
        }),
        since: Some(NOW),
        connected: true,
        way: Some(RegistryWay::Udp),
        ..RegistryStatus::default()
    }
}

fn healthy() -> Facts {
    let nat = Nat {
        mapping: Behaviour::EndpointIndependent,
        filtering: Behaviour::AddressAndPortDependent,
    };
    Facts {
        version: "1.0.0".to_owned(),
        client: Some("1.0.0".to_owned()),
        pid: 7,
        uptime: Duration::from_secs(60),
        home: "/home/pilot".into(),
        home_mode: Some(0o700),
        free_bytes: 10 << 30,
        disk_full: false,
        rendezvous: Some(("pilot.example:9000".to_owned(), line())),
        wanted_name: None,
        name_taken: false,
        own: "1:0001.0000.0001".to_owned(),
        endpoint: None,
        interfaces: vec!["192.168.1.2".parse().unwrap()],
        net: NetReport {
            finding: Found {
                nat,
                mapped: vec!["198.51.100.1:4000".parse().unwrap()],
                hairpin: Some(false),
            },
            is_done: true,
            lifetime: None,
            keepalive: Duration::from_secs(15),
            candidates: Vec::new(),
            port_mapped: Vec::new(),
            beacons: vec![beacon()],
            has_ticket: true,
            extra_sockets: 0,
        },
        udp: Some(true),
        paths: PathCounts::default(),
        asking: Vec::new(),
        now: NOW,
    }
}

/// The findings that are not ok.
fn wrong(facts: &Facts, peer: Option<&PeerFacts>) -> Vec<(Cause, Severity)> {
    let all = findings(facts, peer);
    for finding in &all {
        let is_bad = finding.severity >= Severity::Warning;
        assert!(!is_bad || finding.mend.is_some(), "nothing mends {finding:?}");
        assert!(!is_bad || finding.safe.is_some(), "what is safe with {finding:?}?");
        let is_problem = finding.severity == Severity::Problem;
        assert!(!is_problem || finding.code.error().is_some(), "no exit code for {finding:?}");
        assert!(!finding.what.ends_with('.') && !finding.what.contains("  "), "{finding:?}");
    }
    let wrong = all.into_iter().filter(|finding| finding.severity != Severity::Ok);
    wrong.map(|finding| (finding.code, finding.severity)).collect()
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = healthy();
    change(&mut facts);
    facts
}

fn cut(trouble: Option<RegistryTrouble>) -> Facts {
    with(|facts| {
        let status = RegistryStatus { connected: false, trouble, ..line() };
        facts.rendezvous = Some(("pilot.example:9000".to_owned(), status));
    })
}

fn silent(beacon: BeaconReport) -> BeaconReport {
    BeaconReport { place: None, observed: None, rtt: None, ..beacon }
}

#[test]
fn a_healthy_node_has_nothing_but_what_is_well() {
    let all = findings(&healthy(), None);

    assert!(wrong(&healthy(), None).is_empty());
    let codes: BTreeSet<Cause> = all.iter().map(|finding| finding.code).collect();
    for code in [
        Cause::DaemonRunning,
        Cause::Home,
        Cause::Disk,
        Cause::Rendezvous,
        Cause::Clock,
        Cause::Udp,
        Cause::Beacon,
        Cause::Nat,
        Cause::Peers,
    ] {
        assert!(codes.contains(&code), "{code}");
    }
}

#[test]
fn each_cause_in_the_machine_is_named() {
    use Severity::{Note, Problem, Warning};
    let table = [
        (with(|f| f.client = Some("2.0.0".to_owned())), Cause::DaemonVersion, Warning),
        (with(|f| f.home_mode = Some(0o770)), Cause::HomeTooOpen, Warning),
        (with(|f| f.disk_full = true), Cause::DiskFull, Problem),
        (with(|f| f.free_bytes = 100 << 20), Cause::DiskNearlyFull, Warning),
        (with(|f| f.name_taken = true), Cause::NameTaken, Warning),
        (with(|f| f.asking = vec!["eve".to_owned()]), Cause::TrustRequests, Note),
    ];

    for (facts, code, severity) in table {
        assert_eq!(wrong(&facts, None), [(code, severity)]);
    }
    assert!(wrong(&with(|f| f.home_mode = Some(0o755)), None).is_empty());
}

#[test]
fn each_cause_at_the_rendezvous_is_named() {
    let table = [
        (Some(RegistryTrouble::UnknownHost), Cause::RendezvousUnknownHost),
        (Some(RegistryTrouble::Silent), Cause::RendezvousSilent),
        (Some(RegistryTrouble::WrongKey), Cause::RendezvousWrongKey),
        (Some(RegistryTrouble::Version), Cause::RendezvousVersion),
        (Some(RegistryTrouble::Refused), Cause::RendezvousRefused),
        (Some(RegistryTrouble::Replaced), Cause::KeyUsedTwice),
        (Some(RegistryTrouble::Broken), Cause::RendezvousLost),
        (None, Cause::RendezvousLost),
    ];
    for (trouble, code) in table {
        assert_eq!(wrong(&cut(trouble), None), [(code, Severity::Problem)], "{trouble:?}");
    }

    let none = with(|facts| facts.rendezvous = None);
    assert_eq!(wrong(&none, None), [(Cause::NoRendezvous, Severity::Warning)]);
}

fn on_line(change: impl FnOnce(&mut RegistryStatus)) -> Facts {
    let mut status = line();
    change(&mut status);
    with(|facts| facts.rendezvous = Some(("pilot.example:9000".to_owned(), status)))
}

#[test]
fn a_key_that_is_used_twice_is_told_also_while_the_line_is_up_for_a_minute() {
    let ago = |secs: u64| Some(Timestamp::from_millis(NOW.as_millis() - secs * 1000));

    let twice = wrong(&on_line(|line| line.replaced = ago(20)), None);
    let long_ago = wrong(&on_line(|line| line.replaced = ago(61)), None);

    assert_eq!(twice, [(Cause::KeyUsedTwice, Severity::Problem)]);
    assert_eq!(long_ago, []);
}

#[test]
fn a_wrong_clock_is_told_with_how_much_it_is_off() {
    let at = |millis: u64| on_line(|line| line.since = Some(Timestamp::from_millis(millis)));
    let now = NOW.as_millis();

    assert!(wrong(&at(now + 30_000), None).is_empty() && wrong(&at(now - 30_000), None).is_empty());
    for (millis, words) in [(now + 90_000, "90 s ahead of"), (now - 3_600_000, "3600 s behind")] {
        let facts = at(millis);
        assert_eq!(wrong(&facts, None), [(Cause::ClockWrong, Severity::Warning)]);
        let what = findings(&facts, None).into_iter().find(|f| f.code == Cause::ClockWrong);
        assert!(what.as_ref().is_some_and(|found| found.what.contains(words)), "{what:?}");
    }
}

#[test]
fn udp_is_said_to_be_blocked_only_where_tcp_passes() {
    let over_tcp = |facts: &mut Facts| {
        facts.udp = Some(false);
        facts.net.finding.nat = Nat::BLOCKED;
        facts.net.beacons =
            vec![BeaconReport { place: Some(Place::Carrier(CarrierId(1))), ..beacon() }];
    };
    let nothing = |facts: &mut Facts| {
        facts.udp = Some(false);
        facts.net.finding.nat = Nat::BLOCKED;
        facts.net.beacons = vec![silent(beacon())];
    };

    assert_eq!(wrong(&with(over_tcp), None), [(Cause::UdpBlocked, Severity::Warning)]);
    assert_eq!(wrong(&with(nothing), None), [(Cause::BeaconSilent, Severity::Problem)]);
    let line = on_line(|line| line.way = Some(RegistryWay::TcpByProxy));
    assert_eq!(wrong(&line, None), [(Cause::RendezvousByTcp, Severity::Note)]);
}

#[test]
fn a_beacon_that_fails_is_a_problem_only_if_none_is_left() {
    use Severity::{Problem, Warning};
    let refused = BeaconReport { refusal: Some(BindRefusal::NoTicket), ..silent(beacon()) };
    let table = [
        (vec![silent(beacon()), beacon()], Some((Cause::BeaconSilent, Warning))),
        (vec![silent(beacon())], Some((Cause::BeaconSilent, Problem))),
        (vec![refused.clone(), beacon()], Some((Cause::TicketRefused, Warning))),
        (vec![refused], Some((Cause::TicketRefused, Problem))),
        (vec![], Some((Cause::NoBeacon, Severity::Note))),
    ];
    for (beacons, expected) in table {
        let facts = with(|facts| facts.net.beacons = beacons);
        assert_eq!(wrong(&facts, None), Vec::from_iter(expected));
    }

    let mut away = cut(Some(RegistryTrouble::Silent));
    (away.net.beacons, away.net.has_ticket) = (vec![], false);
    assert_eq!(wrong(&away, None), [(Cause::RendezvousSilent, Problem)]);
}

#[test]
fn a_symmetric_nat_is_worth_a_note() {
    let facts = with(|facts| facts.net.finding.nat.mapping = Behaviour::AddressAndPortDependent);

    assert_eq!(wrong(&facts, None), [(Cause::SymmetricNat, Severity::Note)]);
}

#[test]
fn an_endpoint_is_contradicted_by_beacons_of_its_own_family_alone() {
    let given = |endpoint: &str| with(|facts| facts.endpoint = endpoint.parse().ok());

    for right in ["198.51.100.1:4000", "198.51.100.1:9", "192.168.1.2:4000", "[2001:db8::1]:4000"] {
        assert!(wrong(&given(right), None).is_empty(), "{right}");
    }
    let facts = given("203.0.113.9:4000");
    assert_eq!(wrong(&facts, None), [(Cause::EndpointContradicted, Severity::Warning)]);
    let found = findings(&facts, None).into_iter().find(|f| f.code == Cause::EndpointContradicted);
    let mend = found.and_then(|finding| finding.mend).unwrap_or_default();
    assert!(mend.starts_with("pilot-daemon -endpoint 198.51.100.1:4000 "), "{mend}");
}

fn path(kind: pilot_local_api::peers::PathKind) -> Reached {
    Reached::Answered(crate::services::network::PeerPath {
        kind,
        endpoint: Some("192.0.2.9:9001".to_owned()),
        transport: None,
        reason: "relay_first",
        since: None,
        rtt: None,
    })
}

#[test]
fn each_cause_at_a_peer_is_named() {
    use pilot_local_api::peers::PathKind;
    use pilot_trust::TrustState;
    let failed = |trouble, online| Reached::Failed { trouble, online };
    let problem = Severity::Problem;
    let table = [
        (Reached::Untrusted(TrustState::None), Some((Cause::PeerNotTrusted, problem))),
        (Reached::Untrusted(TrustState::Pending), Some((Cause::PeerTrustPending, problem))),
        (Reached::Untrusted(TrustState::Requested), Some((Cause::PeerTrustOneSided, problem))),
        (failed(PeerTrouble::NotTrustedThere, None), Some((Cause::PeerTrustOneSided, problem))),
        (failed(PeerTrouble::Silent, Some(false)), Some((Cause::PeerOffline, problem))),
        (failed(PeerTrouble::Silent, Some(true)), Some((Cause::PeerUnreachable, problem))),
        (failed(PeerTrouble::Silent, None), Some((Cause::PeerUnreachable, problem))),
        (failed(PeerTrouble::OtherKey, None), Some((Cause::PeerOtherKey, problem))),
        (failed(PeerTrouble::Version, None), Some((Cause::PeerVersion, problem))),
        (path(PathKind::Relayed), Some((Cause::PeerRelayed, Severity::Note))),
        (path(PathKind::Direct), None),
    ];
    for (reached, expected) in table {
        let wanted = "backend".parse().unwrap();
        let peer = PeerFacts { wanted, found: Ok(reached.clone()) };
        assert_eq!(wrong(&healthy(), Some(&peer)), Vec::from_iter(expected), "{reached:?}");
    }
}

#[test]
fn a_peer_that_is_not_found_is_a_finding_like_any_other() {
    use crate::services::FindError;
    use pilot_overlay::RegistryError;
    let wanted: pilot_proto::PeerRef = "backnd".parse().unwrap();
    let nearest = vec!["backend".to_owned()];
    let unknown = FindError::Unknown { wanted: wanted.clone(), nearest };
    let source = RegistryError::NotConnected;
    let unresolved = FindError::Registry { wanted: wanted.clone(), source };

    for (error, code) in [(unknown, Cause::PeerUnknown), (unresolved, Cause::PeerUnresolved)] {
        let peer = PeerFacts { wanted: wanted.clone(), found: Err(error) };
        assert_eq!(wrong(&healthy(), Some(&peer)), [(code, Severity::Problem)]);
    }
}
