//! What the tests stand on: nodes that trust each other, and beacons.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use pilot_identity::{NodeId, NodeKey};
use pilot_proto::beacon::Services;
use pilot_rendezvous::beacon::{Admission, Beacon, BeaconSettings, ByteRate};
use pilot_transport::{
    Alpn, BeaconAt, Connection, Endpoint, HostPort, PathReport, Priority, Settings, WayReport,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

/// Beyond it a test has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Pause between two looks at something that happens by itself.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])))
}

pub(crate) fn id(seed: u8) -> NodeId {
    key(seed).id()
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap()
}

/// Waits until `is` holds.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        sleep(LOOK).await;
    }
}

/// Nodes 1 and 2, bound at the beacon, that trust each other.
pub(crate) async fn friends(beacon: &Beacon) -> (Node, Node) {
    let (one, two) = (Node::v4(1, Some(beacon)), Node::v4(2, Some(beacon)));
    one.trust(&two);
    two.trust(&one);
    one.bound().await;
    two.bound().await;
    (one, two)
}

/// A beacon on both families of loopback that lets in anybody.
pub(crate) fn beacon(seed: u8) -> Beacon {
    let many = NonZeroU32::new(1_000_000).unwrap();
    let settings = BeaconSettings {
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        alternate: None,
        services: Services::ALL,
        admission: Admission::Open,
        max_clients: many,
        client_rate: ByteRate(0),
        pair_rate: ByteRate(0),
        binds_per_second: many,
        stun_per_second: many,
        limit_loopback: false,
    };
    Beacon::start(key(seed), &settings).unwrap()
}

/// A node and what drives it.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    _driver: JoinSet<()>,
}

impl Node {
    fn start(seed: u8, ip: IpAddr, beacon: Option<&Beacon>) -> Self {
        let at = beacon.map(|beacon| SocketAddr::new(ip, beacon.local_addr().port()));
        let listen = SocketAddr::new(ip, 0);
        Self::with(seed, Settings::new(listen, vec![Alpn::Peer]), at)
    }

    pub(crate) fn with(seed: u8, settings: Settings, beacon: Option<SocketAddr>) -> Self {
        let endpoint = Endpoint::bind(key(seed), settings).unwrap();
        let reach = endpoint.reach().clone();
        if let Some(at) = beacon {
            let target = HostPort::new(&at.ip().to_string(), at.port()).unwrap();
            reach.set_beacons(vec![BeaconAt { target, key: None }], None);
        }
        let mut driver = JoinSet::new();
        driver.spawn(async move { reach.drive().await });
        Self { endpoint, _driver: driver }
    }

    pub(crate) fn v4(seed: u8, beacon: Option<&Beacon>) -> Self {
        Self::start(seed, Ipv4Addr::LOCALHOST.into(), beacon)
    }

    pub(crate) fn v6(seed: u8, beacon: Option<&Beacon>) -> Self {
        Self::start(seed, Ipv6Addr::LOCALHOST.into(), beacon)
    }

    pub(crate) fn trust(&self, other: &Self) {
        self.endpoint.reach().admit(other.endpoint.id());
    }

    pub(crate) fn path(&self, peer: NodeId) -> PathReport {
        self.endpoint.reach().path(&peer).unwrap()
    }

    pub(crate) fn is_direct(&self, peer: NodeId) -> bool {
        matches!(self.path(peer).way, Some(WayReport::Direct(_)))
    }

    pub(crate) fn is_relayed(&self, peer: NodeId) -> bool {
        matches!(self.path(peer).way, Some(WayReport::Relayed(_)))
    }

    /// Waits until a beacon has taken it.
    pub(crate) async fn bound(&self) {
        let reach = self.endpoint.reach();
        until("bound", || reach.report().beacons.iter().any(|beacon| beacon.place.is_some())).await;
    }
}

/// A connection from one to the other.
pub(crate) async fn connect(from: &Node, to: &Node) -> (Connection, Connection) {
    let accepted = async { to.endpoint.accept().await.unwrap().accept().await.unwrap() };
    let dialled = from.endpoint.connect_peer(to.endpoint.id(), Alpn::Peer);
    let (accepted, dialled) = within(async { tokio::join!(accepted, dialled) }).await;
    (dialled.unwrap(), accepted)
}

/// Sends `bytes` there, and waits until they have arrived as they were sent.
pub(crate) async fn carry(from: &Connection, to: &Connection, bytes: &[u8]) {
    let send = async {
        let (mut send, _) = from.open_bi(Priority::Task).await.unwrap();
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
        drop(send.stopped().await);
    };
    let receive = async {
        let (_, mut recv) = to.accept_bi().await.unwrap();
        recv.read_to_end(bytes.len() + 1).await.unwrap()
    };
    let ((), received) = within(async { tokio::join!(send, receive) }).await;
    assert!(received == bytes, "{} bytes of {} arrived", received.len(), bytes.len());
}
