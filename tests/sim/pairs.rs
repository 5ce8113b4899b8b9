//! Every pair of NAT kinds: relayed at once, direct where that can be.

use std::time::Duration;

use pilot_paths::{Reason, Via};

use crate::homes::{HOME_A, HOME_B, Homes};
use crate::nat::{Kind, NatRules, PortRule, at, punchable};

/// The longest pause of traffic when a better path takes over.
const PAUSE: Duration = Duration::from_millis(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn every_pair_is_relayed_at_once_and_direct_within_two_seconds_where_it_can_be() {
    for ports in [PortRule::Preserve, PortRule::Random] {
        for a in Kind::ALL {
            for b in Kind::ALL {
                for seed in 0..4 {
                    let mut homes = Homes::of(seed, a, b, ports);
                    let start = homes.world.now;
                    homes.talk();
                    let name = format!("{a:?} and {b:?}, {ports:?}, seed {seed}");

                    let first = homes.world.peer(homes.a, homes.b).uses[0];
                    assert!(matches!(first.1, Some(Via::Relay(_))), "{name}: {first:?}");
                    assert_eq!(first.2, Reason::RelayFirst);
                    assert!(first.0 <= start, "{name}: relayed at {:?}", first.0);
                    homes.world.run_for(seconds(2).saturating_sub(homes.world.now - start));

                    let heard = homes.world.peer(homes.b, homes.a).arrivals[0] - start;
                    assert!(heard < Duration::from_millis(60), "{name}: heard after {heard:?}");
                    if punchable(a, b) {
                        assert!(homes.both_direct(), "{name}: {}", homes.story());
                    }
                    homes.world.run_for(seconds(3));
                    let gap = homes.longest_gap(start + seconds(1), homes.world.now);
                    assert!(gap < PAUSE, "{name}: {gap:?} {}", homes.story());
                }
            }
        }
    }
}

#[test]
fn symmetric_meets_port_restricted_by_birthday_probing_within_ten_seconds() {
    for ports in [PortRule::Preserve, PortRule::Random] {
        for (a, b) in
            [(Kind::Symmetric, Kind::PortRestricted), (Kind::PortRestricted, Kind::Symmetric)]
        {
            let mut met = 0;
            for seed in 0..20 {
                let mut homes = Homes::of(seed, a, b, ports);
                let start = homes.world.now;
                homes.talk();
                let (one, other) = (homes.a, homes.b);
                let took =
                    homes.world.run_until(seconds(10), |world| world.both_direct(one, other));
                met += usize::from(took.is_some());
                if took.is_some() {
                    homes.world.run_for(seconds(3));
                    let gap = homes.longest_gap(start + seconds(1), homes.world.now);
                    assert!(gap < PAUSE, "seed {seed}: {gap:?} {}", homes.story());
                    let name = format!("{a:?}, seed {seed}: {}", homes.story());
                    assert!(homes.both_direct(), "{name}");
                    assert_eq!(
                        homes.world.peer(one, other).paths.reason(),
                        Reason::Birthday,
                        "{name}"
                    );
                    for node in &homes.world.nodes {
                        // The main socket, and the one that met.
                        assert!(node.sockets.count() <= 4, "{name}: {}", node.sockets.count());
                    }
                }
                let most = [homes.world.peer(one, other), homes.world.peer(other, one)]
                    .map(|peer| peer.most_sockets);
                assert!(most.iter().all(|most| *most <= 256), "{most:?}");
            }
            assert!(met >= 18, "{a:?} and {b:?}, {ports:?}: {met} of 20");
        }
    }
}

#[test]
fn a_path_found_by_birthday_probing_lasts_in_silence() {
    for seed in 0..10 {
        let mut homes = Homes::of(seed, Kind::Symmetric, Kind::PortRestricted, PortRule::Random);
        homes.talk();
        let (one, other) = (homes.a, homes.b);
        let took = homes.world.run_until(seconds(60), |world| world.both_direct(one, other));
        assert!(took.is_some(), "seed {seed}: {}", homes.story());
        homes.world.run_for(seconds(3));
        homes.world.traffic(homes.a, homes.b, false);
        let decided = |homes: &Homes| {
            [(homes.a, homes.b), (homes.b, homes.a)]
                .map(|(node, peer)| homes.world.peer(node, peer).uses.len())
        };
        let before = decided(&homes);

        homes.world.run_for(seconds(600));

        assert_eq!(decided(&homes), before, "seed {seed}: {}", homes.story());
        assert!(homes.world.nodes[homes.a.0].sockets.count() <= 3);
    }
}

#[test]
fn one_who_only_answers_takes_part() {
    for (a, b) in [(Kind::Symmetric, Kind::PortRestricted), (Kind::PortRestricted, Kind::Symmetric)]
    {
        let mut homes = Homes::of(2, a, b, PortRule::Random);
        homes.world.want(homes.a, homes.b, true);

        let (one, other) = (homes.a, homes.b);
        let took = homes.world.run_until(seconds(12), |world| world.both_direct(one, other));

        assert!(took.is_some(), "{a:?} and {b:?}: {}", homes.story());
    }
}

#[test]
fn where_an_early_packet_spoils_a_port_a_fresh_one_helps_if_the_right_side_begins() {
    for (a, b) in [
        (Kind::PortRestricted, Kind::PortRestricted),
        (Kind::Restricted, Kind::PortRestricted),
        (Kind::PortRestricted, Kind::Restricted),
    ] {
        for (wan_a, wan_b) in [(true, false), (false, true)] {
            for seed in 0..10 {
                let rules = |kind, wan_accept| NatRules {
                    wan_accept,
                    ..NatRules::new(kind, PortRule::Random)
                };
                let mut homes = Homes::new(seed, rules(a, wan_a), rules(b, wan_b));
                // Neighbours with beacons far away: they cannot begin at the same
                // moment by what they know.
                for home in [HOME_A, HOME_B] {
                    homes.world.delays.insert(at(home, 0).ip(), Duration::from_micros(100));
                }
                homes.world.delays.insert(at("203.0.113.10", 0).ip(), Duration::from_millis(40));
                homes.world.jitter = Duration::from_millis(15);
                homes.talk();
                let (one, other) = (homes.a, homes.b);

                let took = homes.world.run_until(seconds(2), |world| world.both_direct(one, other));

                let name = format!("{a:?} {wan_a} and {b:?} {wan_b}, seed {seed}");
                assert!(took.is_some(), "{name}: {}", homes.story());
            }
        }
    }
}

#[test]
fn birthday_probing_is_polite() {
    let mut homes = Homes::of(1, Kind::Symmetric, Kind::Symmetric, PortRule::Random);
    // One of them is wrong about itself, so that probing goes on to the end.
    homes.world.nodes[homes.b.0].know(Kind::PortRestricted);
    homes.talk();

    homes.world.run_for(seconds(120));

    for (node, peer) in [(homes.a, homes.b), (homes.b, homes.a)] {
        let peer = homes.world.peer(node, peer);
        for second in 0..120 {
            let sent = peer.probes_between(seconds(second), seconds(second + 1));
            assert!(sent <= 160, "{sent} probes in second {second}");
        }
        let sent = peer.probes_between(Duration::ZERO, seconds(120));
        assert!(sent < 5_000, "{sent} probes in two minutes");
    }
}

#[test]
fn a_router_that_gives_ports_away_to_early_packets_is_got_through_in_the_end() {
    let mut slow = Vec::new();
    for ports in [PortRule::Preserve, PortRule::Random] {
        for a in Kind::ALL {
            for b in Kind::ALL {
                for (wan_a, wan_b) in [(true, false), (false, true), (true, true)] {
                    if !punchable(a, b) {
                        continue;
                    }
                    let rules =
                        |kind, wan_accept| NatRules { wan_accept, ..NatRules::new(kind, ports) };
                    let mut homes = Homes::new(3, rules(a, wan_a), rules(b, wan_b));
                    // The further away home makes the two begin not quite together.
                    homes.world.delays.insert(at(HOME_B, 0).ip(), Duration::from_millis(40));
                    homes.talk();
                    let (one, other) = (homes.a, homes.b);
                    let took =
                        homes.world.run_until(seconds(20), |world| world.both_direct(one, other));
                    let name = format!("{a:?} {wan_a} and {b:?} {wan_b}, {ports:?}");
                    let took = took.unwrap_or_else(|| panic!("{name}: never {}", homes.story()));
                    if took > seconds(2) {
                        slow.push((name, took));
                    }
                }
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
