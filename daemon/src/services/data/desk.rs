//! The transfers that are not settled, in memory and on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_files::{Direction, Progress, Transfer};
use pilot_identity::{NodeId, Timestamp};
use pilot_proto::TransferId;
use pilot_proto::data::DataRefusal;
use pilot_store::{CommitError, ReadError, Store};

use super::DataService;
use crate::store::transfers;

/// Transfers of one peer and direction that may live at once; further ones are
/// refused.
pub(super) const MAX_LIVE: usize = 256;

/// Why a change of a transfer did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It is not on disk.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What is there cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The id is taken.
    #[error("there is another transfer with this id")]
    Exists,
    /// Too many live.
    #[error("{MAX_LIVE} transfers with this peer are under way")]
    TooMany,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    live: Mutex<BTreeMap<TransferId, Live>>,
    /// Changes happen one after the other; held across their commits.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Live {
    transfer: Transfer,
    progress: Progress,
    trouble: Option<Trouble>,
}

/// Why a transfer does not go on just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: DataRefusal,
    pub(crate) reason: String,
}

impl Desk {
    pub(super) fn load(store: &Store) -> Result<Self, ReadError> {
        let live = store.read(transfers::live)?;
        let entry = |transfer: Transfer| {
            (transfer.id, Live { transfer, progress: Progress::default(), trouble: None })
        };
        Ok(Self { live: Mutex::new(live.into_iter().map(entry).collect()), ..Self::default() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TransferId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(
        &self,
        store: &Store,
        id: TransferId,
    ) -> Result<Option<Transfer>, ReadError> {
        match self.live(id) {
            Some(transfer) => Ok(Some(transfer)),
            None => store.read(|connection| transfers::get(connection, id)),
        }
    }

    pub(super) fn live(&self, id: TransferId) -> Option<Transfer> {
        self.lock().get(&id).map(|live| live.transfer.clone())
    }

    pub(super) fn of_peer(&self, peer: &NodeId) -> Vec<Transfer> {
        let live = self.lock();
        live.values().map(|live| &live.transfer).filter(|of| of.peer == *peer).cloned().collect()
    }

    /// What is to be sent to a peer, or told to it, oldest first.
    pub(super) fn owed(&self, peer: &NodeId) -> Vec<Transfer> {
        let mut owed = self.of_peer(peer);
        owed.retain(|transfer| transfer.direction == Direction::Sent);
        owed
    }

    pub(super) fn has_owed(&self, peer: &NodeId) -> bool {
        let live = self.lock();
        let mut owed = live.values().map(|live| &live.transfer);
        owed.any(|owed| owed.direction == Direction::Sent && owed.peer == *peer)
    }

    pub(super) fn peers_owed(&self) -> BTreeSet<NodeId> {
        let live = self.lock();
        let sent = live.values().filter(|live| live.transfer.direction == Direction::Sent);
        sent.map(|live| live.transfer.peer).collect()
    }

    pub(super) fn overdue(&self, now: Timestamp) -> Vec<TransferId> {
        let live = self.lock();
        let overdue = live.values().filter(|live| live.transfer.is_overdue(now));
        overdue.map(|live| live.transfer.id).collect()
    }

    pub(super) fn progress(&self, id: TransferId) -> Progress {
        self.lock().get(&id).map_or_else(Progress::default, |live| live.progress)
    }

    /// It is so far, and goes on.
    pub(super) fn note_progress(&self, id: TransferId, progress: Progress) {
        if let Some(live) = self.lock().get_mut(&id) {
            live.progress = progress;
            live.trouble = None;
        }
    }

    pub(super) fn trouble(&self, id: TransferId) -> Option<Trouble> {
        self.lock().get(&id)?.trouble.clone()
    }

    pub(super) fn note_trouble(&self, id: TransferId, trouble: Trouble) {
        if let Some(live) = self.lock().get_mut(&id) {
            live.trouble = Some(trouble);
        }
    }

    fn put(&self, transfer: Transfer) {
        let mut live = self.lock();
        if transfer.is_settled() {
            live.remove(&transfer.id);
        } else if let Some(known) = live.get_mut(&transfer.id) {
            known.transfer = transfer;
        } else {
            let new = Live { transfer, progress: Progress::default(), trouble: None };
            live.insert(new.transfer.id, new);
        }
    }

    fn has_room_for(&self, new: &Transfer) -> bool {
        let live = self.lock();
        let alike = live.values().filter(|live| {
            live.transfer.peer == new.peer && live.transfer.direction == new.direction
        });
        alike.count() < MAX_LIVE
    }
}

impl DataService {
    /// Enters a new transfer; it is on disk when this returns.
    ///
    /// Cancel safe: it is entered whole or not at all.
    pub(super) async fn enter(self: &Arc<Self>, transfer: Transfer) -> Result<(), ChangeError> {
        let service = Arc::clone(self);
        let entering = async move {
            let _turn = service.desk.changing.lock().await;
            if service.desk.find(&service.store, transfer.id)?.is_some() {
                return Err(ChangeError::Exists);
            }
            if !service.desk.has_room_for(&transfer) {
                return Err(ChangeError::TooMany);
            }
            service.write(&transfer).await?;
            service.desk.put(transfer);
            Ok(())
        };
        self.tasks.spawn(entering).await.unwrap_or(Err(ChangeError::Stopping))
    }

    /// Changes a transfer, if `change` says so; as it is then, on disk. None
    /// if there is no such transfer.
    ///
    /// Cancel safe: it happens whole or not at all.
    pub(super) async fn change(
        self: &Arc<Self>,
        id: TransferId,
        change: impl FnOnce(&mut Transfer) -> bool + Send + 'static,
    ) -> Result<Option<Transfer>, ChangeError> {
        let service = Arc::clone(self);
        let changing = async move {
            let _turn = service.desk.changing.lock().await;
            let Some(mut transfer) = service.desk.find(&service.store, id)? else {
                return Ok(None);
            };
            if change(&mut transfer) {
                service.write(&transfer).await?;
                service.desk.put(transfer.clone());
                service.watchers.tell(id, transfer.revision);
            }
            Ok(Some(transfer))
        };
        self.tasks.spawn(changing).await.unwrap_or(Err(ChangeError::Stopping))
    }

    /// Forgets a transfer that has ended.
    pub(super) async fn forget(self: &Arc<Self>, id: TransferId) -> Result<(), ChangeError> {
        let service = Arc::clone(self);
        let forgetting = async move {
            let _turn = service.desk.changing.lock().await;
            let mut batch = service.store.batch();
            transfers::remove(&mut batch, id);
            service.store.commit(batch).await?;
            service.desk.lock().remove(&id);
            Ok(())
        };
        self.tasks.spawn(forgetting).await.unwrap_or(Err(ChangeError::Stopping))
    }

    async fn write(&self, transfer: &Transfer) -> Result<(), CommitError> {
        let mut batch = self.store.batch();
        transfers::put(&mut batch, transfer.clone());
        self.store.commit(batch).await
    }
}
