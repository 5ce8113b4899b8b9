//! How many peers are told of the past at once, and how much of that is one's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pilot_identity::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Answers under way, over all peers, and those of each. Further ones wait.
const ALL: usize = 16;
const EACH: usize = 4;

/// See the module; one for each peer that ever asked, which trust bounds.
pub(super) struct Turns {
    all: Arc<Semaphore>,
    each: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
}

/// The turns of one peer.
pub(super) struct PeerTurns {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), each: Mutex::default() }
    }
}

impl Turns {
    pub(super) fn of(&self, peer: NodeId) -> PeerTurns {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let own = each.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(EACH)));
        PeerTurns { all: Arc::clone(&self.all), own: Arc::clone(own) }
    }
}

impl PeerTurns {
    /// Waits for a turn: for one of its own first, so that a peer that asks too
    /// often takes none of the others'. Cancel safe.
    pub(super) async fn take(self) -> Option<Turn> {
        // They are never closed.
        let own = self.own.acquire_owned().await.ok()?;
        Some(Turn { _of_all: self.all.acquire_owned().await.ok()?, _own: own })
    }
}
