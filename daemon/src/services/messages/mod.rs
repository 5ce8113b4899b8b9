//! Drives the two message machines: their records, their exchanges, their clock.

mod calls;
mod desk;
mod links;
mod reading;
mod serve;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pilot_identity::{NodeId, Timestamp};
use pilot_messages::InboxLimits;
use pilot_overlay::Overlay;
use pilot_proto::MessageId;
use pilot_store::{Batch, Commit, CommitError, Store};
use pilot_transport::Budget;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use calls::{Outgoing, SendError};
pub(crate) use desk::LoadError;
use desk::{Desk, Effect};
pub(crate) use reading::{AckError, Wanted};

use super::data::DataService;
use super::ledger::{Ledger, LedgerDriver, Turn};
use super::links::Links;
use super::trust::TrustService;
use super::watch::Watchers;
use crate::clock;

/// Bytes of large frames that may be in memory at once, over all peers.
const LARGE_FRAMES: usize = 16 * 1024 * 1024;

/// Pause before a passed deadline that could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The messages of this node, both those it sends and those it got.
pub(crate) struct MessagesService {
    store: Store,
    trust: Arc<TrustService>,
    data: Arc<DataService>,
    limits: InboxLimits,
    ledger: Ledger<Vec<Effect>>,
    desk: Mutex<Desk>,
    /// Rings when a deadline has come nearer.
    nearer: Notify,
    /// Rings when there is something to be read.
    arrived: Notify,
    watchers: Watchers<MessageId>,
    /// Rings when a peer did not take messages.
    refused: Notify,
    links: Links,
    overlay: OnceLock<Overlay>,
    budget: Budget,
    /// The part of it that each peer may use; one a peer that was ever trusted.
    budgets: Mutex<BTreeMap<NodeId, Budget>>,
    stop: CancellationToken,
}

impl MessagesService {
    /// Loads what is live and starts the drivers on `tasks`.
    pub(crate) fn start(
        limits: InboxLimits,
        store: Store,
        trust: Arc<TrustService>,
        data: Arc<DataService>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, LoadError> {
        let desk = Desk::load(&store, limits)?;
        let (ledger, driver) = Ledger::new();
        let service = Arc::new(Self {
            store,
            trust,
            data,
            limits,
            ledger,
            desk: Mutex::new(desk),
            nearer: Notify::new(),
            arrived: Notify::new(),
            watchers: Watchers::default(),
            refused: Notify::new(),
            links: Links::new(tasks, stop),
            overlay: OnceLock::new(),
            budget: Budget::new(LARGE_FRAMES),
            budgets: Mutex::new(BTreeMap::new()),
            stop: stop.clone(),
        });
        tasks.spawn(Arc::clone(&service).carry_out_all(driver));
        tasks.spawn(Arc::clone(&service).watch_the_clock());
        Ok(service)
    }

    /// Gives it the overlay, and starts sending what is owed; once, at start.
    pub(crate) fn connect(self: &Arc<Self>, overlay: Overlay) {
        if self.overlay.set(overlay).is_err() {
            tracing::error!("the messages service was connected twice");
            return;
        }
        let owed = self.desk().peers_owed();
        for peer in owed {
            self.wake_link(peer);
        }
    }

    /// Trust with `peer` has changed. What waits for it goes on waiting without
    /// trust, until it expires, and is sent if trust comes back; what became of its
    /// own messages it will not be told.
    pub(crate) async fn trust_changed(self: &Arc<Self>, peer: NodeId) {
        let has_ended = !self.trust.is_mutual(&peer);
        let turned = self.turn(|desk, _, _| {
            desk.outbox.handle_trust_changed(peer);
            if has_ended {
                desk.inbox.handle_trust_ended(peer);
            }
        });
        let turned = turned.await;
        if let Err(error) = turned {
            tracing::warn!(%error, "a change of trust did not reach the messages");
        }
        self.wake_link(peer);
    }

    /// Whether the node ends: nothing comes any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn of the machines: decided under the lock, on disk and carried
    /// out when this returns.
    ///
    /// Cancel safe: a turn happens whole or not at all.
    async fn turn<T>(
        &self,
        turn: impl FnOnce(&mut Desk, &mut Batch, Timestamp) -> T,
    ) -> Result<T, CommitError> {
        let (said, entered) = self.begin(turn).await?;
        entered.done().await?;
        Ok(said)
    }

    /// Decides a turn; nothing it says may be told to anyone before the
    /// [`Turn`] is done.
    async fn begin<T>(
        &self,
        turn: impl FnOnce(&mut Desk, &mut Batch, Timestamp) -> T,
    ) -> Result<(T, Turn), CommitError> {
        let place = self.ledger.place().await?;
        let (begun, nearer) = {
            let mut desk = self.desk();
            let mut batch = Batch::new(desk.epoch);
            let now = clock::now();
            let said = turn(&mut desk, &mut batch, now);
            let effects = desk.drain(&mut batch, now);
            let entered = place.enter(self.store.commit(batch), effects);
            ((said, entered), desk.deadline_is_nearer())
        };
        if nearer {
            self.nearer.notify_one();
        }
        Ok(begun)
    }

    async fn carry_out_all(self: Arc<Self>, driver: LedgerDriver<Vec<Effect>>) {
        let carry_out = |effects| self.carry_out(effects);
        let lost = |error: &CommitError| {
            // Of a row of turns that are lost together the first has done it.
            if self.desk().epoch == self.store.epoch() {
                return;
            }
            tracing::warn!(%error, "messages are read from disk again");
            match Desk::load(&self.store, self.limits) {
                Ok(mut loaded) => {
                    let owed = {
                        let mut desk = self.desk();
                        loaded.inbox.follow(&desk.inbox);
                        *desk = loaded;
                        desk.peers_owed()
                    };
                    self.arrived.notify_waiters();
                    // The clock's driver may wait for a deadline of what was lost.
                    self.nearer.notify_one();
                    for peer in owed {
                        self.wake_link(peer);
                    }
                }
                Err(error) => tracing::error!(%error, "messages cannot be read from disk"),
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = driver.run(carry_out, lost) => {}
        }
    }

    /// Carries out what followed from a commit.
    fn carry_out(self: &Arc<Self>, effects: Vec<Effect>) -> Option<(Commit, Vec<Effect>)> {
        for effect in effects {
            match effect {
                Effect::Changed(id) => self.watchers.tell(id, 0),
                Effect::Expired(ids) => {
                    let mut desk = self.desk();
                    for id in ids {
                        desk.expiring.remove(&id);
                    }
                }
                Effect::Taken(orders) => {
                    self.desk().inbox.handle_persisted(&orders);
                    self.arrived.notify_waiters();
                }
                Effect::Refused => self.refused.notify_waiters(),
                Effect::Owed(peer) => self.wake_link(peer),
            }
        }
        None
    }

    async fn watch_the_clock(self: Arc<Self>) {
        let mut last = clock::now();
        loop {
            let deadline = self.desk().arm();
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = clock::wait_for(deadline, &self.nearer) => {}
            }
            let now = clock::now();
            let was_set_back = now < std::mem::replace(&mut last, now);
            if !was_set_back && deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            let turned = self.turn(|desk, _, now| desk.outbox.handle_timeout(now));
            if let Err(error) = turned.await {
                tracing::warn!(%error, "a deadline could not be written; it is tried again");
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(TRY_AGAIN) => {}
                }
            }
        }
    }
}
