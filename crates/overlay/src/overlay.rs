//! The overlay as a whole: its parts, its start and its end.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_identity::{NodeId, SignedGrant};
use pilot_proto::control::{ControlAnswer, ControlRequest};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::Register;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{BootId, Service, close};
use pilot_transport::{Alpn, BeaconAt, Endpoint, Expect, HostPort, Priority, Reach};
use pilot_transport::{Framed, FramedError};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::book::Card;
use crate::dial::DialError;
use crate::host::Host;
use crate::peer::Peer;
use crate::registry::RegistryClient;
use crate::registry_addr::RegistryAddr;
use crate::session::Session;

/// How long a trust exchange may take.
const TRUST_TIMEOUT: Duration = Duration::from_secs(4);

/// How long streams and background work may take to end when the node stops.
const GRACE: Duration = Duration::from_millis(500);

/// What an overlay is made of.
pub struct Setup {
    /// The socket.
    pub endpoint: Endpoint,
    /// This node's key.
    pub me: NodeId,
    /// This run.
    pub boot: BootId,
    /// Who is above.
    pub host: Arc<dyn Host>,
    /// What is known of peers from before.
    pub cards: Vec<(NodeId, Card)>,
    /// The rendezvous, and its key if it is pinned.
    pub registry: Option<(RegistryAddr, Option<NodeId>)>,
    /// Where the operator says that beacons are; those that the rendezvous
    /// tells of are used, too.
    pub beacons: Vec<HostPort>,
    /// What this node registers with.
    pub register: Register,
}

impl core::fmt::Debug for Setup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Setup").field("me", &self.me).finish_non_exhaustive()
    }
}

/// A handle to the overlay; cheap to clone.
#[derive(Clone)]
pub struct Overlay {
    inner: Arc<Inner>,
}

impl core::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Overlay").field("me", &self.inner.me).finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) endpoint: Endpoint,
    pub(crate) me: NodeId,
    pub(crate) boot: BootId,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) registry: Option<Arc<RegistryClient>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
}

impl Overlay {
    /// Starts accepting connections and, if there is a rendezvous, registers.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let peers = setup.cards.into_iter().map(|(id, card)| (id, Arc::new(Peer::new(card))));
        let reach = setup.endpoint.reach();
        if let Some(fixed) = setup.register.endpoints.as_slice().first()
            && setup.register.fixed
        {
            reach.set_fixed(*fixed);
        }
        let given = setup.beacons.iter().cloned();
        reach.set_beacons(given.map(|target| BeaconAt { target, key: None }).collect(), None);
        let registry = setup.registry.map(|(addr, pinned)| {
            Arc::new(RegistryClient::new(addr, pinned, setup.register, setup.beacons))
        });
        let inner = Arc::new(Inner {
            endpoint: setup.endpoint,
            me: setup.me,
            boot: setup.boot,
            host: setup.host,
            registry: registry.clone(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            peers: Mutex::new(peers.collect()),
        });
        inner.tasks.spawn(Arc::clone(&inner).accept_all());
        inner.tasks.spawn(Arc::clone(&inner).find_paths());
        if let Some(registry) = registry {
            inner.tasks.spawn(registry.run(Arc::clone(&inner)));
        }
        Self { inner }
    }

