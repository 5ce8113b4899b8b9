//! How connections end: politely, by silence, by a restart.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot_transport::{Alpn, CloseReason, Connection, Endpoint, Expect, Priority, Settings};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::nodes::{
    accepted, connected, connected_at, echo, id, in_time, node, node_with, settings,
};

#[tokio::test]
async fn a_close_carries_its_code_and_words() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    assert!(!ours.is_closed() && ours.close_reason().is_none());

    ours.close(1, "not trusted");

    let there = in_time(theirs.closed()).await;
    assert_eq!(there, CloseReason::PeerClosed { code: 1, reason: "not trusted".to_owned() });
    assert_eq!(ours.closed().await, CloseReason::LocallyClosed);
    assert!(ours.is_closed() && theirs.is_closed());
    let open = theirs.open_bi(Priority::Control).await;
    assert_eq!(open.map(drop), Err(there));
}

#[tokio::test]
async fn a_dropped_connection_says_goodbye() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;

    drop(ours);

    let reason = in_time(theirs.closed()).await;
    assert_eq!(reason, CloseReason::PeerClosed { code: 0, reason: String::new() });
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_sends_less_than_a_packet_a_second() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    echo(&ours, &theirs, b"hello").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent = || client.stats().sent + server.stats().sent;
    let before = sent();

    tokio::time::sleep(Duration::from_secs(100)).await;

    let packets = sent() - before;
    assert!((40..=60).contains(&packets), "{packets} packets in 100 s");
    assert!(!ours.is_closed() && !theirs.is_closed());
}

#[tokio::test(start_paused = true)]
async fn after_a_close_there_is_silence() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;
    echo(&ours, &theirs, b"hello").await;

    ours.close(0, "goodbye");
    let reason = theirs.closed().await;
    client.wait_idle().await;
    server.wait_idle().await;
    let sent = (client.stats().sent, server.stats().sent);
    let knocked = tokio::time::timeout(Duration::from_secs(60), server.accept()).await;

    assert!(knocked.is_err());
    assert!(matches!(reason, CloseReason::PeerClosed { .. }));
    assert_eq!((client.open_connections(), server.open_connections()), (0, 0));
    assert_eq!((client.stats().sent, server.stats().sent), sent);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_on_keepalives() {
    let (client, server) = (node(1), node(2));
    let (ours, theirs) = connected(&client, &server).await;

    let ended = tokio::time::timeout(Duration::from_secs(3600), ours.closed()).await;

    assert!(ended.is_err(), "{ended:?}");
    echo(&ours, &theirs, b"still here").await;
}

/// A path between two sockets that can be cut.
struct Path {
    addr: SocketAddr,
    carriers: JoinSet<()>,
}

impl Path {
    async fn to(server: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = near.local_addr().unwrap();
        let mut carriers = JoinSet::new();
        carriers.spawn(async move {
            let (mut out, mut back) = (vec![0; 65_536], vec![0; 65_536]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((len, from)) = near.recv_from(&mut out) => {
                        client = Some(from);
                        far.send_to(&out[..len], server).await.unwrap();
                    }
                    Ok((len, _)) = far.recv_from(&mut back) => {
                        near.send_to(&back[..len], client.unwrap()).await.unwrap();
                    }
                }
            }
        });
        Self { addr, carriers }
    }

    async fn cut(mut self) {
        self.carriers.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_behind_a_cut_path_is_gone_within_ten_seconds() {
    let (client, server) = (node(1), node(2));
    let path = Path::to(server.local_addr()).await;
    let (ours, theirs) = connected_at(&client, &server, path.addr).await;
    echo(&ours, &theirs, b"hello").await;

    path.cut().await;
    let began = tokio::time::Instant::now();
    let (here, there) = tokio::join!(ours.closed(), theirs.closed());

    assert_eq!((here, there), (CloseReason::TimedOut, CloseReason::TimedOut));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// A node in a runtime of its own that accepts one connection and is killed:
/// its runtime goes first, so that nobody is told anything.
struct Doomed {
    addr: SocketAddr,
    kill: oneshot::Sender<()>,
    dead: oneshot::Receiver<()>,
}

impl Doomed {
    async fn start(seed: u8) -> Self {
        let (bound, addr) = oneshot::channel();
        let (kill, killed) = oneshot::channel();
        let (died, dead) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            let held: (Endpoint, Connection) = runtime.block_on(async {
                let endpoint = node(seed);
                bound.send(endpoint.local_addr()).unwrap();
                let connection = accepted(&endpoint).await;
                killed.await.unwrap();
                (endpoint, connection)
            });
            drop(runtime);
            drop(held);
            died.send(()).unwrap();
        });
        Self { addr: addr.await.unwrap(), kill, dead }
    }

    async fn kill(self) -> SocketAddr {
        self.kill.send(()).unwrap();
        in_time(self.dead).await.unwrap();
        self.addr
    }
}

#[tokio::test]
async fn a_restarted_peer_resets_its_old_connections_at_once() {
    let client = node(1);
    let doomed = Doomed::start(2).await;
    let dial = client.connect(Expect::Key(id(2)), doomed.addr, Alpn::Peer);
    let ours = in_time(dial).await.unwrap();
    let addr = doomed.kill().await;
    let _reborn = node_with(2, Settings { listen: addr, ..settings(&[Alpn::Peer]) });
    assert!(!ours.is_closed(), "a killed node says nothing");

    let began = Instant::now();
    let (mut send, _recv) = ours.open_bi(Priority::Message).await.unwrap();
    send.write_all(b"are you there?").await.unwrap();
    let reason = in_time(ours.closed()).await;

    assert_eq!(reason, CloseReason::Reset);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_keepalive_is_enough_to_learn_of_a_restart() {
    let quick = Settings { keep_alive: Duration::from_millis(50), ..settings(&[]) };
    let client = node_with(1, quick);
    let doomed = Doomed::start(2).await;
    let dial = client.connect(Expect::Key(id(2)), doomed.addr, Alpn::Peer);
    let ours = in_time(dial).await.unwrap();

    let addr = doomed.kill().await;
    let _reborn = node_with(2, Settings { listen: addr, ..settings(&[Alpn::Peer]) });

    assert_eq!(in_time(ours.closed()).await, CloseReason::Reset);
}

#[tokio::test]
async fn another_key_on_the_same_port_cannot_reset() {
    let timing = Settings {
        keep_alive: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(500),
        ..settings(&[])
    };
    let client = node_with(1, timing);
    let doomed = Doomed::start(2).await;
    let dial = client.connect(Expect::Key(id(2)), doomed.addr, Alpn::Peer);
    let ours = in_time(dial).await.unwrap();

    let addr = doomed.kill().await;
    let _other = node_with(3, Settings { listen: addr, ..settings(&[Alpn::Peer]) });

    assert_eq!(in_time(ours.closed()).await, CloseReason::TimedOut);
}

#[tokio::test]
async fn an_endpoint_that_closes_tells_all_its_peers() {
    let (hub, nodes) = (node(9), [node(1), node(2), node(3)]);
    let mut connections = Vec::new();
    for node in &nodes {
        connections.push(connected(node, &hub).await);
    }

    hub.close(0, "stopping");
    in_time(hub.wait_idle()).await;

    for (ours, _theirs) in &connections {
        let reason = in_time(ours.closed()).await;
        assert_eq!(reason, CloseReason::PeerClosed { code: 0, reason: "stopping".to_owned() });
    }
}
