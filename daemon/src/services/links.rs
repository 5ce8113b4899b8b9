//! Links of a service to its peers: one driver a peer, which sends what is
//! owed whenever there is a session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pilot_identity::NodeId;
use pilot_overlay::{Overlay, Session};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after something failed on a session that seems alive.
pub(super) const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// A service that owes something to peers.
pub(super) trait Owing: Send + Sync + 'static {
    /// What it sends, for the log.
    const WHAT: &'static str;

    /// Whether there is something to be sent to the peer.
    fn has_owed(&self, peer: &NodeId) -> bool;

    /// Sends over one session until it fails, nothing is owed, or the node
    /// stops; how much of it came to an end.
    fn use_link(
        self: &Arc<Self>,
        peer: NodeId,
        session: &Session,
        wake: &Notify,
    ) -> impl Future<Output = usize> + Send;
}

/// The drivers: one for each peer that was ever owed something.
pub(super) struct Links {
    wakes: Mutex<BTreeMap<NodeId, Arc<Notify>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Links {
    pub(super) fn new(tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        Self { wakes: Mutex::default(), tasks: tasks.clone(), stop: stop.clone() }
    }

    /// Lets the peer's driver look for something to send; starts it if need be.
    pub(super) fn wake<S: Owing>(&self, service: &Arc<S>, overlay: &Overlay, peer: NodeId) {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let wake = wakes.entry(peer).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            let (service, overlay) = (Arc::clone(service), overlay.clone());
            self.tasks.spawn(drive(service, overlay, self.stop.clone(), peer, Arc::clone(&wake)));
            wake
        });
        wake.notify_one();
    }
}

async fn drive<S: Owing>(
    service: Arc<S>,
    overlay: Overlay,
    stop: CancellationToken,
    peer: NodeId,
    wake: Arc<Notify>,
) {
    let mut fruitless = 0;
    loop {
        if !service.has_owed(&peer) {
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.notified() => continue,
            }
        }
        // A session that breaks is replaced at once; a peer that breaks each
        // of them is not dialled in a tight loop.
        if fruitless > 1 {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AFTER_FAILURE) => {}
            }
        }
        let reached = tokio::select! {
            () = stop.cancelled() => return,
            reached = overlay.connected(peer) => reached,
        };
        match reached {
            Ok(session) => {
                let ended = service.use_link(peer, &session, &wake).await;
                fruitless = if ended > 0 { 0 } else { fruitless + 1 };
            }
            // Trust will wake it again.
            Err(error) => {
                tracing::debug!(peer = %peer.short(), %error, "no link for {}", S::WHAT);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = wake.notified() => {}
                }
            }
        }
    }
}
