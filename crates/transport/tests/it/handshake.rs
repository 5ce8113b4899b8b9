//! Two nodes meet: keys, protocols, key exchanges, slots.

use std::net::{IpAddr, Ipv4Addr};

use pilot_transport::{
    Alpn, BindError, ConnectError, Connection, Endpoint, Expect, KeyExchange, MtuSearch, Settings,
};

use crate::nodes::{
    accepted, connected, connected_at, echo, id, in_time, key, node, node_with, settings,
};

#[tokio::test]
async fn each_side_learns_the_key_and_the_protocol_of_the_other() {
    let (client, server) = (node(1), node(2));

    let (ours, theirs) = connected(&client, &server).await;

    assert_eq!((ours.peer(), theirs.peer()), (id(2), id(1)));
    assert_eq!((ours.alpn(), theirs.alpn()), (Alpn::Peer, Alpn::Peer));
    assert_eq!(ours.remote_addr(), server.local_addr());
    assert_eq!(theirs.remote_addr(), client.local_addr());
    echo(&ours, &theirs, b"hello").await;
    echo(&theirs, &ours, &vec![7; 3_000_000]).await;
}

#[tokio::test]
async fn the_dialing_side_chooses_among_the_protocols_offered() {
    let (client, server) = (node(1), node(2));

    let dial = client.connect(Expect::Any, server.local_addr(), Alpn::Trust);
    let (ours, theirs) = in_time(async { tokio::join!(dial, accepted(&server)) }).await;

    assert_eq!(ours.unwrap().alpn(), Alpn::Trust);
    assert_eq!(theirs.alpn(), Alpn::Trust);
}

#[tokio::test]
async fn without_a_protocol_in_common_the_versions_differ() {
    let (client, rendezvous) = (node(1), node_with(2, settings(&[Alpn::Registry])));

    let dial = client.connect(Expect::Key(id(2)), rendezvous.local_addr(), Alpn::Peer);
    let (ours, theirs) = in_time(async {
        tokio::join!(dial, async { rendezvous.accept().await.unwrap().accept().await })
    })
    .await;

    assert!(matches!(ours, Err(ConnectError::VersionMismatch)), "{ours:?}");
    assert!(theirs.is_err());
}

#[tokio::test]
async fn somebody_else_is_not_taken_for_the_peer() {
    let (client, server) = (node(1), node(2));

    let dial = client.connect(Expect::Key(id(3)), server.local_addr(), Alpn::Peer);
    let (ours, theirs) = in_time(async {
        tokio::join!(dial, async { server.accept().await.unwrap().accept().await })
    })
    .await;

    let Err(ConnectError::WrongKey { expected, got }) = ours else { panic!("{ours:?}") };
    assert_eq!((expected, got), (id(3), id(2)));
    assert!(theirs.is_err(), "the server must not think it has a connection");
}

#[tokio::test]
async fn on_first_contact_any_key_will_do_and_is_told() {
    let (client, server) = (node(1), node(2));

    let dial = client.connect(Expect::Any, server.local_addr(), Alpn::Peer);
    let (ours, _theirs) = in_time(async { tokio::join!(dial, accepted(&server)) }).await;

    assert_eq!(ours.unwrap().peer(), id(2));
}

#[tokio::test]
async fn every_key_exchange_meets_every_other() {
    let all = [KeyExchange::Hybrid, KeyExchange::ClassicalFirst, KeyExchange::ClassicalOnly];
    for ours in all {
        for theirs in all {
            let client = node_with(1, Settings { key_exchange: ours, ..settings(&[]) });
            let server = node_with(2, Settings { key_exchange: theirs, ..settings(&[Alpn::Peer]) });

            let (ours, theirs) = connected(&client, &server).await;

            echo(&ours, &theirs, b"hello").await;
        }
    }
}

#[tokio::test]
async fn a_socket_for_all_addresses_takes_both_families() {
    let server = node_with(2, Settings::new("[::]:0".parse().unwrap(), vec![Alpn::Peer]));
    let port = server.local_addr().port();
    let four = node(1);
    let six = node_with(3, Settings::new("[::1]:0".parse().unwrap(), vec![]));

    let (_a, by_four) = connected_at(&four, &server, (Ipv4Addr::LOCALHOST, port).into()).await;
    let (_b, by_six) =
        connected_at(&six, &server, ("::1".parse::<IpAddr>().unwrap(), port).into()).await;
    let (back, _c) = connected(&server, &four).await;

    assert_eq!(by_four.remote_addr(), four.local_addr());
    assert_eq!(by_six.remote_addr(), six.local_addr());
    assert_eq!(back.remote_addr(), four.local_addr());
}

