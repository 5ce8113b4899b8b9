//! Somebody on the way who hears everything and sends it again, and a peer that
//! lies.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_proto::probe::{Candidates, Probe, Transaction};

use crate::homes::{HOME_A, HOME_B, Homes};
use crate::nat::{Kind, PortRule, at};
use crate::packet::{Body, Inner, NodeIx, Packet, Sealed};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All that was decided on both sides.
fn decided(homes: &Homes) -> [usize; 2] {
    [(homes.a, homes.b), (homes.b, homes.a)]
        .map(|(node, peer)| homes.world.peer(node, peer).uses.len())
}

/// Every packet heard so far is sent again, from the attacker's address and from
/// its own, to where it went.
fn replay(homes: &mut Homes, attacker: SocketAddr) {
    for packet in homes.world.tapped.clone() {
        if matches!(packet.body, Body::Peer(_)) {
            homes.world.inject(Packet { src: attacker, ..packet.clone() });
        }
        homes.world.inject(packet);
    }
}

#[test]
fn packets_sent_again_change_nothing() {
    let attacker = at("203.0.113.66", 666);
    for direct in [true, false] {
        let kind = if direct { Kind::Cone } else { Kind::Symmetric };
        let mut homes = Homes::of(1, kind, kind, PortRule::Preserve);
        homes.world.tap = true;
        homes.talk();
        homes.world.run_for(seconds(5));
        assert_eq!(homes.both_direct(), direct);
        let before = decided(&homes);
        let from = homes.world.now;

        for _ in 0..20 {
            replay(&mut homes, attacker);
            homes.world.run_for(seconds(1));
        }

        assert_eq!(decided(&homes), before, "{}", homes.story());
        for (node, peer) in [(homes.a, homes.b), (homes.b, homes.a)] {
            let sent = homes.world.peer(node, peer).probes_between(from, homes.world.now);
            assert!(sent < 20 * 60, "{node:?} was made to send {sent} probes");
        }
    }
}

#[test]
fn old_packets_from_before_a_restart_do_not_lead_anywhere_either() {
    let attacker = at("203.0.113.66", 666);
    let mut before = Homes::of(2, Kind::Cone, Kind::Cone, PortRule::Preserve);
    before.world.tap = true;
    before.talk_direct();
    let old = before.world.tapped.clone();
    let mut homes = Homes::of(3, Kind::Cone, Kind::Cone, PortRule::Preserve);
    // Nobody wants anything, and there is no path yet.
    for beacon in &mut homes.world.beacons {
        beacon.up = false;
    }
    homes.world.run_for(seconds(10));

    for packet in old {
        if matches!(packet.body, Body::Peer(_)) {
            homes.world.inject(Packet { src: attacker, ..packet });
        }
    }
    homes.world.run_for(seconds(10));

    for (node, peer) in [(homes.a, homes.b), (homes.b, homes.a)] {
        assert!(!homes.world.peer(node, peer).is_direct(), "{}", homes.story());
    }
}

#[test]
fn invented_pongs_prove_nothing() {
    let mut homes = Homes::of(4, Kind::Cone, Kind::Cone, PortRule::Preserve);
    homes.talk_direct();
    let before = decided(&homes);

    // The peer itself says that it is somewhere else, as often as it likes.
    for number in 0..200_u8 {
        let tx = Transaction([number; 12]);
        let probe = Probe::Pong { tx, observed: at("203.0.113.66", 1) };
        let sealed = Sealed { from: homes.b, to: homes.a, inner: Inner::Probe(probe) };
        let packet = Packet {
            src: at("203.0.113.66", 666),
            dst: at(HOME_A, 4000),
            body: Body::Peer(sealed),
        };
        homes.world.inject(packet);
    }
    homes.world.run_for(seconds(3));

    assert_eq!(decided(&homes), before);
}

#[test]
fn probes_for_another_node_are_not_even_opened() {
    let mut homes = Homes::of(5, Kind::Cone, Kind::Cone, PortRule::Preserve);
    homes.talk_direct();
    let probes = |homes: &Homes| homes.world.peer(homes.a, homes.b).probes.len();
    let before = (decided(&homes), probes(&homes));

    for from in [homes.b, NodeIx(9)] {
        let sealed = Sealed {
            from,
            to: if from == homes.b { NodeIx(9) } else { homes.a },
            inner: Inner::Probe(Probe::Ping { tx: Transaction([1; 12]) }),
        };
        let body = Body::Peer(sealed);
        homes.world.inject(Packet { src: at(HOME_B, 4000), dst: at(HOME_A, 4000), body });
    }
    homes.world.run_for(Duration::from_millis(100));

    assert_eq!(decided(&homes), before.0);
    assert!(probes(&homes) <= before.1 + 3, "it answered");
}

#[test]
fn a_lying_peer_gets_few_pings_sent_to_others() {
    let mut homes = Homes::of(6, Kind::Symmetric, Kind::Symmetric, PortRule::Random);
    homes.talk();
    homes.world.run_for(seconds(5));
    let from = homes.world.now;

    // Calls without end, each with sixteen victims.
    for round in 0..100_u64 {
        let victim = |port: u16| SocketAddr::from(([203, 0, 113, 99], 1 + port));
        let candidates = Candidates::new((0..16).map(victim));
        let mut call = homes.world.some_call(homes.b, homes.a);
        call.seq = 1_000_000 + round;
        call.candidates = candidates;
        let inner = Inner::Probe(Probe::Call(call));
        let sealed = Sealed { from: homes.b, to: homes.a, inner };
        homes.world.relay(homes.b, homes.a, sealed);
        homes.world.run_for(Duration::from_millis(100));
    }

    let sent = homes.world.peer(homes.a, homes.b).probes_between(from, homes.world.now);
    assert!(sent < 10 * 60 + 64, "{sent} probes in ten seconds");
}