    /// Says goodbye to everybody and waits, up to half a second, for what runs.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.endpoint.close(close::GOODBYE, "the daemon stops");
        if timeout(GRACE, self.inner.tasks.wait()).await.is_err() {
            tracing::debug!("background work outlived the overlay's grace");
        }
        if timeout(GRACE, self.inner.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("a goodbye was not heard");
        }
    }

    /// The session with `peer`, dialled if need be; one try of at most 4 s.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DialError`]
    pub async fn session(&self, peer: NodeId) -> Result<Session, DialError> {
        self.inner.session(peer).await
    }

    /// The session in use, if there is one.
    #[must_use]
    pub fn current(&self, peer: &NodeId) -> Option<Session> {
        self.inner.known(peer).and_then(|peer| peer.session())
    }

    /// Waits until there is a session with `peer`: 0.2 s doubling to 30 s
    /// between tries, and at once when something new is known of it.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DialError::NotTrusted`] once trust ends, [`DialError::Stopping`].
    pub async fn connected(&self, peer: NodeId) -> Result<Session, DialError> {
        self.inner.connected(peer).await
    }

    /// What is known of where `peer` is.
    #[must_use]
    pub fn card(&self, peer: &NodeId) -> Option<Card> {
        self.inner.known(peer).map(|peer| peer.card())
    }

    /// `peer` is trusted from now on: it can find paths to this node, and this
    /// node to it. To be called again for every trusted peer after each start.
    pub fn admit(&self, peer: NodeId) {
        self.inner.admit(peer);
    }

    /// `peer` is no longer trusted: nothing is sent to it and nothing answered.
    pub fn dismiss(&self, peer: &NodeId) {
        self.inner.endpoint.reach().dismiss(peer);
    }

    /// The paths to peers, and what is known of this node's network.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        self.inner.endpoint.reach()
    }

    /// Takes a newer card of `peer`; a session with an older run of it ends.
    pub fn learn(&self, peer: NodeId, card: Card) {
        self.inner.learn(peer, card);
    }

    /// Closes every session with `peer`, also those that another took over.
    pub fn part(&self, peer: &NodeId, code: u32, reason: &str) {
        self.inner.part(peer, code, reason);
    }

    /// The line to the rendezvous, if one is configured.
    #[must_use]
    pub fn registry(&self) -> Option<&RegistryClient> {
        self.inner.registry.as_deref()
    }

    /// The UDP socket's own address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.endpoint.local_addr()
    }

    /// Hands `peer` this node's grant, at any of `endpoints`, without a rendezvous.
    ///
    /// Cancel safe: the peer may or may not have got it.
    ///
    /// # Errors
    ///
    /// [`DialError`]
    pub async fn offer_trust(
        &self,
        peer: NodeId,
        endpoints: &[SocketAddr],
        offer: &TrustOffer,
    ) -> Result<TrustAnswer, DialError> {
        let exchange = async {
            let connection = self
                .inner
                .endpoint
                .connect_any(Expect::Key(peer), endpoints, Alpn::Trust)
                .await
                .map_err(|error| DialError::Unreachable(Some(error)))?;
            let opened = connection.open_bi(Priority::Control).await;
            let (send, recv) = opened.map_err(FramedError::from).map_err(DialError::Hello)?;
            let mut framed = Framed { send, recv };
            let answer = async {
                framed.send(offer, MAX_SMALL_FRAME).await?;
                framed.finish()?;
                framed.expect(MAX_SMALL_FRAME).await
            };
            let answer = answer.await.map_err(DialError::Hello)?;
            connection.close(close::GOODBYE, "");
            Ok(answer)
        };
        timeout(TRUST_TIMEOUT, exchange).await.unwrap_or(Err(DialError::Unreachable(None)))
    }

    /// Sends `peer` a newer grant over the session in use; false if there is
    /// none or the peer did not store it.
    pub async fn send_grant(&self, peer: &NodeId, grant: SignedGrant) -> bool {
        let Some(session) = self.current(peer) else { return false };
        let exchange = async {
            let mut framed = session.open(Service::Control).await?;
            framed.send(&ControlRequest::Grant(grant), MAX_SMALL_FRAME).await?;
            framed.finish()?;
            framed.expect::<ControlAnswer>(MAX_SMALL_FRAME).await
        };
        matches!(timeout(TRUST_TIMEOUT, exchange).await, Ok(Ok(ControlAnswer::GrantStored)))
    }
}

impl Inner {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of `id`, made when it is first asked for. Only trusted keys
    /// and those of the user's own choice are asked for, so trust bounds it.
    pub(crate) fn peer(&self, id: NodeId) -> Arc<Peer> {
        let fresh = || Arc::new(Peer::new(Card::default()));
        Arc::clone(self.peers().entry(id).or_insert_with(fresh))
    }

    pub(crate) fn part(&self, id: &NodeId, code: u32, reason: &str) {
        for session in self.known(id).iter().flat_map(|peer| peer.take_sessions()) {
            session.connection().close(code, reason);
        }
    }

    fn known(&self, id: &NodeId) -> Option<Arc<Peer>> {
        self.peers().get(id).cloned()
    }

    /// See [`Overlay::admit`]; nothing happens if it was admitted before.
    pub(crate) fn admit(&self, id: NodeId) {
        let reach = self.endpoint.reach();
        if reach.path(&id).is_some() {
            return;
        }
        reach.admit(id);
        let card = self.peer(id).card();
        reach.learn(&id, card.endpoints.as_slice());
    }

    /// Keeps the paths to peers until the node stops.
    async fn find_paths(self: Arc<Self>) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.endpoint.reach().drive() => {}
        }
    }

    pub(crate) fn learn(&self, id: NodeId, card: Card) {
        self.endpoint.reach().learn(&id, card.endpoints.as_slice());
        if let Some(dead) = self.peer(id).update(card) {
            dead.connection().close(close::REPLACED, "the peer restarted");
            self.host.link(id, crate::host::LinkEvent::Down);
        }
    }
}