#[tokio::test]
async fn an_unwanted_handshake_is_refused_as_busy() {
    let (client, server) = (node(1), node(2));

    let dial = client.connect(Expect::Key(id(2)), server.local_addr(), Alpn::Peer);
    let (ours, ()) =
        in_time(async { tokio::join!(dial, async { server.accept().await.unwrap().refuse() }) })
            .await;

    assert!(matches!(ours, Err(ConnectError::Busy)), "{ours:?}");
}

#[tokio::test]
async fn in_a_crowd_strangers_prove_their_address_and_wait_for_a_slot() {
    let server = node_with(9, Settings { max_handshakes: 2, ..settings(&[Alpn::Peer]) });
    let clients = [node(1), node(2), node(3)];
    let dial = |client: usize| {
        clients[client].connect(Expect::Key(id(9)), server.local_addr(), Alpn::Peer)
    };
    let serve = async {
        let first = server.accept().await.unwrap();
        let second = server.accept().await.unwrap();
        let no_third = tokio::select! {
            biased;
            third = server.accept() => Some(third.unwrap().remote_addr()),
            connection = first.accept() => { drop(connection); None },
        };
        let validated = second.is_validated();
        let second = second.accept().await.unwrap();
        (validated, no_third, second, accepted(&server).await)
    };

    let (a, b, c, (validated, no_third, ..)) =
        in_time(async { tokio::join!(dial(0), dial(1), dial(2), serve) }).await;

    assert!(validated, "the second had to prove its address");
    assert_eq!(no_third, None, "a third came in while both slots were taken");
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
}

#[tokio::test]
async fn jumbo_frames_need_both_sides() {
    let jumbo = |seed| {
        node_with(seed, Settings { mtu_search: MtuSearch::Jumbo, ..settings(&[Alpn::Peer]) })
    };
    let (client, server, ordinary) = (jumbo(1), jumbo(2), node(3));
    let grown = async |server: &Endpoint, to: u16| {
        let (ours, theirs) = connected(&client, server).await;
        in_time(async {
            while ours.traffic().mtu < to || theirs.traffic().mtu < to {
                echo(&ours, &theirs, &vec![7; 100_000]).await;
            }
        })
        .await;
        (ours, theirs)
    };

    drop(grown(&server, 4990).await);

    let (ours, theirs) = grown(&ordinary, 1436).await;
    // More searching would not come to more.
    echo(&ours, &theirs, &vec![7; 4_000_000]).await;
    assert_eq!((ours.traffic().mtu, theirs.traffic().mtu), (1436, 1436));
}

#[tokio::test]
async fn only_peers_look_for_larger_datagrams() {
    let client = node(1);
    let accept = vec![Alpn::Peer, Alpn::Trust, Alpn::Registry];
    let plain = node_with(2, Settings { mtu_search: MtuSearch::None, ..settings(&accept) });
    let probing = node_with(3, settings(&accept));
    let connected = async |server: &Endpoint, alpn| {
        let dial = client.connect(Expect::Key(server.id()), server.local_addr(), alpn);
        let (ours, theirs) = in_time(async { tokio::join!(dial, accepted(server)) }).await;
        (ours.unwrap(), theirs)
    };

    // Both directions of each carry enough for a probe to go with it.
    for alpn in [Alpn::Trust, Alpn::Registry] {
        let (ours, theirs) = connected(&plain, alpn).await;
        echo(&ours, &theirs, &vec![7; 1_000_000]).await;
        assert_eq!((ours.traffic().mtu, theirs.traffic().mtu), (1200, 1200), "{alpn:?}");
    }
    let (ours, theirs) = connected(&probing, Alpn::Peer).await;
    in_time(async {
        while ours.traffic().mtu <= 1200 || theirs.traffic().mtu <= 1200 {
            echo(&ours, &theirs, &vec![7; 100_000]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = node(1);

    let second = Endpoint::bind(key(2), Settings::new(first.local_addr(), vec![]));

    let Err(BindError::Socket { listen, .. }) = second else { panic!("{second:?}") };
    assert_eq!(listen, first.local_addr());
}

#[test]
fn without_a_runtime_there_is_no_endpoint() {
    let outcome = Endpoint::bind(key(1), settings(&[]));

    assert!(matches!(outcome, Err(BindError::NoRuntime)), "{outcome:?}");
}

#[tokio::test]
async fn everything_may_move_between_threads() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let (endpoint, peers) = (node(1), [node(2).local_addr()]);
    sendable(endpoint.clone());
    drop(sendable(endpoint.connect(Expect::Any, peers[0], Alpn::Peer)));
    drop(sendable(endpoint.connect_any(Expect::Key(id(2)), &peers, Alpn::Peer)));
    drop(sendable(endpoint.accept()));
    let moves = |connection: &Connection| drop(sendable(connection.closed()));
    let (ours, _theirs) = connected(&endpoint, &node(3)).await;
    moves(&ours);
}
