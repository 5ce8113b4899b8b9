//! Endpoints with known keys, and what tests do with two of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot_identity::{NodeId, NodeKey};
use pilot_transport::{Alpn, Connection, Endpoint, Expect, Priority, Settings};
use zeroize::Zeroizing;

/// Far beyond what anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])))
}

pub(crate) fn id(seed: u8) -> NodeId {
    key(seed).id()
}

pub(crate) fn settings(accept: &[Alpn]) -> Settings {
    Settings::new("127.0.0.1:0".parse().unwrap(), accept.to_vec())
}

/// A node that accepts peers.
pub(crate) fn node(seed: u8) -> Endpoint {
    node_with(seed, settings(&[Alpn::Peer, Alpn::Trust]))
}

pub(crate) fn node_with(seed: u8, settings: Settings) -> Endpoint {
    Endpoint::bind(key(seed), settings).unwrap()
}

/// A peer connection, as its client and its server see it.
pub(crate) async fn connected(client: &Endpoint, server: &Endpoint) -> (Connection, Connection) {
    connected_at(client, server, server.local_addr()).await
}

pub(crate) async fn connected_at(
    client: &Endpoint,
    server: &Endpoint,
    addr: SocketAddr,
) -> (Connection, Connection) {
    let dial = client.connect(Expect::Key(server.id()), addr, Alpn::Peer);
    let (ours, theirs) = in_time(async { tokio::join!(dial, accepted(server)) }).await;
    (ours.unwrap(), theirs)
}

pub(crate) async fn accepted(server: &Endpoint) -> Connection {
    server.accept().await.unwrap().accept().await.unwrap()
}

/// Sends `bytes` there and back on a stream of its own.
pub(crate) async fn echo(from: &Connection, to: &Connection, bytes: &[u8]) {
    let there = async {
        let (mut send, mut recv) = from.open_bi(Priority::Message).await.unwrap();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        recv.read_to_end(bytes.len()).await.unwrap()
    };
    let back = async {
        let (mut send, mut recv) = to.accept_bi().await.unwrap();
        let received = recv.read_to_end(bytes.len()).await.unwrap();
        send.write_all(&received).await.unwrap();
        send.finish().unwrap();
    };
    let (echoed, ()) = in_time(async { tokio::join!(there, back) }).await;
    assert!(echoed == bytes, "the echo differs");
}

pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing happened for {DEADLINE:?}"),
    }
}
