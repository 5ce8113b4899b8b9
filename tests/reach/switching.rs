//! Relay first, direct when proven, and back, under one QUIC connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use pilot_rendezvous::beacon::Beacon;
use pilot_tests::Link;
use pilot_transport::{Alpn, Connection, MtuSearch, Priority, Settings};

use crate::ground::{Node, beacon, carry, connect, friends, id, until, within};

#[tokio::test]
async fn two_that_share_no_network_meet_at_the_relay_and_stay_there() {
    let beacon = beacon(9);
    let (four, six) = (Node::v4(1, Some(&beacon)), Node::v6(2, Some(&beacon)));
    four.trust(&six);
    six.trust(&four);
    four.bound().await;
    six.bound().await;

    let (ours, theirs) = connect(&four, &six).await;

    assert!(four.is_relayed(id(2)) && six.is_relayed(id(1)));
    let bytes: Vec<u8> =
        (0..5_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    carry(&ours, &theirs, &bytes).await;
    carry(&theirs, &ours, &bytes).await;
    assert!(four.is_relayed(id(2)), "{:?}", four.path(id(2)));
}

#[tokio::test]
async fn the_first_byte_goes_by_the_relay_and_the_rest_straight() {
    let beacon = beacon(9);
    let (one, two) = friends(&beacon).await;

    let (ours, theirs) = connect(&one, &two).await;
    carry(&ours, &theirs, b"hello").await;
    until("direct", || one.is_direct(id(2)) && two.is_direct(id(1))).await;
    carry(&ours, &theirs, &vec![7; 2_000_000]).await;

    assert_eq!(ours.remote_addr(), two.endpoint.local_addr());
    assert_eq!(theirs.remote_addr(), one.endpoint.local_addr());
    assert!(ours.follows_paths() && !ours.is_closed() && !theirs.is_closed());
}

#[tokio::test]
async fn without_a_beacon_a_path_is_proven_before_it_is_used() {
    let (one, two) = (Node::v4(1, None), Node::v4(2, None));
    one.trust(&two);
    two.trust(&one);
    one.endpoint.reach().learn(&id(2), &[two.endpoint.local_addr()]);

    let started = Instant::now();
    let (ours, theirs) = connect(&one, &two).await;

    assert!(started.elapsed() < Duration::from_millis(900), "no packet was lost for a second");
    carry(&ours, &theirs, b"hello").await;
    assert_eq!(ours.remote_addr(), two.endpoint.local_addr());
}

#[tokio::test]
async fn who_is_not_trusted_gets_no_path_and_no_answer() {
    let beacon = beacon(9);
    let (one, two) = (Node::v4(1, Some(&beacon)), Node::v4(2, Some(&beacon)));
    one.trust(&two);
    one.bound().await;
    two.bound().await;
    one.endpoint.reach().learn(&id(2), &[two.endpoint.local_addr()]);

    let dial = one.endpoint.connect_peer(id(2), Alpn::Peer);
    let outcome = tokio::time::timeout(Duration::from_millis(700), dial).await;

    assert!(outcome.is_err() || outcome.is_ok_and(|dialled| dialled.is_err()));
    assert!(!one.is_direct(id(2)));
    assert!(two.endpoint.reach().path(&id(1)).is_none());
}

#[tokio::test]
async fn a_transfer_goes_on_when_the_beacon_dies_and_the_path_is_direct() {
    let beacon = beacon(9);
    let (one, two) = friends(&beacon).await;
    let (ours, theirs) = connect(&one, &two).await;
    until("direct", || one.is_direct(id(2)) && two.is_direct(id(1))).await;

    drop(beacon);

    let longest = longest_pause(&ours, &theirs, Duration::from_secs(3)).await;
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert!(one.is_direct(id(2)));
}

#[tokio::test]
async fn a_transfer_of_jumbo_frames_goes_on_through_the_relay_and_straight_again() {
    let (pair, links) = jumbo(|node| Link::before(node, Duration::ZERO)).await;
    let content = vec![7; 1_000_000];
    let Pair { one, two, ours, theirs, .. } = &pair;
    grown(&pair, 4990).await;

    links.iter().for_each(|link| link.cut(true));
    let cut = Instant::now();

    carry(ours, theirs, &content).await;
    carry(theirs, ours, &content).await;
    // The relay does not take what QUIC sends: a dead path is noticed after 3 s at
    // most, and finding another size would take as long again.
    let took = cut.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(ours.traffic().mtu, 4990);
    assert!(one.is_relayed(id(2)) && two.is_relayed(id(1)));

    links.iter().for_each(|link| link.cut(false));
    until("direct", || one.is_direct(id(2)) && two.is_direct(id(1))).await;
    carry(ours, theirs, &content).await;
}

#[tokio::test]
async fn where_jumbo_frames_do_not_pass_ordinary_ones_are_found() {
    let (pair, _links) = jumbo(|node| Link::losing(node, Duration::ZERO, 0.0)).await;

    grown(&pair, 1436).await;

    carry(&pair.ours, &pair.theirs, &vec![7; 4_000_000]).await;
    assert_eq!(pair.ours.traffic().mtu, 1436);
}

/// Two nodes that look for jumbo frames, and the connection between them.
struct Pair {
    one: Node,
    two: Node,
    ours: Connection,
    theirs: Connection,
    _beacon: Beacon,
    _to_beacon: Link,
}

/// They are straight reached by these links alone.
async fn jumbo(link: impl Fn(SocketAddr) -> io::Result<Link>) -> (Pair, [Link; 2]) {
    let beacon = beacon(9);
    // Behind a link, too: so it sees no address at which others reach a node.
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, beacon.local_addr().port()));
    let to_beacon = Link::before(at, Duration::ZERO).unwrap();
    let behind = |seed| {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = Settings::new(listen, vec![Alpn::Peer]);
        let settings = Settings { mtu_search: MtuSearch::Jumbo, ..settings };
        let node = Node::with(seed, settings, Some(to_beacon.addr()));
        let link = link(node.endpoint.local_addr()).unwrap();
        node.endpoint.reach().set_fixed(link.addr());
        (node, link)
    };
    let ((one, one_link), (two, two_link)) = (behind(1), behind(2));
    one.trust(&two);
    two.trust(&one);
    one.bound().await;
    two.bound().await;
    let (ours, theirs) = connect(&one, &two).await;
    until("direct", || one.is_direct(id(2)) && two.is_direct(id(1))).await;
    let pair = Pair { one, two, ours, theirs, _beacon: beacon, _to_beacon: to_beacon };
    (pair, [one_link, two_link])
}

