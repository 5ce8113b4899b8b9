//! Two machines and a peer that does its worst: nothing becomes a flood.

use std::collections::VecDeque;

use pilot_proto::probe::{Candidates, Method, Probe, Transaction};

use super::bench::{Bench, CONE, PEER, RELAY, address, call, direct, local, millis};
use crate::{Output, Paths, Via};

#[test]
fn two_machines_that_answer_each_other_come_to_rest() {
    let now = crate::clock::start();
    let (one_at, other_at) = (address("10.0.0.1:1"), address("10.0.0.2:2"));
    let mut machines = [Paths::new([1; 32], now), Paths::new([2; 32], now)];
    let mut packets = VecDeque::from([(0, Probe::Ping { tx: Transaction([0; 12]) })]);

    let mut delivered = 0;
    while let Some((to, probe)) = packets.pop_front() {
        delivered += 1;
        assert!(delivered < 20, "a flood");
        let remote = if to == 0 { other_at } else { one_at };
        let via = Via::Direct { local: crate::LocalId::MAIN, remote };
        machines[to].handle_probe(via, probe, now);
        while let Some(output) = machines[to].poll_output() {
            if let Output::Send { probe, .. } = output {
                packets.push_back((1 - to, probe));
            }
        }
    }

    // Ping, pong; a ping back from both, and their pongs.
    assert!(machines.iter().all(|machine| machine.chosen().is_some()));
    assert!(delivered <= 7, "{delivered} packets");
}

#[test]
fn a_flood_of_pings_is_answered_with_measure() {
    let mut bench = Bench::bare();
    bench.local(local(CONE));
    for number in 0..10_000_u32 {
        let remote = if number % 2 == 0 {
            PEER.to_owned()
        } else {
            format!("198.51.100.{}:{}", number % 199 + 1, number % 999 + 1)
        };
        let mut tx = [0; 12];
        tx[..4].copy_from_slice(&number.to_le_bytes());
        bench.probe(direct(&remote), Probe::Ping { tx: Transaction(tx) });
        if number % 10 == 0 {
            bench.pass(millis(1));
        }
    }

    let pongs = bench.sent().filter(|(_, probe)| matches!(probe, Probe::Pong { .. })).count();
    let pings = bench.pinged().len();
    // One second: 200 at once and 100 more; 64 at once and 50 more.
    assert!(pongs <= 310, "{pongs} pongs");
    assert!(pings <= 120, "{pings} pings");
}

#[test]
fn a_flood_of_calls_is_answered_with_measure() {
    let mut bench = Bench::bare();
    bench.local(local(CONE));
    for seq in 0..10_000_u16 {
        let victim = |port| address(&format!("203.0.113.9:{}", port + 1));
        let asked = pilot_proto::probe::Call {
            candidates: Candidates::new((0..16).map(|port| victim(seq % 1_000 + port))),
            ..call(seq.into(), false, Method::Together, CONE)
        };
        bench.probe(Via::Relay(RELAY), Probe::Call(asked));
        bench.pass(millis(1));
    }

    let (calls, pings) = (bench.calls().len(), bench.pinged().len());
    // Ten seconds.
    assert!(calls <= 8 + 26, "{calls} answers");
    assert!(pings <= 64 + 510, "{pings} pings");
}

#[test]
fn a_shell_that_does_not_drain_loses_probes_and_no_decision() {
    let mut bench = Bench::wanted(CONE);
    for number in 0..5_000_u32 {
        let mut tx = [1; 12];
        tx[..4].copy_from_slice(&number.to_le_bytes());
        let probe = Probe::Ping { tx: Transaction(tx) };
        bench.paths.handle_probe(direct(PEER), probe, bench.now);
        bench.now += millis(10);
    }
    bench.paths.handle_absent(RELAY, bench.now);
    bench.now += millis(10);

    bench.drain();

    assert!(bench.outputs.len() <= 1_100, "{}", bench.outputs.len());
}
