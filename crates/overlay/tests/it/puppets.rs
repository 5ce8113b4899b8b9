//! What a trusted peer may do with its connections, and what the end of trust
//! does to them: the peer is an endpoint that a test moves.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pilot_overlay::Card;
use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::{BootId, Endpoints, Service, close};
use pilot_transport::{
    Alpn, CloseReason, Connection, Endpoint, Expect, Framed, FramedError, Priority, Settings,
};

use crate::nodes::{Node, key, within};

/// A node, and a peer that it trusts.
fn node_and_peer() -> (Node, Endpoint) {
    let node = Node::start(1, 1);
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let peer = Endpoint::bind(key(2), Settings::new(listen, vec![Alpn::Peer])).unwrap();
    node.admit(peer.id());
    (node, peer)
}

async fn stream(connection: &Connection, service: Service) -> Result<Framed, FramedError> {
    let (send, recv) = connection.open_bi(Priority::Control).await?;
    let mut framed = Framed { send, recv };
    framed.send.write_all(&service.number().to_be_bytes()).await?;
    Ok(framed)
}

/// Dials and says hello.
async fn session(peer: &Endpoint, node: &Node) -> Connection {
    let (expect, at) = (Expect::Key(node.id), node.overlay.local_addr());
    let connection = peer.connect(expect, at, Alpn::Peer).await.unwrap();
    let mut control = stream(&connection, Service::Control).await.unwrap();
    let hello = Hello { minor: 0, boot: BootId(2), capabilities: 0 };
    control.send(&ControlRequest::Hello(hello), MAX_SMALL_FRAME).await.unwrap();
    let answer = control.expect::<ControlAnswer>(MAX_SMALL_FRAME).await.unwrap();
    assert!(matches!(answer, ControlAnswer::Hello(_)), "{answer:?}");
    // The node has it in use once it serves streams on it.
    let mut echo = stream(&connection, Service::Echo).await.unwrap();
    echo.send.write_all(b"?").await.unwrap();
    echo.finish().unwrap();
    assert_eq!(echo.recv.read_to_end(9).await.unwrap(), b"?");
    connection
}

/// Answers every hello but the first.
async fn be_deaf_once(peer: &Endpoint) {
    let heard = Cell::new(0);
    let serve = async |connection: Connection| {
        // Who only knocks says nothing.
        let Ok((send, recv)) = connection.accept_bi().await else { return };
        let mut control = Framed { send, recv };
        control.recv.read_exact(&mut [0; 2]).await.unwrap();
        let asked = control.expect::<ControlRequest>(MAX_SMALL_FRAME).await.unwrap();
        assert!(matches!(asked, ControlRequest::Hello(_)), "{asked:?}");
        if heard.replace(heard.get() + 1) > 0 {
            let hello = Hello { minor: 0, boot: BootId(2), capabilities: 0 };
            control.send(&ControlAnswer::Hello(hello), MAX_SMALL_FRAME).await.unwrap();
            control.finish().unwrap();
        }
        drop(connection.closed().await);
    };
    let mut served = FuturesUnordered::new();
    loop {
        tokio::select! {
            incoming = peer.accept() => {
                served.push(serve(incoming.unwrap().accept().await.unwrap()));
            }
            Some(()) = served.next() => {}
        }
    }
}

async fn closed_with(connection: &Connection) -> u32 {
    match tokio::time::timeout(Duration::from_secs(20), connection.closed()).await {
        Ok(CloseReason::PeerClosed { code, .. }) => code,
        other => panic!("not closed by the node: {other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_trust_closes_every_connection_of_the_peer() {
    let (node, peer) = node_and_peer();
    let (first, second) = (session(&peer, &node).await, session(&peer, &node).await);
    assert!(!first.is_closed(), "a doubled connection is its dialler's to close");

    node.expel(peer.id());
    node.overlay.part(&peer.id(), close::NOT_TRUSTED, "trust has ended");

    assert_eq!(closed_with(&second).await, close::NOT_TRUSTED);
    assert_eq!(closed_with(&first).await, close::NOT_TRUSTED);
}

#[tokio::test]
async fn a_peer_that_goes_on_dialling_loses_its_oldest_connections() {
    let (node, peer) = node_and_peer();
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(session(&peer, &node).await);
    }

    let (old, new) = sessions.split_at(3);
    for session in old {
        assert_eq!(closed_with(session).await, close::REPLACED);
    }
    assert!(new.iter().all(|session| !session.is_closed()));
}

#[tokio::test]
async fn a_hello_that_is_never_answered_is_said_again_on_another_connection() {
    let (node, peer) = node_and_peer();
    peer.reach().admit(node.id);
    let endpoints = Endpoints::new([peer.local_addr()]);
    node.overlay.learn(peer.id(), Card { endpoints, ..Card::default() });

    let session = tokio::select! {
        () = be_deaf_once(&peer) => unreachable!("it goes on"),
        () = peer.reach().drive() => unreachable!("it goes on"),
        session = within(node.overlay.session(peer.id())) => session,
    };

    assert_eq!(session.unwrap().peer(), peer.id());
}
