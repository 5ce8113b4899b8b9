//! Drives the two task machines: their records, their messages, their clock.

mod calls;
mod candidates;
mod desk;
mod fetching;
mod files;
mod leases;
mod links;
mod loading;
mod logs;
mod news;
mod passing;
mod placing;
mod receipts;
mod results;
mod serve;
mod shelf;
mod submission;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pilot_identity::{NodeId, NodeKey, Scope, Timestamp};
use pilot_overlay::Overlay;
use pilot_proto::TaskId;
use pilot_store::{Batch, Commit, CommitError, ReadError, Store};
use pilot_tasks::TrustLoss;
use pilot_transport::Budget;
use pilot_trust::{Standing, TrustState};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use calls::{AcceptError, Accepted, CallError, Row};
use desk::{Desk, Effect};
pub(crate) use files::LoadError;
use leases::Leases;
pub(crate) use leases::ProcessError;
use loading::Loading;
pub(crate) use logs::LogReader;
use logs::LogSender;
use passing::Begun;
use placing::Places;
pub(crate) use results::WorkGiven;
pub(crate) use shelf::ShelfError;
use shelf::Shelves;
pub(crate) use submission::{NewTask, NewTaskError};

use super::data::DataService;
use super::events::EventsService;
use super::ledger::{Ledger, LedgerDriver, Turn};
use super::links::Links;
use super::receipts::ReceiptsService;
use super::trust::TrustService;
use super::watch::Watchers;
use crate::clock;
use crate::store::strays;

/// Offers whose inputs are fetched at once: what they fetch is in memory.
const FETCHING: usize = 4;

/// Bytes of large frames that may be in memory at once, over all peers.
const LARGE_FRAMES: usize = 64 * 1024 * 1024;

