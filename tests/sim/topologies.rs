//! Homes that are not two homes with one NAT each.

use std::time::Duration;

use pilot_paths::{Reason, Via};

use crate::homes::know;
use crate::nat::{Kind, NatRules, PortRule, at};
use crate::packet::NodeIx;
use crate::world::{INTERNET, World};

const SOON: Duration = Duration::from_secs(2);

fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    world.add_beacon(["203.0.113.10", "203.0.113.12"]);
    world
}

fn rules(kind: Kind) -> NatRules {
    NatRules::new(kind, PortRule::Random)
}

/// Both talk; how long until both are direct.
fn talk(world: &mut World, a: NodeIx, b: NodeIx, longest: Duration) -> Option<Duration> {
    world.introduce(a, b);
    world.run_for(Duration::from_secs(2));
    world.want(a, b, true);
    world.want(b, a, true);
    world.traffic(a, b, true);
    let took = world.run_until(longest, |world| world.both_direct(a, b));
    // The first path need not be the best one.
    world.run_for(Duration::from_secs(3));
    took
}

fn remote(world: &World, node: NodeIx, peer: NodeIx) -> std::net::SocketAddr {
    match world.peer(node, peer).paths.chosen().unwrap().via {
        Via::Direct { remote, .. } => remote,
        Via::Relay(_) => panic!("relayed: {}", world.story(node, peer)),
    }
}

#[test]
fn two_nodes_behind_one_nat_meet_on_their_own_network() {
    for kind in Kind::ALL {
        for hairpin in [false, true] {
            let mut world = world(1);
            let (_, lan) =
                world.add_nat(INTERNET, "198.51.100.2", NatRules { hairpin, ..rules(kind) });
            let a = world.add_node(lan, "192.168.1.11");
            let b = world.add_node(lan, "192.168.1.12");
            know(&mut world, a, kind);
            know(&mut world, b, kind);

            let took = talk(&mut world, a, b, SOON);

            assert!(took.is_some(), "{kind:?} {hairpin}: {}", world.story(a, b));
            assert_eq!(remote(&world, a, b), at("192.168.1.12", 4000), "{kind:?} {hairpin}");
            assert_eq!(remote(&world, b, a), at("192.168.1.11", 4000), "{kind:?} {hairpin}");
        }
    }
}

#[test]
fn two_homes_with_the_same_addresses_inside_find_the_right_one() {
    let mut world = world(2);
    let (_, lan_a) = world.add_nat(INTERNET, "198.51.100.2", rules(Kind::PortRestricted));
    let (_, lan_b) = world.add_nat(INTERNET, "198.51.100.3", rules(Kind::PortRestricted));
    let a = world.add_node(lan_a, "192.168.1.11");
    let b = world.add_node(lan_b, "192.168.1.12");
    // In each home the other one's address belongs to somebody else.
    for (lan, ip) in [(lan_a, "192.168.1.12"), (lan_b, "192.168.1.11")] {
        world.add_node(lan, ip);
    }
    know(&mut world, a, Kind::PortRestricted);
    know(&mut world, b, Kind::PortRestricted);

    let took = talk(&mut world, a, b, SOON);

    assert!(took.is_some(), "{}", world.story(a, b));
    assert_eq!(remote(&world, a, b).ip(), at("198.51.100.3", 0).ip());
    assert_eq!(remote(&world, b, a).ip(), at("198.51.100.2", 0).ip());
}

#[test]
fn a_node_behind_two_nats_is_reached() {
    for inner in [Kind::Cone, Kind::Restricted, Kind::PortRestricted] {
        for outer in [Kind::Cone, Kind::Restricted, Kind::PortRestricted] {
            let mut world = world(3);
            let (_, carrier) = world.add_nat(INTERNET, "198.51.100.2", rules(outer));
            let (_, lan_a) = world.add_nat(carrier, "100.64.1.2", rules(inner));
            let (_, lan_b) = world.add_nat(INTERNET, "198.51.100.3", rules(Kind::PortRestricted));
            let a = world.add_node(lan_a, "192.168.1.11");
            let b = world.add_node(lan_b, "192.168.2.11");
            know(&mut world, a, Kind::PortRestricted);
            know(&mut world, b, Kind::PortRestricted);

            let took = talk(&mut world, a, b, SOON);

            assert!(took.is_some(), "{inner:?} in {outer:?}: {}", world.story(a, b));
        }
    }
}

