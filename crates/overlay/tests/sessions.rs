//! What a trusted peer may do with its connections, and what the end of trust does to them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pilot_identity::{NodeId, NodeKey, SignedGrant};
use pilot_overlay::{BoxFuture, Host, LinkEvent, Overlay, PeerStream, RegistryEvent, Setup};
use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::Register;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{BootId, Endpoints, Service, Tags, close};
use pilot_transport::{
    Alpn, CloseReason, Connection, Endpoint, Expect, Framed, FramedError, Priority, Settings,
};
use zeroize::Zeroizing;

/// Trusts everybody, or nobody.
struct Trusting(AtomicBool);

impl Host for Trusting {
    fn admits(&self, _: &NodeId) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn serve(self: Arc<Self>, _: PeerStream) -> BoxFuture<()> {
        Box::pin(async {})
    }

    fn trust_offer(
        self: Arc<Self>,
        _: NodeId,
        _: SocketAddr,
        _: TrustOffer,
    ) -> BoxFuture<TrustAnswer> {
        Box::pin(async { TrustAnswer::Invalid })
    }

    fn grant(self: Arc<Self>, _: NodeId, _: SignedGrant) -> BoxFuture<bool> {
        Box::pin(async { false })
    }

    fn registry(self: Arc<Self>, _: RegistryEvent) -> BoxFuture<()> {
        Box::pin(async {})
    }

    fn link(&self, _: NodeId, _: LinkEvent) {}
}

fn endpoint(seed: u8) -> Endpoint {
    let key = Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])));
    let settings = Settings::new(([127, 0, 0, 1], 0).into(), vec![Alpn::Peer]);
    Endpoint::bind(key, settings).unwrap()
}

/// A node, the peer that dials it, and whether the node trusts it.
fn node_and_peer() -> (Overlay, Endpoint, Endpoint, Arc<Trusting>) {
    let host = Arc::new(Trusting(AtomicBool::new(true)));
    let node = endpoint(1);
    let register = Register {
        minor: 0,
        name: None,
        tags: Tags::default(),
        public: false,
        endpoints: Endpoints::default(),
        fixed: false,
        boot: BootId(1),
    };
    let overlay = Overlay::start(Setup {
        endpoint: node.clone(),
        me: node.id(),
        boot: BootId(1),
        host: Arc::clone(&host) as Arc<dyn Host>,
        cards: Vec::new(),
        registry: None,
        register,
    });
    (overlay, node, endpoint(2), host)
}

async fn stream(connection: &Connection, service: Service) -> Result<Framed, FramedError> {
    let (send, recv) = connection.open_bi(Priority::Control).await?;
    let mut framed = Framed { send, recv };
    framed.send.write_all(&service.number().to_be_bytes()).await?;
    Ok(framed)
}

/// Dials and says hello.
async fn session(peer: &Endpoint, node: &Endpoint) -> Connection {
    let expect = Expect::Key(node.id());
    let connection = peer.connect(expect, node.local_addr(), Alpn::Peer).await.unwrap();
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

async fn closed_with(connection: &Connection) -> u32 {
    match tokio::time::timeout(Duration::from_secs(20), connection.closed()).await {
        Ok(CloseReason::PeerClosed { code, .. }) => code,
        other => panic!("not closed by the node: {other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_trust_closes_every_connection_of_the_peer() {
    let (overlay, node, peer, host) = node_and_peer();
    let (first, second) = (session(&peer, &node).await, session(&peer, &node).await);
    assert!(!first.is_closed(), "a doubled connection is its dialler's to close");

    host.0.store(false, Ordering::SeqCst);
    overlay.part(&peer.id(), close::NOT_TRUSTED, "trust has ended");

    assert_eq!(closed_with(&second).await, close::NOT_TRUSTED);
    assert_eq!(closed_with(&first).await, close::NOT_TRUSTED);
}

#[tokio::test]
async fn a_peer_that_goes_on_dialling_loses_its_oldest_connections() {
    let (_overlay, node, peer, _host) = node_and_peer();
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
