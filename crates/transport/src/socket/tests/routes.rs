//! Sources, ways and what is held.

use pilot_identity::NodeKey;
use zeroize::Zeroizing;

use super::*;

fn id(seed: u8) -> NodeId {
    NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_peer_is_reached_at_one_address_of_its_own_and_seen_as_coming_from_there() {
    let routes = Routes::default();
    let route = routes.admit(id(1));
    let (home, source) = (synthetic(&id(1)), addr("192.0.2.1:7"));

    routes.learn_source(&id(1), source);

    assert!(is_synthetic(home) && !is_synthetic(source) && home != synthetic(&id(2)));
    assert_eq!(routes.source(LocalId::MAIN, source, 1), home);
    assert_eq!(routes.source(LocalId::MAIN, addr("192.0.2.1:8"), 1), addr("192.0.2.1:8"));
    assert!(matches!(routes.destination(home), Destination::Peer(found) if found.peer == id(1)));
    assert!(matches!(routes.destination(synthetic(&id(2))), Destination::Nobody));
    assert_eq!(route.traffic(), (0, 0), "it came by no way in use");
    route.set_way(Some(Way::Direct { local: LocalId::MAIN, remote: source }));
    routes.source(LocalId::MAIN, source, 3);
    assert_eq!(route.traffic(), (0, 3));
}

#[test]
fn a_dismissed_peer_is_nobody_and_its_sources_are_strangers() {
    let routes = Routes::default();
    let source = addr("192.0.2.1:7");
    routes.admit(id(1));
    routes.learn_source(&id(1), source);

    routes.dismiss(&id(1));

    assert_eq!(routes.source(LocalId::MAIN, source, 1), source);
    assert!(matches!(routes.destination(synthetic(&id(1))), Destination::Nobody));
    routes.learn_source(&id(1), source);
    assert!(!routes.belongs_to_another(&id(2), source), "a stranger's source is not kept");
}

#[test]
fn a_source_has_one_peer_and_a_peer_few_sources() {
    let routes = Routes::default();
    let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
    routes.admit(id(1));
    routes.admit(id(2));
    routes.learn_source(&id(2), source(1));

    for port in 1..=100 {
        routes.learn_source(&id(1), source(port));
    }

    let of_one = |port: &u16| routes.belongs_to_another(&id(2), source(*port));
    assert_eq!((1..=100).filter(of_one).count(), MAX_SOURCES);
    assert!(of_one(&100) && !routes.belongs_to_another(&id(1), source(1)));
}

#[test]
fn relayed_packets_are_taken_from_beacons_only() {
    let routes = Routes::default();
    let (relay, other) = (Place::Udp(addr("192.0.2.9:9001")), Place::Carrier(CarrierId(1)));
    routes.admit(id(1));
    routes.set_relay(relay, true);

    let taken = |place, of: u8| routes.relayed(place, &RelayId::of(&id(of))).is_some();

    assert!(taken(relay, 1) && !taken(relay, 2) && !taken(other, 1));
    routes.set_relay(relay, false);
    assert!(!taken(relay, 1));
}

#[test]
fn the_first_datagram_after_a_rest_is_told() {
    let routes = Routes::default();
    let route = routes.admit(id(1));

    assert!(route.count_sent(1));
    assert!(!route.count_sent(1));
    assert!(!route.is_doubted());
    route.rest();
    assert!(route.count_sent(1));
    assert_eq!(route.traffic().0, 3);
    assert!(route.is_doubted(), "until something comes back");
}

#[test]
fn what_has_no_way_yet_is_held_for_seconds_and_not_without_bound() {
    let routes = Routes::default();
    let route = routes.admit(id(1));
    let now = Instant::now();
    let datagram = |n: u8| Bytes::from(vec![n]);

    for n in 0..100 {
        route.hold(now, datagram(n));
    }

    let kept: Vec<Bytes> = (68..100).map(datagram).collect();
    assert_eq!(route.take_held(now + Duration::from_millis(3999)), kept);
    assert!(route.take_held(now).is_empty());
    route.hold(now, datagram(1));
    assert!(route.take_held(now + Duration::from_secs(4)).is_empty());
    route.set_doubted(true);
    route.hold(now, datagram(1));
    route.set_doubted(false);
    assert!(route.take_held(now).is_empty(), "the doubt is over");
}

#[test]
fn a_carrier_is_found_by_its_address() {
    let carrier = CarrierId(0x0102_0304_0506_0708);

    assert!(is_synthetic(carrier.synthetic()));
    assert!(matches!(
        Routes::default().destination(carrier.synthetic()),
        Destination::Carrier(found) if found == carrier
    ));
}
