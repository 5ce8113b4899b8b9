//! The services as the overlay sees them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pilot_identity::{NodeId, SignedGrant};
use pilot_overlay::{BoxFuture, Card, Host, LinkEvent, Overlay, PeerStream, RegistryEvent};
use pilot_proto::registry::{Push, Registered};
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{Address, Endpoints, NodeName, Service, close};
use pilot_store::{Batch, Store};
use pilot_trust::{Received, Standing, TrustState};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::services::Services;
use crate::store::{cards, meta};

/// Under what address and name this node is known; what it was told last if
/// the rendezvous is away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registration(Arc<Mutex<Known>>);

/// See [`Registration`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) address: Option<Address>,
    pub(crate) name: Option<NodeName>,
    /// The name that was asked for belongs to another node.
    pub(crate) name_taken: bool,
}

impl Registration {
    pub(crate) fn get(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// Hands what comes up from the overlay to the service it is for.
pub(crate) struct NodeHost {
    pub(crate) services: Services,
    pub(crate) store: Store,
    pub(crate) registration: Registration,
    pub(crate) announce: watch::Sender<Option<Registered>>,
    pub(crate) overlay: OnceLock<Overlay>,
    pub(crate) background: TaskTracker,
}

impl Host for NodeHost {
    fn admits(&self, peer: &NodeId) -> bool {
        self.services.trust.is_mutual(peer)
    }

    fn knows(&self, peer: &NodeId) -> bool {
        self.services.trust.knows(peer)
    }

    fn serve(self: Arc<Self>, mut stream: PeerStream) -> BoxFuture<()> {
        let (tasks, data) = (Arc::clone(&self.services.tasks), Arc::clone(&self.services.data));
        let events = Arc::clone(&self.services.events);
        let messages = Arc::clone(&self.services.messages);
        Box::pin(async move {
            match stream.service {
                Service::Events => events.serve(stream.peer, stream.framed).await,
                Service::Tasks => tasks.serve(stream.peer, stream.framed).await,
                Service::Messages => messages.serve(stream.peer, stream.framed).await,
                Service::Data => data.serve(stream.peer, stream.framed).await,
                // The overlay serves these itself.
                Service::Control | Service::Echo => stream.framed.refuse(close::UNKNOWN_SERVICE),
            }
        })
    }

    fn trust_offer(
        self: Arc<Self>,
        from: NodeId,
        source: SocketAddr,
        offer: TrustOffer,
    ) -> BoxFuture<TrustAnswer> {
        Box::pin(async move {
            let address = offer.address;
            let answer = self.services.trust.answer(from, offer).await;
            if matches!(answer, TrustAnswer::Stored { .. }) {
                self.remember_source(from, source, address);
            }
            answer
        })
    }

    fn grant(self: Arc<Self>, from: NodeId, grant: SignedGrant) -> BoxFuture<bool> {
        Box::pin(async move {
            if grant.assume_verified().from != from {
                return false;
            }
            matches!(
                self.services.trust.receive(&grant, None).await,
                Ok(Received::Stored | Received::Duplicate)
            )
        })
    }

    fn registry(self: Arc<Self>, event: RegistryEvent) -> BoxFuture<()> {
        Box::pin(async move {
            match event {
                RegistryEvent::Connected { key, registered } => {
                    self.registered(key, registered).await;
                }
                RegistryEvent::Push(push) => self.pushed(push).await,
                RegistryEvent::Lost => {}
            }
        })
    }

    fn link(&self, peer: NodeId, event: LinkEvent) {
        match event {
            LinkEvent::Up => {
                tracing::info!(peer = %peer.short(), "peer connected");
                self.say("peer.up", peer);
            }
            LinkEvent::Found => self.keep_card(peer),
            LinkEvent::Down => self.say("peer.down", peer),
            LinkEvent::NotTrusted => self.services.trust.mend(peer),
        }
    }
}

impl NodeHost {
    /// Says what became of a peer, to whoever subscribes on this node.
    fn say(&self, topic: &str, peer: NodeId) {
        let data =
            serde_json::json!({"peer": self.services.events.label(peer), "key": peer.to_string()});
        self.services.events.say(topic, &data);
    }

    /// Trust with `peer` is now `standing`.
    pub(crate) fn trust_changed(&self, peer: NodeId, standing: Standing) {
        if let Some(overlay) = self.overlay.get() {
            match standing.state {
                TrustState::Mutual => overlay.admit(peer),
                TrustState::None | TrustState::Requested | TrustState::Pending => {
                    overlay.dismiss(&peer);
                }
            }
        }
        match standing.state {
            TrustState::Mutual => self.say("peer.trusted", peer),
            TrustState::None => self.say("peer.untrusted", peer),
            TrustState::Requested | TrustState::Pending => self.say("peer.asked", peer),
        }
        self.services.events.trust_changed();
        let (tasks, data) = (Arc::clone(&self.services.tasks), Arc::clone(&self.services.data));
        let messages = Arc::clone(&self.services.messages);
        self.background.spawn(async move {
            tasks.trust_changed(peer, standing).await;
            data.trust_changed(peer, standing).await;
            messages.trust_changed(peer).await;
        });
    }

    /// A node has one socket, so where its request came from is where it is.
    /// Believed only while nothing better is known.
    fn remember_source(&self, peer: NodeId, source: SocketAddr, address: Option<Address>) {
        let Some(overlay) = self.overlay.get() else { return };
        let card = overlay.card(&peer).unwrap_or_default();
        if card.endpoints.as_slice().is_empty() {
            let address = card.address.or(address);
            overlay.learn(peer, Card { endpoints: Endpoints::new([source]), address, ..card });
            self.keep_card(peer);
        }
    }

    /// Writes where a peer is, so that it is found there after a restart also
    /// while the rendezvous is away.
    fn keep_card(&self, peer: NodeId) {
        let Some(card) = self.overlay.get().and_then(|overlay| overlay.card(&peer)) else { return };
        let mut batch = self.store.batch();
        cards::put(&mut batch, peer, card);
        // If it is lost, the peer or the rendezvous tells it again.
        drop(self.store.commit(batch));
    }

    async fn registered(&self, key: NodeId, registered: Registered) {
        let before = self.registration.get();
        if before.address.is_some_and(|address| address != registered.address) {
            tracing::warn!(
                now = %registered.address,
                "the rendezvous gave this node a new address; peers must learn it"
            );
        }
        if registered.name_taken {
            tracing::warn!("the name of this node is taken; choose another with --name");
        }
        self.registration.set(Known {
            address: Some(registered.address),
            name: registered.name.clone(),
            name_taken: registered.name_taken,
        });
        let mut batch = self.store.batch();
        meta::put(&mut batch, meta::Key::Rendezvous, key.as_bytes().to_vec());
        meta::put(&mut batch, meta::Key::Address, registered.address.to_string().into_bytes());
        let name = registered.name.as_ref().map(ToString::to_string).unwrap_or_default();
        meta::put(&mut batch, meta::Key::Name, name.into_bytes());
        self.write(batch).await;
        self.services.trust.registered(registered.address.network()).await;
        self.announce.send_replace(Some(registered));
    }

    async fn pushed(&self, push: Push) {
        match push {
            Push::Grant { grant, address, name } => {
                self.services.trust.collect(grant, address, name).await;
            }
            Push::Peer(record) if !self.services.trust.knows(&record.id) => {
                tracing::debug!(peer = %record.id.short(), "told of a key that nobody asked for");
            }
            Push::Peer(record) => {
                let (id, address, name) = (record.id, record.address, record.name.clone());
                let mut batch = self.store.batch();
                cards::put(&mut batch, id, record.into());
                self.write(batch).await;
                self.services.trust.told(id, address, name).await;
            }
            Push::Hidden(peer) => tracing::debug!(peer = %peer.short(), "peer no longer shown"),
            Push::CaughtUp => {}
        }
    }

    /// Writes what the rendezvous will tell again if it is lost.
    async fn write(&self, batch: Batch) {
        if let Err(error) = self.store.commit(batch).await {
            tracing::warn!(%error, "what the rendezvous said could not be written");
        }
    }
}
