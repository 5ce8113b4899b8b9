//! Dials that fail, and races of dials.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_transport::{Alpn, ConnectError, Expect, Settings};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::nodes::{accepted, connected, echo, id, in_time, node, node_with, settings};

/// A bound socket that never answers.
async fn silent() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_known_within_ten_seconds() {
    let (client, (_socket, addr)) = (node(1), silent().await);
    let began = Instant::now();

    let outcome = client.connect(Expect::Key(id(2)), addr, Alpn::Peer).await;

    assert!(matches!(outcome, Err(ConnectError::TimedOut)), "{outcome:?}");
    let took = began.elapsed();
    assert!(Duration::from_secs(8) < took && took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn addresses_beyond_the_socket_fail_at_once() {
    let client = node(1);
    for beyond in ["[::1]:9", "[2001:db8::1]:9", "127.0.0.1:0"] {
        let outcome = client.connect(Expect::Key(id(2)), beyond.parse().unwrap(), Alpn::Peer).await;

        assert!(matches!(outcome, Err(ConnectError::Unreachable)), "{beyond}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_disguised_ipv4_address_is_dialed_as_what_it_is() {
    let (client, server) = (node(1), node(2));
    let disguised: SocketAddr =
        format!("[::ffff:127.0.0.1]:{}", server.local_addr().port()).parse().unwrap();

    let dial = client.connect(Expect::Key(id(2)), disguised, Alpn::Peer);
    let (ours, theirs) = in_time(async { tokio::join!(dial, accepted(&server)) }).await;

    echo(&ours.unwrap(), &theirs, b"hello").await;
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_dial_leaves_nothing_behind() {
    let (client, (_socket, addr)) = (node(1), silent().await);

    let dial = client.connect(Expect::Any, addr, Alpn::Peer);
    let outcome = tokio::time::timeout(Duration::from_millis(100), dial).await;

    assert!(outcome.is_err());
    client.wait_idle().await;
    assert_eq!(client.open_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_live_candidate_wins_among_dead_ones() {
    let (client, live, other) = (node(1), node(2), node(3));
    let (dead, also_dead) = (silent().await, silent().await);
    let candidates = [
        dead.1,
        "[::1]:9".parse().unwrap(),
        other.local_addr(),
        dead.1,
        also_dead.1,
        live.local_addr(),
    ];
    let began = Instant::now();

    let serve_other = async { other.accept().await.unwrap().accept().await };
    let dial = client.connect_any(Expect::Key(id(2)), &candidates, Alpn::Peer);
    let (ours, theirs, not_ours) =
        in_time(async { tokio::join!(dial, accepted(&live), serve_other) }).await;

    let ours = ours.unwrap();
    assert_eq!((ours.peer(), ours.remote_addr()), (id(2), live.local_addr()));
    assert!(not_ours.is_err());
    // Two silent ones with their head start; who fails at once gets none.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
    echo(&ours, &theirs, b"hello").await;
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_needs_no_race_when_it_answers() {
    let (client, live, never) = (node(1), node(2), silent().await);
    let candidates = [live.local_addr(), never.1];

    let dial = client.connect_any(Expect::Key(id(2)), &candidates, Alpn::Peer);
    let (ours, _theirs) = in_time(async { tokio::join!(dial, accepted(&live)) }).await;

    assert_eq!(ours.unwrap().remote_addr(), live.local_addr());
    assert!(never.0.try_recv(&mut [0; 1500]).is_err(), "the second was dialed");
}

#[tokio::test(start_paused = true)]
async fn of_all_failures_the_most_telling_is_told() {
    let (client, other, dead) = (node(1), node(3), silent().await);
    let candidates = [dead.1, other.local_addr(), "[::1]:9".parse().unwrap()];

    let serve = async { other.accept().await.unwrap().accept().await };
    let dial = client.connect_any(Expect::Key(id(2)), &candidates, Alpn::Peer);
    let (outcome, _) = in_time(async { tokio::join!(dial, serve) }).await;

    assert!(
        matches!(outcome, Err(ConnectError::WrongKey { got, .. }) if got == id(3)),
        "{outcome:?}"
    );
    let nowhere = client.connect_any(Expect::Key(id(2)), &[], Alpn::Peer).await;
    assert!(matches!(nowhere, Err(ConnectError::Unreachable)), "{nowhere:?}");
}

#[tokio::test]
async fn no_more_than_eight_candidates_are_tried() {
    let (client, live) = (node(1), node(2));
    let mut candidates: Vec<SocketAddr> =
        (1..=8).map(|port| SocketAddr::new("::1".parse().unwrap(), port)).collect();
    candidates.push(live.local_addr());

    let outcome = client.connect_any(Expect::Key(id(2)), &candidates, Alpn::Peer).await;

    assert!(matches!(outcome, Err(ConnectError::Unreachable)), "{outcome:?}");
}

#[tokio::test]
async fn a_closed_endpoint_neither_dials_nor_accepts() {
    let (client, server) = (node(1), node(2));
    let (_ours, _theirs) = connected(&client, &server).await;

    client.close(0, "goodbye");

    let outcome = client.connect(Expect::Any, server.local_addr(), Alpn::Peer).await;
    assert!(matches!(outcome, Err(ConnectError::Closed)), "{outcome:?}");
    assert!(client.accept().await.is_none());
    in_time(client.wait_idle()).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_only_dials_answers_nobody() {
    let (client, deaf) = (node(1), node_with(2, settings(&[])));
    let patient = Settings { idle_timeout: Duration::from_secs(1), ..settings(&[]) };
    let client = {
        drop(client);
        node_with(1, patient)
    };

    let outcome = client.connect(Expect::Any, deaf.local_addr(), Alpn::Peer).await;

    assert!(matches!(outcome, Err(ConnectError::TimedOut)), "{outcome:?}");
}
