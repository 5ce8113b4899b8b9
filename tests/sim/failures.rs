//! Paths that die, move and come back, under traffic.

use std::time::Duration;

use pilot_paths::{Reason, Via};

use crate::homes::{HOME_A, HOME_B, Homes};
use crate::nat::{Kind, NatRules, PortRule, punchable};
use crate::world::INTERNET;

/// The longest pause of traffic when a path dies.
const FALLBACK: Duration = Duration::from_secs(3);

/// Direct again after something changed.
const RECOVERED: Duration = Duration::from_secs(5);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All pairs of kinds with a direct path, with both rules for ports.
fn direct_homes() -> impl Iterator<Item = (String, Homes)> {
    let ports = [PortRule::Preserve, PortRule::Random];
    let all = ports.into_iter().flat_map(|ports| {
        Kind::ALL.into_iter().flat_map(move |a| Kind::ALL.into_iter().map(move |b| (ports, a, b)))
    });
    let punchable = all.filter(|(_, a, b)| punchable(*a, *b));
    punchable.enumerate().map(|(seed, (ports, a, b))| {
        let mut homes = Homes::of(seed as u64, a, b, ports);
        homes.talk_direct();
        (format!("{a:?} and {b:?}, {ports:?}, seed {seed}"), homes)
    })
}

/// Runs until both are direct again; how long that took.
fn direct_again(homes: &mut Homes, longest: Duration) -> Option<Duration> {
    let (a, b) = (homes.a, homes.b);
    homes.world.run_until(longest, |world| world.both_direct(a, b))
}

#[test]
fn a_path_that_is_cut_falls_back_to_the_relay_and_comes_back_when_it_heals() {
    for directions in
        [vec![(HOME_A, HOME_B), (HOME_B, HOME_A)], vec![(HOME_A, HOME_B)], vec![(HOME_B, HOME_A)]]
    {
        for (name, mut homes) in direct_homes() {
            let start = homes.world.now;
            for (from, to) in &directions {
                homes.world.cut(from, to);
            }

            homes.world.run_for(seconds(10));

            let gap = homes.longest_gap(start, homes.world.now);
            assert!(gap <= FALLBACK, "{name}: {gap:?} {}", homes.story());
            for (node, peer) in [(homes.a, homes.b), (homes.b, homes.a)] {
                let paths = &homes.world.peer(node, peer).paths;
                let chosen = paths.chosen().unwrap();
                assert!(!chosen.via.is_direct(), "{name}: {}", homes.story());
                assert_eq!(chosen.reason, Reason::DirectDied, "{name}");
            }

            let healed = homes.world.now;
            homes.world.cuts.clear();
            let took = direct_again(&mut homes, RECOVERED);

            assert!(took.is_some(), "{name}: not direct again: {}", homes.story());
            homes.world.run_for(seconds(3));
            let gap = homes.longest_gap(healed, homes.world.now);
            assert!(gap < Duration::from_millis(100), "{name}: paused for {gap:?} on the way back");
        }
    }
}

#[test]
fn a_nat_that_forgets_everything_costs_five_seconds_at_most() {
    for (number, (name, mut homes)) in direct_homes().enumerate() {
        let start = homes.world.now;
        homes.world.reboot_nat(if number % 2 == 0 { homes.nat_a } else { homes.nat_b });

        homes.world.run_for(RECOVERED);

        assert!(homes.both_direct(), "{name}: {}", homes.story());
        homes.world.run_for(seconds(3));
        let gap = homes.longest_gap(start, homes.world.now);
        assert!(gap <= FALLBACK, "{name}: {gap:?} {}", homes.story());
    }
}

#[test]
fn a_home_that_gets_another_address_is_direct_again_within_five_seconds() {
    for (name, mut homes) in direct_homes() {
        let start = homes.world.now;
        homes.world.renumber_nat(homes.nat_a, "198.51.100.77");

        homes.world.run_for(RECOVERED);

        assert!(homes.both_direct(), "{name}: {}", homes.story());
        homes.world.run_for(seconds(3));
        let gap = homes.longest_gap(start, homes.world.now);
        assert!(gap <= FALLBACK, "{name}: {gap:?} {}", homes.story());
    }
}

#[test]
fn a_node_that_goes_to_another_network_is_direct_again_within_five_seconds() {
    for (name, mut homes) in direct_homes() {
        let cafe = NatRules::new(Kind::PortRestricted, PortRule::Random);
        let (_, lan) = homes.world.add_nat(INTERNET, "198.51.100.88", cafe);
        let start = homes.world.now;
        let symmetric = homes.world.nodes[homes.b.0].kind == Kind::Symmetric;
        homes.world.move_node(homes.a, lan, "192.168.1.50");
        homes.world.nodes[homes.a.0].know(Kind::PortRestricted);

        homes.world.run_for(RECOVERED);

        let gap = homes.longest_gap(start, homes.world.now);
        assert!(gap <= FALLBACK, "{name}: {gap:?} {}", homes.story());
        // To a symmetric one birthday probing is needed, which takes longer.
        assert!(homes.both_direct() || symmetric, "{name}: {}", homes.story());
        let reasons: Vec<Reason> =
            homes.world.peer(homes.a, homes.b).uses.iter().map(|(_, _, reason)| *reason).collect();
        assert!(reasons.contains(&Reason::NetworkChanged), "{name}: {}", homes.story());
    }
}

