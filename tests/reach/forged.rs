//! Packets of liars change nothing.

use std::net::SocketAddr;

use pilot_identity::PairKey;
use pilot_proto::beacon::{RelayId, relay_header};
use pilot_proto::envelope::{PROBE_CONTEXT, seal_probe};
use pilot_proto::probe::{Probe, Transaction};
use tokio::net::UdpSocket;

use crate::ground::{beacon, carry, connect, friends, id, key, until};

/// What the pair 1 and 2 would send to 2, made with a key that only 3 has.
fn forged(tx: u8) -> Vec<u8> {
    let pair = PairKey::new(&key(3), &id(2), PROBE_CONTEXT).unwrap();
    seal_probe(&pair, [tx; 12], &Probe::Ping { tx: Transaction([tx; 12]) })
}

#[tokio::test]
async fn forged_stale_and_misdirected_packets_move_no_path() {
    let beacon = beacon(9);
    let (one, two) = friends(&beacon).await;
    let (ours, theirs) = connect(&one, &two).await;
    until("direct", || one.is_direct(id(2)) && two.is_direct(id(1))).await;
    let before = (one.path(id(2)).way, two.path(id(1)).way);
    let liar = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let victim: SocketAddr = two.endpoint.local_addr();

    let pair = PairKey::new(&key(1), &id(2), PROBE_CONTEXT).unwrap();
    let observed = liar.local_addr().unwrap();
    for n in 0..200u8 {
        // Sealed by another key; sealed by the right one, and sent from
        // elsewhere (again and again); a pong to no ping; relayed by nobody.
        liar.send_to(&forged(n), victim).await.unwrap();
        let ping = seal_probe(&pair, [1; 12], &Probe::Ping { tx: Transaction([1; 12]) });
        liar.send_to(&ping, victim).await.unwrap();
        let pong = Probe::Pong { tx: Transaction([n; 12]), observed };
        liar.send_to(&seal_probe(&pair, [n; 12], &pong), victim).await.unwrap();
        let relayed = [&relay_header(RelayId::of(&id(1)))[..], &[0xc0; 1200]].concat();
        liar.send_to(&relayed, victim).await.unwrap();
        carry(&ours, &theirs, b"still here").await;
    }

    assert_eq!((one.path(id(2)).way, two.path(id(1)).way), before);
    assert!(two.endpoint.stats().garbage >= 100, "{:?}", two.endpoint.stats());
    // A replay is answered at most now and then, and only to where it came from.
    let mut answers = 0;
    let mut buffer = [0; 2000];
    while liar.try_recv(&mut buffer).is_ok() {
        answers += 1;
    }
    assert!(answers < 200, "{answers} answers to 600 packets");
}
