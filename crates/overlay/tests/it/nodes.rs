//! Nodes whose host admits whom a test names, and tells what it hears.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilot_identity::{NodeId, NodeKey, SignedGrant};
use pilot_overlay::{
    BoxFuture, Card, Host, LinkEvent, Overlay, PeerStream, RegistryEvent, Session, Setup,
};
use pilot_proto::registry::Register;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{BootId, Endpoints, MINOR_VERSION, Service, Tags};
use pilot_transport::{Alpn, Endpoint, Settings};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Beyond it a test has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Events of a host that nobody has read yet; more than any test makes.
const EVENTS: usize = 256;

pub(crate) struct Node {
    pub(crate) overlay: Overlay,
    pub(crate) id: NodeId,
    pub(crate) boot: BootId,
    host: Arc<TestHost>,
    events: Receiver<(NodeId, LinkEvent)>,
}

struct TestHost {
    admitted: Mutex<BTreeSet<NodeId>>,
    events: Sender<(NodeId, LinkEvent)>,
}

pub(crate) fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])))
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap()
}

impl Node {
    pub(crate) fn start(seed: u8, boot: u64) -> Self {
        let (key, boot) = (key(seed), BootId(boot));
        let id = key.id();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = Settings::new(listen, vec![Alpn::Peer, Alpn::Trust]);
        let endpoint = Endpoint::bind(key, settings).unwrap();
        let (sender, events) = channel(EVENTS);
        let host = Arc::new(TestHost { admitted: Mutex::default(), events: sender });
        let register = Register {
            minor: MINOR_VERSION,
            name: None,
            tags: Tags::default(),
            public: false,
            endpoints: Endpoints::default(),
            fixed: false,
            boot,
        };
        let overlay = Overlay::start(Setup {
            endpoint,
            me: id,
            boot,
            host: Arc::clone(&host) as Arc<dyn Host>,
            cards: Vec::new(),
            registry: None,
            beacons: Vec::new(),
            register,
        });
        Self { overlay, id, boot, host, events }
    }

    pub(crate) fn admit(&self, peer: NodeId) {
        self.host.admitted.lock().unwrap().insert(peer);
        self.overlay.admit(peer);
    }

    pub(crate) fn expel(&self, peer: NodeId) {
        self.host.admitted.lock().unwrap().remove(&peer);
        self.overlay.dismiss(&peer);
    }

    /// What a rendezvous would tell of this node.
    pub(crate) fn card(&self) -> Card {
        let endpoints = Endpoints::new([self.overlay.local_addr()]);
        Card { endpoints, boot: Some(self.boot), ..Card::default() }
    }

    /// Lets this node know where the other is.
    pub(crate) fn meet(&self, other: &Self) {
        self.overlay.learn(other.id, other.card());
    }

    /// The next event about `peer`.
    pub(crate) async fn hears(&mut self, peer: NodeId) -> LinkEvent {
        within(async {
            loop {
                let (about, event) = self.events.recv().await.unwrap();
                if about == peer {
                    return event;
                }
            }
        })
        .await
    }

    /// Events that have come and were not read.
    pub(crate) fn heard(&mut self) -> Vec<LinkEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|(_, event)| event).collect()
    }
}

/// A node in a thread of its own, which dies without a word.
pub(crate) struct Doomed {
    pub(crate) id: NodeId,
    end: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Doomed {
    /// A node that trusts `peer`, and that `peer` trusts and finds.
    pub(crate) fn start(seed: u8, boot: u64, peer: &Node) -> Self {
        let (end, ended) = tokio::sync::oneshot::channel();
        let (told, tells) = std::sync::mpsc::channel();
        let peer_id = peer.id;
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let node = Node::start(seed, boot);
                node.admit(peer_id);
                told.send((node.id, node.card())).unwrap();
                drop(ended.await);
            });
        });
        let (id, card) = tells.recv().unwrap();
        peer.admit(id);
        peer.overlay.learn(id, card);
        Self { id, end, thread }
    }

    /// Returns when its socket is closed and nothing of it runs any more.
    pub(crate) fn kill(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Two nodes that trust each other and know where the other is.
pub(crate) fn pair() -> (Node, Node) {
    let (one, two) = (Node::start(1, 10), Node::start(2, 20));
    one.admit(two.id);
    two.admit(one.id);
    one.meet(&two);
    two.meet(&one);
    (one, two)
}

/// Sends bytes there and back.
pub(crate) async fn echo(session: &Session) -> bool {
    let exchange = async {
        let mut framed = session.open(Service::Echo).await.ok()?;
        framed.send.write_all(b"hello").await.ok()?;
        framed.finish().ok()?;
        let mut back = [0; 5];
        framed.recv.read_exact(&mut back).await.ok()?;
        (back == *b"hello").then_some(())
    };
    within(exchange).await.is_some()
}

impl Host for TestHost {
    fn admits(&self, peer: &NodeId) -> bool {
        self.admitted.lock().unwrap().contains(peer)
    }

    fn knows(&self, peer: &NodeId) -> bool {
        self.admits(peer)
    }

    fn serve(self: Arc<Self>, stream: PeerStream) -> BoxFuture<()> {
        drop(stream);
        Box::pin(async {})
    }

    fn trust_offer(
        self: Arc<Self>,
        _from: NodeId,
        _source: SocketAddr,
        _offer: TrustOffer,
    ) -> BoxFuture<TrustAnswer> {
        Box::pin(async { TrustAnswer::Full })
    }

    fn grant(self: Arc<Self>, _from: NodeId, _grant: SignedGrant) -> BoxFuture<bool> {
        Box::pin(async { false })
    }

    fn registry(self: Arc<Self>, _event: RegistryEvent) -> BoxFuture<()> {
        Box::pin(async {})
    }

    fn link(&self, peer: NodeId, event: LinkEvent) {
        self.events.try_send((peer, event)).unwrap();
    }
}
