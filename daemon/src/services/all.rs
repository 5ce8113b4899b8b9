//! The services of a node, and the order in which they start.

use std::path::Path;
use std::sync::Arc;

use pilot_identity::NodeKey;
use pilot_overlay::Overlay;
use pilot_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::TrustService;
use super::data::{DataService, Place, Quota};
use super::events::{EventsPlace, EventsService};
use super::messages::MessagesService;
use super::receipts::ReceiptsService;
use super::tasks::TasksService;
use crate::daemon::StartError;
use crate::settings::Settings;

/// See the module.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) trust: Arc<TrustService>,
    pub(crate) data: Arc<DataService>,
    pub(crate) events: Arc<EventsService>,
    pub(crate) tasks: Arc<TasksService>,
    pub(crate) messages: Arc<MessagesService>,
    pub(crate) receipts: Arc<ReceiptsService>,
}

/// What they are made of.
pub(crate) struct Ground<'a> {
    pub(crate) home: &'a Path,
    pub(crate) key: &'a Arc<NodeKey>,
    pub(crate) store: &'a Store,
    pub(crate) network: Option<u16>,
    pub(crate) background: &'a TaskTracker,
    pub(crate) stop: &'a CancellationToken,
}

impl Services {
    /// Loads what each has to do, and starts its drivers; those that need
    /// another after it.
    pub(crate) fn start(settings: &Settings, ground: &Ground<'_>) -> Result<Self, StartError> {
        let Ground { home, key, store, network, background, stop } = *ground;
        let trust = TrustService::start(Arc::clone(key), network, store.clone(), background, stop)?;
        let quota = Quota { whole: settings.inbox_quota, per_peer: settings.inbox_quota_per_peer };
        let place = Place { home, quota };
        let data = DataService::start(place, store.clone(), Arc::clone(&trust), background, stop)?;
        let place = EventsPlace { home, journal: settings.event_journal };
        let others = (Arc::clone(&trust), Arc::clone(&data));
        let key = || Arc::clone(key);
        let events = EventsService::start(place, key(), store.clone(), others, background, stop)?;
        let receipts = ReceiptsService::new(store.clone(), background, stop);
        let others = (Arc::clone(&data), Arc::clone(&events), Arc::clone(&receipts));
        let judge = || Arc::clone(&trust);
        let tasks =
            TasksService::start((home, key()), store.clone(), judge(), others, background, stop)?;
        let bulk = Arc::clone(&data);
        let messages = MessagesService::start(
            settings.messages,
            store.clone(),
            judge(),
            bulk,
            background,
            stop,
        )?;
        Ok(Self { trust, data, events, tasks, messages, receipts })
    }

    /// Gives them the overlay; once, at start. Trust has it already.
    pub(crate) fn connect(&self, overlay: &Overlay) {
        self.tasks.connect(overlay.clone());
        self.data.connect(overlay.clone());
        self.events.connect(overlay.clone());
        self.messages.connect(overlay.clone());
        self.receipts.connect(overlay.clone(), Arc::clone(&self.trust));
    }
}
