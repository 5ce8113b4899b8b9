//! What the local API sees of the daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pilot_identity::NodeId;
use pilot_local_api::identity::PeerIdentity;
use pilot_overlay::Overlay;
use pilot_portmap::Mapping;
use pilot_store::Store;
use tokio::sync::watch;

use crate::host::Registration;
use crate::services::data::DataService;
use crate::services::events::EventsService;
use crate::services::messages::MessagesService;
use crate::services::network::Network;
use crate::services::receipts::ReceiptsService;
use crate::services::tasks::TasksService;
use crate::services::{Directory, Services, TrustService};
use crate::settings::Settings;

/// The parts that handlers call.
pub(crate) struct Node {
    id: NodeId,
    settings: Settings,
    database: PathBuf,
    store: Store,
    overlay: Overlay,
    services: Services,
    directory: Directory,
    network: Network,
    registration: Registration,
    port_mappings: watch::Receiver<Vec<Mapping>>,
    started: Instant,
}

/// What a [`Node`] is made of.
pub(crate) struct Parts {
    pub(crate) id: NodeId,
    pub(crate) settings: Settings,
    pub(crate) database: PathBuf,
    pub(crate) store: Store,
    pub(crate) overlay: Overlay,
    pub(crate) services: Services,
    pub(crate) registration: Registration,
    /// What the router maps to this node.
    pub(crate) port_mappings: watch::Receiver<Vec<Mapping>>,
}

impl Node {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            directory: Directory::new(Arc::clone(&parts.services.trust), parts.overlay.clone()),
            network: Network::new(parts.overlay.clone()),
            id: parts.id,
            settings: parts.settings,
            database: parts.database,
            store: parts.store,
            overlay: parts.overlay,
            services: parts.services,
            registration: parts.registration,
            port_mappings: parts.port_mappings,
            started: Instant::now(),
        }
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn home(&self) -> &Path {
        &self.settings.home
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) const fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    pub(crate) const fn trust(&self) -> &Arc<TrustService> {
        &self.services.trust
    }

    pub(crate) const fn events(&self) -> &Arc<EventsService> {
        &self.services.events
    }

    pub(crate) const fn data(&self) -> &Arc<DataService> {
        &self.services.data
    }

    pub(crate) const fn messages(&self) -> &Arc<MessagesService> {
        &self.services.messages
    }

    pub(crate) const fn receipts(&self) -> &Arc<ReceiptsService> {
        &self.services.receipts
    }

    pub(crate) const fn tasks(&self) -> &Arc<TasksService> {
        &self.services.tasks
    }

    pub(crate) const fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) const fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) const fn registration(&self) -> &Registration {
        &self.registration
    }

    pub(crate) fn port_mappings(&self) -> Vec<Mapping> {
        self.port_mappings.borrow().clone()
    }

    pub(crate) fn uptime(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// This node by everything it can be called.
    pub(crate) fn identity(&self) -> PeerIdentity {
        let registered = self.registration.get();
        PeerIdentity::new(self.id, registered.address, registered.name)
    }

    /// A peer by everything it can be called, as far as that is known here.
    pub(crate) fn peer_identity(&self, id: NodeId) -> PeerIdentity {
        if id == self.id {
            return self.identity();
        }
        let (pinned, told) = self.trust().look(|trust, _| {
            let record = trust.record(id);
            let pinned = record.and_then(|record| record.pins.last().copied());
            (pinned, record.and_then(|record| record.card.clone()))
        });
        let card = self.overlay.card(&id);
        let address = pinned.or_else(|| card.as_ref().and_then(|card| card.address));
        let name = card.and_then(|card| card.name);
        PeerIdentity::new(
            id,
            address.or_else(|| told.as_ref().and_then(|told| told.address)),
            name.or_else(|| told.and_then(|told| told.name)),
        )
    }
}