#[test]
fn two_homes_behind_one_carrier_meet_if_it_lets_them() {
    for hairpin in [false, true] {
        let mut world = world(4);
        let cgn = NatRules { hairpin, ..rules(Kind::Cone) };
        let (_, carrier) = world.add_nat(INTERNET, "198.51.100.2", cgn);
        let (_, lan_a) = world.add_nat(carrier, "100.64.1.2", rules(Kind::Cone));
        let (_, lan_b) = world.add_nat(carrier, "100.64.1.3", rules(Kind::Cone));
        let a = world.add_node(lan_a, "192.168.1.11");
        let b = world.add_node(lan_b, "192.168.2.11");
        know(&mut world, a, Kind::Cone);
        know(&mut world, b, Kind::Cone);

        let took = talk(&mut world, a, b, SOON);

        assert_eq!(took.is_some(), hairpin, "{}", world.story(a, b));
        assert!(world.peer(a, b).paths.chosen().is_some());
    }
}

#[test]
fn hosts_without_a_nat_meet_over_either_protocol() {
    for (one, other) in [("198.51.100.21", "198.51.100.22"), ("2001:db8::21", "2001:db8::22")] {
        let mut world = world(5);
        let a = world.add_node(INTERNET, one);
        let b = world.add_node(INTERNET, other);

        let took = talk(&mut world, a, b, SOON);

        assert!(took.is_some(), "{}", world.story(a, b));
        assert_eq!(remote(&world, a, b), at(other, 4000));
    }
}

#[test]
fn without_any_beacon_the_card_is_enough() {
    let mut world = World::new(6);
    let (_, lan) = world.add_nat(INTERNET, "198.51.100.2", rules(Kind::Symmetric));
    let a = world.add_node(lan, "192.168.1.11");
    let b = world.add_node(INTERNET, "198.51.100.22");
    world.introduce(a, b);
    assert!(world.peer(a, b).paths.chosen().is_none());

    let start = world.now;
    world.card(a, b, &[at("198.51.100.22", 4000)]);
    world.want(a, b, true);
    world.traffic(a, b, true);
    let took = world.run_until(SOON, |world| world.both_direct(a, b));

    // Both have proven it after one round trip and a half; nobody spoke of b's
    // wishes.
    assert!(took.is_some_and(|took| took < Duration::from_millis(80)), "{took:?}");
    let uses = &world.peer(a, b).uses;
    assert_eq!(
        uses.iter().map(|(_, _, reason)| *reason).collect::<Vec<_>>(),
        [Reason::DirectProven]
    );
    world.run_for(Duration::from_secs(5));
    assert!(world.peer(b, a).longest_gap(start, world.now) < Duration::from_millis(100));
}

#[test]
fn twelve_nodes_all_talk_to_each_other() {
    let mut world = world(7);
    let kinds = Kind::ALL.into_iter().cycle().take(12).enumerate();
    let nodes: Vec<(NodeIx, Kind)> = kinds
        .map(|(number, kind)| {
            let (_, lan) =
                world.add_nat(INTERNET, &format!("198.51.100.{}", number + 2), rules(kind));
            let node = world.add_node(lan, "192.168.1.11");
            know(&mut world, node, kind);
            (node, kind)
        })
        .collect();
    let pairs: Vec<_> = nodes
        .iter()
        .flat_map(|one| {
            nodes.iter().filter(move |other| one.0 < other.0).map(move |other| (*one, *other))
        })
        .collect();
    for ((a, _), (b, _)) in &pairs {
        world.introduce(*a, *b);
    }
    world.run_for(Duration::from_secs(2));
    for ((a, _), (b, _)) in &pairs {
        world.want(*a, *b, true);
        world.want(*b, *a, true);
    }

    world.run_for(SOON);

    for ((a, kind_a), (b, kind_b)) in pairs {
        assert!(world.peer(a, b).paths.chosen().is_some());
        if crate::nat::punchable(kind_a, kind_b) {
            assert!(world.both_direct(a, b), "{kind_a:?} {kind_b:?} {}", world.story(a, b));
        }
    }
}