/// The tasks of this node, both those it gave and those it was given.
pub(crate) struct TasksService {
    key: Arc<NodeKey>,
    store: Store,
    trust: Arc<TrustService>,
    data: Arc<DataService>,
    events: Arc<EventsService>,
    receipts: Arc<ReceiptsService>,
    ledger: Ledger<Vec<Effect>>,
    desk: Mutex<Desk>,
    /// Rings when a deadline has come nearer.
    nearer: Notify,
    /// Rings when a task can be accepted.
    ready: Notify,
    loading: Loading,
    places: Places,
    /// Worker processes that wait for a task.
    waiting: AtomicU64,
    shelves: Shelves,
    begun: Mutex<Begun>,
    /// Lets so many offers at once fetch their inputs.
    fetching: Semaphore,
    leases: Leases,
    logs: Arc<LogSender>,
    log_watchers: Watchers<TaskId>,
    /// Rings when a record answers for a transfer, which may have ended.
    loaded: Notify,
    watchers: Watchers<TaskId>,
    links: Links,
    overlay: OnceLock<Overlay>,
    budget: Budget,
    /// The part of it that each peer may use; one a peer that was ever trusted.
    budgets: Mutex<BTreeMap<NodeId, Budget>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl TasksService {
    /// Loads the live tasks and starts the drivers on `tasks`.
    pub(crate) fn start(
        (home, key): (&Path, Arc<NodeKey>),
        store: Store,
        trust: Arc<TrustService>,
        (data, events, receipts): (Arc<DataService>, Arc<EventsService>, Arc<ReceiptsService>),
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, ReadError> {
        let desk = Desk::load(&store, &key)?;
        let strays = store.read(strays::all)?;
        let (ledger, driver) = Ledger::new();
        let service = Arc::new(Self {
            key,
            store,
            trust,
            data,
            events,
            receipts,
            ledger,
            desk: Mutex::new(desk),
            nearer: Notify::new(),
            ready: Notify::new(),
            loading: Loading::default(),
            places: Places::default(),
            waiting: AtomicU64::new(0),
            shelves: Shelves::new(home),
            begun: Mutex::default(),
            fetching: Semaphore::new(FETCHING),
            leases: Leases::default(),
            logs: LogSender::new(tasks, stop),
            log_watchers: Watchers::default(),
            loaded: Notify::new(),
            watchers: Watchers::default(),
            links: Links::new(tasks, stop),
            overlay: OnceLock::new(),
            budget: Budget::new(LARGE_FRAMES),
            budgets: Mutex::new(BTreeMap::new()),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn(Arc::clone(&service).carry_out_all(driver));
        tasks.spawn(Arc::clone(&service).watch_the_clock());
        tasks.spawn(Arc::clone(&service).unload_all(strays));
        tasks.spawn(Arc::clone(&service).watch_the_files());
        tasks.spawn(Arc::clone(&service).place_all());
        tasks.spawn(Arc::clone(&service).tidy_up());
        tasks.spawn(Arc::clone(&service).sweep_logs());
        service.watch_processes();
        Ok(service)
    }

    /// Gives it the overlay, and starts sending what is owed; once, at start.
    pub(crate) fn connect(self: &Arc<Self>, overlay: Overlay) {
        if self.overlay.set(overlay).is_err() {
            tracing::error!("the tasks service was connected twice");
            return;
        }
        if let Some(overlay) = self.overlay.get() {
            self.logs.connect(overlay.clone());
        }
        let (peers, owed) = {
            let desk = self.desk();
            (desk.peers(), desk.peers_owed())
        };
        self.places.wake();
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            // Trust may have ended while the daemon was down.
            for peer in peers {
                service.check_trust(peer).await;
            }
            for peer in owed {
                service.wake_link(peer);
            }
        });
    }

    /// Ends what trust with `peer` does not allow any more.
    async fn check_trust(self: &Arc<Self>, peer: NodeId) {
        let standing = self.trust.standing(peer);
        if !standing.allows(Scope::Tasks) || loss(standing).is_some() {
            self.trust_changed(peer, standing).await;
        }
    }

    /// Trust with `peer` is now `standing`.
    pub(crate) async fn trust_changed(self: &Arc<Self>, peer: NodeId, standing: Standing) {
        let turned = self
            .turn(|desk, _, now| {
                if !standing.allows(Scope::Tasks) {
                    desk.worker.handle_trust_lost(peer, now);
                }
                if let Some(loss) = loss(standing) {
                    desk.submitter.handle_trust_lost(peer, loss, now);
                }
                desk.submitter.handle_trust_changed(peer);
                desk.worker.handle_trust_changed(peer);
            })
            .await;
        if let Err(error) = turned {
            tracing::warn!(%error, "a change of trust did not reach the tasks");
        }
        self.wake_link(peer);
        self.places.wake();
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
        let begun = self.begin_if(|desk, batch, now| Some(turn(desk, batch, now))).await?;
        // A turn that says something is always entered.
        begun.ok_or(CommitError::Closed)
    }

    /// As [`Self::begin`], for a turn in which there may be nothing to do:
    /// then it says so, and nothing is entered.
    async fn begin_if<T>(
        &self,
        turn: impl FnOnce(&mut Desk, &mut Batch, Timestamp) -> Option<T>,
    ) -> Result<Option<(T, Turn)>, CommitError> {
        let place = self.ledger.place().await?;
        let (begun, nearer) = {
            let mut desk = self.desk();
            let mut batch = Batch::new(desk.epoch);
            let said = turn(&mut desk, &mut batch, clock::now());
            let effects = desk.drain(&mut batch);
            if said.is_none() && batch.is_empty() && effects.is_empty() {
                return Ok(None);
            }
            self.data.give_way();
            let entered = place.enter(self.store.commit(batch), effects);
            (said.map(|said| (said, entered)), desk.deadline_is_nearer())
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
            tracing::warn!(%error, "tasks are read from disk again");
            match Desk::load(&self.store, &self.key) {
                Ok(loaded) => {
                    *self.desk() = loaded;
                    self.ready.notify_waiters();
                    // The clock's driver may wait for a deadline of what was lost.
                    self.nearer.notify_one();
                    self.loaded.notify_one();
                    self.places.resume();
                    self.watch_processes();
                    let owed = self.desk().peers_owed();
                    for peer in owed {
                        self.wake_link(peer);
                    }
                }
                Err(error) => tracing::error!(%error, "tasks cannot be read from disk"),
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = driver.run(carry_out, lost) => {}
        }
    }

    /// Carries out what followed from a commit. The machines hear that it is
    /// on disk, which may lead to more.
    fn carry_out(self: &Arc<Self>, effects: Vec<Effect>) -> Option<(Commit, Vec<Effect>)> {
        let (mut follow, batch, some_wait) = {
            let mut desk = self.desk();
            desk.note_persisted(&effects);
            let mut batch = Batch::new(desk.epoch);
            (desk.drain(&mut batch), batch, desk.submitter.is_waiting())
        };
        if some_wait && effects.iter().any(Effect::is_persisted) {
            // What has ended may have made room at its worker.
            self.places.wake();
        }
        for effect in effects {
            self.carry_out_one(effect);
        }
        if !follow.iter().any(Effect::is_persisted) {
            for effect in std::mem::take(&mut follow) {
                self.carry_out_one(effect);
            }
        }
        if batch.is_empty() {
            return None;
        }
        let commit = self.store.commit(batch);
        // Bodies that are only thrown away hold nobody up.
        (!follow.is_empty()).then_some((commit, follow))
    }

    fn carry_out_one(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::PersistedSubmitted(..) | Effect::PersistedReceived(..) => {}
            Effect::Changed(id, revision) => self.watchers.tell(id, revision),
            Effect::Say(news) => self.say(&news),
            Effect::Ready => self.ready.notify_waiters(),
            Effect::Owed(peer) => self.wake_link(peer),
            Effect::Place => self.places.wake(),
            Effect::Bound(process) => self.watch_process(process),
            Effect::Logged(id) => self.log_watchers.tell(id, 0),
            Effect::Unbound(process) => self.unwatch_process(&process),
            Effect::Receipt => self.receipts.ring(),
            Effect::Unload(transfer) => {
                let service = Arc::clone(self);
                self.tasks.spawn(async move { service.unload(transfer).await });
            }
        }
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
            let turned = self.turn(|desk, _, now| {
                desk.submitter.handle_timeout(now);
                desk.worker.handle_timeout(now);
            });
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

/// Pause before a passed deadline that could not be written is tried again.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Who has ended the trust that lets this node submit to the peer; none if it may.
const fn loss(standing: Standing) -> Option<TrustLoss> {
    match standing.state {
        TrustState::Mutual if standing.received.contains(Scope::Tasks) => None,
        TrustState::Mutual => Some(TrustLoss::Narrowed),
        TrustState::Requested | TrustState::None => Some(TrustLoss::There),
        TrustState::Pending => Some(TrustLoss::Here),
    }
}