#[test]
fn a_partition_is_survived_and_ends_direct() {
    let mut homes = Homes::of(5, Kind::PortRestricted, Kind::PortRestricted, PortRule::Random);
    homes.talk_direct();
    for other in [HOME_B, "203.0.113.10"] {
        homes.world.cut_both(HOME_A, other);
    }

    homes.world.run_for(seconds(90));
    let cut = homes.world.now;
    homes.world.cuts.clear();

    homes.world.run_for(seconds(8));
    assert!(homes.longest_gap(cut + seconds(3), homes.world.now) < seconds(1), "{}", homes.story());
    assert!(homes.both_direct(), "{}", homes.story());
}

#[test]
fn a_mapping_that_expires_in_silence_is_mended_when_there_is_traffic_again() {
    for a in [Kind::Cone, Kind::PortRestricted] {
        let mut rules = NatRules::new(a, PortRule::Random);
        rules.timeout = seconds(12);
        let mut homes = Homes::new(6, rules, rules);
        homes.talk_direct();
        homes.world.traffic(homes.a, homes.b, false);
        // The nodes believe that 25 s are fine.
        homes.world.run_for(seconds(100));

        let start = homes.world.now;
        homes.world.traffic(homes.a, homes.b, true);
        homes.world.run_for(RECOVERED);

        assert!(homes.both_direct(), "{a:?}: {}", homes.story());
        let gap = homes.longest_gap(start, homes.world.now);
        assert!(gap <= FALLBACK, "{a:?}: {gap:?} {}", homes.story());
    }
}

#[test]
fn a_direct_path_outlives_its_beacon_and_a_relayed_one_goes_to_another() {
    let rules = NatRules::new(Kind::Symmetric, PortRule::Random);
    let mut homes = Homes::new(7, rules, rules);
    homes.talk();
    homes.world.run_for(seconds(2));
    let relay = |homes: &Homes| homes.world.peer(homes.a, homes.b).paths.chosen().unwrap().via;
    assert_eq!(relay(&homes), Via::Relay(pilot_paths::BeaconId(0)));

    homes.world.beacons[0].up = false;
    homes.world.run_for(seconds(15));

    assert_eq!(relay(&homes), Via::Relay(pilot_paths::BeaconId(1)));
    let start = homes.world.now;
    homes.world.run_for(seconds(5));
    let gap = homes.longest_gap(start, homes.world.now);
    assert!(gap < Duration::from_millis(100), "{gap:?} {}", homes.story());

    let mut homes = Homes::of(7, Kind::Cone, Kind::Cone, PortRule::Random);
    homes.talk_direct();
    let start = homes.world.now;
    for beacon in &mut homes.world.beacons {
        beacon.up = false;
    }
    homes.world.run_for(seconds(60));
    let gap = homes.longest_gap(start, homes.world.now);
    assert!(gap < Duration::from_millis(100), "{gap:?} {}", homes.story());
}

#[test]
fn loss_of_a_twentieth_moves_nothing_for_ten_minutes() {
    for seed in 0..3 {
        let kinds = [(Kind::Cone, Kind::Cone), (Kind::PortRestricted, Kind::PortRestricted)];
        for (a, b) in kinds {
            let mut homes = Homes::of(seed, a, b, PortRule::Random);
            homes.talk_direct();
            let decided = |homes: &Homes| {
                [(homes.a, homes.b), (homes.b, homes.a)]
                    .map(|(node, peer)| homes.world.peer(node, peer).uses.len())
            };
            let before = decided(&homes);
            homes.world.loss = 50;
            for node in &mut homes.world.nodes {
                node.data_every = Duration::from_millis(100);
            }
            homes.world.jitter = Duration::from_millis(30);

            homes.world.run_for(seconds(600));

            assert_eq!(decided(&homes), before, "seed {seed}: {}", homes.story());
        }
    }
}

#[test]
fn heavy_loss_and_reordering_still_end_direct() {
    for seed in 0..5 {
        let mut homes = Homes::of(seed, Kind::PortRestricted, Kind::Cone, PortRule::Random);
        homes.world.loss = 250;
        homes.world.jitter = Duration::from_millis(80);
        homes.talk();

        let took = direct_again(&mut homes, seconds(10));

        assert!(took.is_some(), "seed {seed}: {}", homes.story());
    }
}
