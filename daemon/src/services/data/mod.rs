//! Files on their way: those that this node sends, and those that come to its
//! inbox.
//!
//! A transfer's record is a row of the database; what it consists of are files
//! in the home folder:
//!
//! ```text
//! outgoing/ID/manifest, source     what is sent, and from where
//! inbox/.incoming/ID/…             what has arrived of it, at the receiver
//! inbox/ID/…                       all of it
//! ```
//!
//! A record is on disk before anything is said that depends on it, and the
//! files of a transfer before its record.

mod courtesy;
mod desk;
mod fill;
mod landing;
mod links;
mod memory;
mod pace;
mod pack;
mod pump;
mod quota;
mod receive;
mod refused;
mod send;
mod take;
mod talk;
mod turned_away;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pilot_files::{Blame, Direction, Ending, Progress, Transfer};
use pilot_identity::{NodeId, Scope};
use pilot_overlay::Overlay;
use pilot_proto::TransferId;
use pilot_proto::text::Text;
use pilot_store::{ReadError, Store};
use pilot_trust::{Standing, TrustState};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::links::Links;
use super::trust::TrustService;
use super::watch::{Watch, Watchers};
use crate::clock;
use courtesy::Courtesy;
use desk::Desk;
pub(crate) use desk::{ChangeError, Trouble};
use landing::Landings;
pub(crate) use quota::Quota;
use send::Preparing;
pub(crate) use send::{Keep, NewTransfer, SendError, fresh_id};
use turned_away::Gate;
pub(crate) use turned_away::TurnedAway;

/// Streams of pieces that are taken at once, over all peers: each has up to
/// six batches of 2 MiB at most in memory. Further ones wait.
const PIECE_STREAMS: usize = 16;

/// How often it is looked for transfers whose time is over.
const LOOK: Duration = Duration::from_secs(30);

/// Where files come to, and how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) home: &'a Path,
    pub(crate) quota: Quota,
}

