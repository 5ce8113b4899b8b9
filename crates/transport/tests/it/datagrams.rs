//! What is no QUIC: handed over, or dropped and counted, without a trace on connections.

use std::net::SocketAddr;

use pilot_transport::{Alpn, Kind, LocalId, MARK, Origin, SendDatagramError, Settings};
use tokio::net::UdpSocket;

use crate::nodes::{connected, echo, in_time, node, node_with, settings};

/// A deterministic stream of bytes (SplitMix64), so that a failure repeats.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    /// Between 0 and `limit` bytes.
    fn bytes(&mut self, limit: u64) -> Vec<u8> {
        let len = self.next() % (limit + 1);
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Garbage of all kinds: pure, with a QUIC first byte, an Initial of
    /// version 1 cut off or filled with noise, half a STUN header.
    fn datagram(&mut self) -> Vec<u8> {
        let noise = self.bytes(1600);
        let head: &[u8] = match self.next() % 5 {
            0 => &[],
            1 => &[0x40],
            2 => &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x96],
            3 => &[0xe0, 0, 0, 0, 1, 8],
            _ => &[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4],
        };
        let mut datagram = [head, &noise].concat();
        datagram.truncate(1600);
        datagram
    }
}

fn stun() -> Vec<u8> {
    let mut binding_request = vec![0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
    binding_request.extend(1..=12);
    binding_request
}

fn marked(len: usize) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.resize(len, 0xee);
    bytes
}

fn to_main(from: SocketAddr) -> Origin {
    Origin::Udp { local: LocalId::MAIN, from }
}

async fn stranger() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[tokio::test]
async fn garbage_does_not_disturb_an_open_connection() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    let (stranger, _) = stranger().await;
    let mut noise = Noise(2026);
    let mut thrown = 0;

    for _ in 0..100 {
        for _ in 0..100 {
            stranger.send_to(&noise.datagram(), server.local_addr()).await.unwrap();
            thrown += 1;
        }
        echo(&ours, &theirs, b"still here").await;
    }

    let stats = server.stats();
    assert!(stats.garbage > thrown / 5, "{stats:?}");
    assert!(stats.quic > thrown / 5, "{stats:?}");
    assert_eq!(server.open_connections(), 1);
    assert!(!ours.is_closed() && !theirs.is_closed());
}

#[tokio::test]
async fn stun_and_marked_datagrams_come_out_beside_a_connection() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    let (stranger, stranger_addr) = stranger().await;
    let mut datagrams = server.take_datagrams().unwrap();
    assert!(server.take_datagrams().is_none());

    stranger.send_to(&stun(), server.local_addr()).await.unwrap();
    client.send_datagram(server.local_addr(), &marked(4)).unwrap();
    let (first, second) =
        in_time(async { (datagrams.next().await.unwrap(), datagrams.next().await.unwrap()) }).await;

    assert_eq!((first.origin, first.kind), (to_main(stranger_addr), Kind::Stun));
    assert_eq!(first.bytes, stun());
    assert_eq!((second.origin, second.kind), (to_main(client.local_addr()), Kind::Ours));
    assert_eq!(second.bytes, marked(4));
    echo(&ours, &theirs, b"hello").await;
}

#[tokio::test]
async fn datagrams_in_the_midst_of_a_bulk_transfer_are_found() {
    const COUNT: usize = 200;
    let settings = Settings { max_datagrams: COUNT, ..settings(&[Alpn::Peer]) };
    let (client, server) = (node(1), node_with(2, settings));
    let (ours, theirs) = connected(&client, &server).await;
    let mut datagrams = server.take_datagrams().unwrap();
    // As long as QUIC's own, so that the kernel may put them into one batch.
    let sent = marked(1436);

    let content = vec![1; 8_000_000];
    let bulk = echo(&ours, &theirs, &content);
    let beside = async {
        for _ in 0..COUNT {
            // A full buffer drops it, as the network may.
            match client.send_datagram(server.local_addr(), &sent) {
                Ok(()) | Err(SendDatagramError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(bulk, beside);

    let found = server.stats().aside;
    assert!(found > 0);
    for _ in 0..found {
        let datagram = in_time(datagrams.next()).await.unwrap();
        assert_eq!(datagram.origin, to_main(client.local_addr()));
        assert_eq!(datagram.bytes[..], sent[..]);
    }
    assert_eq!(server.stats().garbage, 0);
}

#[tokio::test]
async fn datagrams_that_nobody_takes_are_bounded() {
    let settings = Settings { max_datagrams: 8, ..settings(&[Alpn::Peer]) };
    let (client, server) = (node(1), node_with(2, settings));
    let (ours, theirs) = connected(&client, &server).await;

    for _ in 0..100 {
        client.send_datagram(server.local_addr(), &stun()).unwrap();
    }
    echo(&ours, &theirs, b"a datagram behind them").await;

    let stats = server.stats();
    assert_eq!((stats.aside, stats.dropped, stats.garbage), (8, 92, 0));
}

#[tokio::test]
async fn only_what_can_be_told_apart_is_sent() {
    let (four, to) = (node(1), node(2).local_addr());

    for bytes in [&b""[..], &[0x40; 100], &[0; 100], &marked(1473)] {
        let outcome = four.send_datagram(to, bytes);
        assert!(matches!(outcome, Err(SendDatagramError::Kind)), "{outcome:?}");
    }
    let outcome = four.send_datagram("[::1]:9".parse().unwrap(), &stun());
    assert!(matches!(outcome, Err(SendDatagramError::Unreachable { .. })), "{outcome:?}");
}
