//! Nodes that find out by themselves what they are behind.

use std::time::Duration;

use pilot_paths::{Discovery, Lifetime};
use pilot_proto::probe::{Behaviour, Nat as Kinds};

use crate::homes::{HOME_A, Homes};
use crate::nat::{Kind, NatRules, PortRule, at, punchable};
use crate::node::Knowledge;
use crate::packet::NodeIx;
use crate::world::{INTERNET, World};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A node that is told nothing, and a beacon.
fn curious(seed: u64, rules: Option<NatRules>) -> (World, NodeIx) {
    let mut world = World::new(seed);
    world.add_beacon(["203.0.113.10", "203.0.113.12"]);
    let net = match rules {
        Some(rules) => world.add_nat(INTERNET, HOME_A, rules).1,
        None => INTERNET,
    };
    let node = world.add_node(net, if net == INTERNET { "198.51.100.21" } else { "192.168.1.11" });
    world.find_out(node);
    (world, node)
}

fn found(world: &World, node: NodeIx) -> (&Discovery, &Lifetime) {
    match &world.nodes[node.0].knowledge {
        Knowledge::Found { discovery, lifetime } => (discovery, lifetime),
        Knowledge::Told { .. } => panic!("it was told"),
    }
}

#[test]
fn every_kind_is_found_out_within_five_seconds() {
    for ports in [PortRule::Preserve, PortRule::Random] {
        for kind in Kind::ALL {
            for wan_accept in [false, true] {
                let rules = NatRules { wan_accept, ..NatRules::new(kind, ports) };
                let (mut world, node) = curious(1, Some(rules));

                world.run_for(seconds(5));

                let finding = found(&world, node).0.finding();
                assert_eq!(finding.nat, kind.behaviour(), "{kind:?} {ports:?} {wan_accept}");
                let mapped = finding.mapped.first().map(|mapped| mapped.ip());
                let seen = (kind != Kind::Blocked).then(|| at(HOME_A, 0).ip());
                assert_eq!(mapped, seen, "{kind:?}");
            }
        }
    }
}

#[test]
fn no_nat_is_found_out_too() {
    let (mut world, node) = curious(2, None);

    world.run_for(seconds(5));

    let open = Kinds { mapping: Behaviour::None, filtering: Behaviour::None };
    assert_eq!(found(&world, node).0.finding().nat, open);
}

#[test]
fn a_hairpin_is_found_out() {
    for kind in [Kind::Cone, Kind::Restricted, Kind::PortRestricted] {
        for hairpin in [false, true] {
            let rules = NatRules { hairpin, ..NatRules::new(kind, PortRule::Random) };
            let (mut world, node) = curious(3, Some(rules));

            world.run_for(seconds(5));

            assert_eq!(found(&world, node).0.finding().hairpin, Some(hairpin), "{kind:?}");
        }
    }
}

#[test]
fn kinds_are_found_out_in_spite_of_loss() {
    let mut wrong = 0;
    for seed in 0..40 {
        let rules = NatRules::new(Kind::PortRestricted, PortRule::Random);
        let (mut world, node) = curious(seed, Some(rules));
        world.loss = 50;

        world.run_for(seconds(8));

        let nat = found(&world, node).0.finding().nat;
        wrong += usize::from(nat != Kind::PortRestricted.behaviour());
    }
    assert!(wrong <= 1, "{wrong} of 40");
}

#[test]
fn the_keepalive_fits_the_nat() {
    for (timeout, keepalive) in [(120, 25), (30, 25), (20, 15), (12, 9), (5, 3)] {
        for kind in [Kind::Cone, Kind::PortRestricted, Kind::Symmetric] {
            let mut rules = NatRules::new(kind, PortRule::Random);
            rules.timeout = seconds(timeout);
            let (mut world, node) = curious(4, Some(rules));

            world.run_for(seconds(40));

            let found = found(&world, node).1.keepalive();
            assert_eq!(found, seconds(keepalive), "{kind:?} that forgets after {timeout} s");
            assert_eq!(world.nodes[node.0].sockets.count(), 1, "sockets stay open");
        }
    }
}

#[test]
fn an_idle_path_stays_alive_on_a_nat_that_forgets_soon() {
    let mut rules = NatRules::new(Kind::PortRestricted, PortRule::Random);
    rules.timeout = seconds(12);
    let mut homes = Homes::new(5, rules, rules);
    for node in [homes.a, homes.b] {
        homes.world.find_out(node);
    }
    homes.world.run_for(seconds(40));
    homes.talk_direct();
    homes.world.traffic(homes.a, homes.b, false);
    let before = homes.world.peer(homes.a, homes.b).uses.len();

    homes.world.run_for(seconds(600));

    assert!(homes.both_direct(), "{}", homes.story());
    assert_eq!(homes.world.peer(homes.a, homes.b).uses.len(), before, "{}", homes.story());
}

#[test]
fn nodes_that_know_nothing_yet_meet_all_the_same() {
    for a in Kind::ALL {
        for b in Kind::ALL {
            let mut homes = Homes::of(6, a, b, PortRule::Random);
            for node in [homes.a, homes.b] {
                homes.world.find_out(node);
            }
            homes.talk();
            let (one, other) = (homes.a, homes.b);
            let took = homes.world.run_until(seconds(15), |world| world.both_direct(one, other));

            let birthday =
                [(Kind::Symmetric, Kind::PortRestricted), (Kind::PortRestricted, Kind::Symmetric)];
            let name = format!("{a:?} and {b:?}: {took:?} {}", homes.story());
            if punchable(a, b) {
                assert!(took.is_some_and(|took| took < seconds(2)), "{name}");
            } else if birthday.contains(&(a, b)) {
                assert!(took.is_some(), "{name}");
            } else {
                assert!(took.is_none(), "{name}");
                assert!(homes.world.peer(one, other).paths.chosen().is_some(), "{name}");
            }
        }
    }
}