/// The transfers of this node.
pub(crate) struct DataService {
    store: Store,
    trust: Arc<TrustService>,
    home: PathBuf,
    outgoing: PathBuf,
    inbox: PathBuf,
    quota: Quota,
    desk: Desk,
    landings: Landings,
    /// Held while a new transfer gets its folder and its record.
    beginning: tokio::sync::Mutex<()>,
    preparing: Preparing,
    piece_streams: Semaphore,
    courtesy: Courtesy,
    gate: Gate,
    watchers: Watchers<TransferId>,
    /// Rung when a transfer that belongs to a task has ended.
    task_files_ended: Notify,
    /// Talks under way, to be ended when their transfer is.
    talks: Mutex<BTreeMap<TransferId, CancellationToken>>,
    links: Links,
    overlay: OnceLock<Overlay>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl DataService {
    /// Loads what is not settled.
    pub(crate) fn start(
        Place { home, quota }: Place<'_>,
        store: Store,
        trust: Arc<TrustService>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, ReadError> {
        let service = Arc::new(Self {
            desk: Desk::load(&store)?,
            store,
            trust,
            home: home.to_owned(),
            outgoing: home.join("outgoing"),
            inbox: home.join("inbox"),
            quota,
            landings: Landings::default(),
            beginning: tokio::sync::Mutex::new(()),
            preparing: Preparing::default(),
            task_files_ended: Notify::new(),
            piece_streams: Semaphore::new(PIECE_STREAMS),
            courtesy: Courtesy::new(Instant::now()),
            gate: Gate::default(),
            watchers: Watchers::default(),
            talks: Mutex::new(BTreeMap::new()),
            links: Links::new(tasks, stop),
            overlay: OnceLock::new(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let orphans = service.orphans();
        tasks.spawn(Arc::clone(&service).sweep(orphans));
        tasks.spawn(Arc::clone(&service).watch_the_clock());
        Ok(service)
    }

    /// Gives it the overlay, and starts sending what is owed; once, at start.
    pub(crate) fn connect(self: &Arc<Self>, overlay: Overlay) {
        if self.overlay.set(overlay).is_err() {
            tracing::error!("the data service was connected twice");
            return;
        }
        for peer in self.desk.peers_owed() {
            self.wake_link(peer);
        }
    }

    /// A task moves on: transfers leave it some of the processor for a while.
    pub(crate) fn give_way(&self) {
        self.courtesy.note(Instant::now());
    }

    /// Transfers that peers have offered lately and that were not let in.
    pub(crate) fn turned_away(&self) -> Vec<TurnedAway> {
        self.gate.all(Instant::now())
    }

    /// Removes folders of transfers that have no record: this node stopped
    /// before it was written, or after it was over.
    async fn sweep(self: Arc<Self>, orphans: Vec<PathBuf>) {
        for folder in orphans {
            let _turn = self.beginning.lock().await;
            let id = id_of(&folder);
            let _preparing = match id {
                Some(id) => Some(self.preparing.enter(id).await),
                None => None,
            };
            if id.is_none_or(|id| self.desk.live(id).is_none()) {
                self.remove_folder(folder).await;
            }
        }
    }

    /// The folders that were there when this node started and have no record.
    fn orphans(&self) -> Vec<PathBuf> {
        let within = [self.outgoing.clone(), self.inbox.join(".incoming")];
        let entries = within.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        let folders = entries.flatten().flatten().map(|entry| entry.path());
        let has_record =
            |folder: &PathBuf| id_of(folder).is_some_and(|id| self.desk.live(id).is_some());
        folders.filter(|folder| !has_record(folder)).collect()
    }

    /// Trust with `peer` is now `standing`: what it does not allow any more ends.
    pub(crate) async fn trust_changed(self: &Arc<Self>, peer: NodeId, standing: Standing) {
        let may_receive = standing.allows(Scope::Data);
        let may_send =
            standing.state == TrustState::Mutual && standing.received.contains(Scope::Data);
        for transfer in self.desk.of_peer(&peer) {
            let may_go_on = match transfer.direction {
                Direction::Sent => may_send,
                Direction::Received => may_receive,
            };
            if may_go_on || !transfer.is_live() {
                continue;
            }
            let reason = Text::clipped("trust with the peer has ended");
            let ending = Ending::Failed { blame: Blame::Trust, reason };
            if let Err(error) = self.end(transfer.id, ending).await {
                tracing::warn!(transfer = %transfer.id, %error, "the end of trust did not end it");
            }
        }
        self.wake_link(peer);
    }

    /// One transfer, if there is one of this id.
    pub(crate) fn find(&self, id: TransferId) -> Result<Option<Transfer>, ReadError> {
        self.desk.find(&self.store, id)
    }

    /// How much of it has arrived, as far as is known here.
    pub(crate) fn progress(&self, transfer: &Transfer) -> Progress {
        match transfer.ended() {
            Some((_, Ending::Complete)) => {
                Progress { bytes: transfer.totals.bytes, files: transfer.totals.files }
            }
            Some(_) | None => self.desk.progress(transfer.id),
        }
    }

    /// Why it does not go on just now, if something keeps it.
    pub(crate) fn trouble(&self, transfer: &Transfer) -> Option<Trouble> {
        if transfer.is_live() { self.desk.trouble(transfer.id) } else { None }
    }

    /// Where a complete transfer is, if it came here.
    pub(crate) fn folder(&self, transfer: &Transfer) -> Option<PathBuf> {
        let complete = matches!(transfer.ended(), Some((_, Ending::Complete)));
        let is_here = complete && transfer.direction == Direction::Received;
        is_here.then(|| self.inbox_folder(transfer.id))
    }

    /// Whether its receiver is being talked with about it.
    pub(crate) fn is_talked_about(&self, id: TransferId) -> bool {
        self.talks().contains_key(&id)
    }

    /// Rings, also for rings before, when a transfer that belongs to a task has
    /// ended. For one listener.
    pub(crate) const fn task_files_ended(&self) -> &Notify {
        &self.task_files_ended
    }

    /// Watches one for changes and progress.
    pub(crate) fn watch(&self, id: TransferId) -> Watch<TransferId> {
        self.watchers.watch(id)
    }

    /// Ends a transfer, if nothing has yet; as it is then.
    pub(crate) async fn end(
        self: &Arc<Self>,
        id: TransferId,
        ending: Ending,
    ) -> Result<Option<Transfer>, ChangeError> {
        let now = clock::now();
        let changed = self.change(id, move |transfer| transfer.end(ending, now)).await?;
        if let Some(transfer) = &changed
            && !transfer.is_live()
        {
            self.clear_away(transfer).await;
        }
        Ok(changed)
    }

    /// Stops what goes on about a transfer that has ended, and removes what
    /// is not needed any more. All of it may be done again.
    async fn clear_away(self: &Arc<Self>, transfer: &Transfer) {
        let id = transfer.id;
        if transfer.task.is_some() {
            self.task_files_ended.notify_one();
        }
        match transfer.direction {
            Direction::Sent => {
                if let Some(talk) = self.talks().remove(&id) {
                    talk.cancel();
                }
                let folder = self.outgoing.join(id.to_string());
                self.remove_folder(folder).await;
                self.wake_link(transfer.peer);
            }
            Direction::Received => {
                self.landings.refuse(id, transfer);
                if !matches!(transfer.ended(), Some((_, Ending::Complete))) {
                    self.remove_folder(self.incoming_folder(id)).await;
                }
            }
        }
    }

    async fn remove_folder(&self, folder: PathBuf) {
        let removing = self.tasks.spawn_blocking(move || pilot_tree::discard(&folder));
        match removing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what is left of a transfer was not removed"),
            Err(error) => tracing::error!(%error, "removing the rest of a transfer broke off"),
        }
    }

    fn inbox_folder(&self, id: TransferId) -> PathBuf {
        self.inbox.join(id.to_string())
    }

    fn incoming_folder(&self, id: TransferId) -> PathBuf {
        self.inbox.join(".incoming").join(id.to_string())
    }

    fn talks(&self) -> std::sync::MutexGuard<'_, BTreeMap<TransferId, CancellationToken>> {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn watch_the_clock(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            for id in self.desk.overdue(clock::now()) {
                if let Err(error) = self.end(id, Ending::Expired).await {
                    tracing::warn!(transfer = %id, %error, "a transfer whose time is over goes on");
                }
            }
        }
    }
}

/// The transfer that a folder is of.
fn id_of(folder: &Path) -> Option<TransferId> {
    folder.file_name()?.to_str()?.parse().ok()
}