/// Sends until datagrams are as large as that.
async fn grown(pair: &Pair, mtu: u16) {
    within(async {
        while pair.ours.traffic().mtu < mtu {
            carry(&pair.ours, &pair.theirs, &vec![7; 1_000_000]).await;
        }
    })
    .await;
}

/// Sends there and back for so long; the longest time without an answer.
async fn longest_pause(ours: &Connection, theirs: &Connection, for_long: Duration) -> Duration {
    let echo = async {
        let (mut send, mut recv) = theirs.accept_bi().await.unwrap();
        let mut buffer = [0; 1000];
        while let Ok(Some(len)) = recv.read(&mut buffer).await {
            let read = buffer.get(..len).unwrap_or_default();
            if send.write_all(read).await.is_err() {
                break;
            }
        }
    };
    let ask = async {
        let (mut send, mut recv) = ours.open_bi(Priority::Task).await.unwrap();
        let (begin, mut longest) = (Instant::now(), Duration::ZERO);
        while begin.elapsed() < for_long {
            let asked = Instant::now();
            send.write_all(&[1; 1000]).await.unwrap();
            recv.read_exact(&mut [0; 1000]).await.unwrap();
            longest = longest.max(asked.elapsed());
        }
        send.finish().unwrap();
        longest
    };
    let ((), longest) = within(async { tokio::join!(echo, ask) }).await;
    longest
}
