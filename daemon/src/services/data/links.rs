//! Sends what is owed to peers: one driver a peer, a few transfers at once.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use pilot_files::Transfer;
use pilot_identity::NodeId;
use pilot_overlay::Session;
use pilot_proto::TransferId;
use tokio::sync::Notify;

use super::DataService;
use super::talk::TalkError;

/// Transfers with one peer at once: a small one need not wait for a large one,
/// and each has its share of the line.
const TALKS: usize = 4;

/// Pause after a talk broke off on a session that seems alive.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Pause before one that the receiver could not take now is offered again.
const LATER: Duration = Duration::from_secs(10);

impl DataService {
    /// Lets the peer's driver look for something to send; starts it if need
    /// be. There is one for each peer that was ever owed something.
    pub(super) fn wake_link(self: &Arc<Self>, peer: NodeId) {
        if self.overlay.get().is_none() {
            return;
        }
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let wake = links.entry(peer).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            self.tasks.spawn(Arc::clone(self).drive_link(peer, Arc::clone(&wake)));
            wake
        });
        wake.notify_one();
    }

    async fn drive_link(self: Arc<Self>, peer: NodeId, wake: Arc<Notify>) {
        let Some(overlay) = self.overlay.get() else { return };
        loop {
            if self.desk.owed(&peer).is_empty() {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = wake.notified() => continue,
                }
            }
            let reached = tokio::select! {
                () = self.stop.cancelled() => return,
                reached = overlay.connected(peer) => reached,
            };
            match reached {
                Ok(session) => tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = self.use_link(peer, &session, &wake) => {}
                },
                // Trust will wake it again.
                Err(error) => {
                    tracing::debug!(peer = %peer.short(), %error, "no link for data");
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = wake.notified() => {}
                    }
                }
            }
        }
    }

    /// Talks over one session until it fails or nothing is owed.
    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, wake: &Notify) {
        let mut talking = BTreeSet::new();
        let mut talks = FuturesUnordered::new();
        loop {
            for transfer in self.desk.owed(&peer) {
                if talks.len() < TALKS && talking.insert(transfer.id) {
                    talks.push(self.talk_about(session, transfer));
                }
            }
            tokio::select! {
                () = wake.notified() => {}
                ended = talks.next() => match ended {
                    None => return,
                    Some((id, went_on)) => {
                        talking.remove(&id);
                        if !went_on {
                            return;
                        }
                    }
                },
            }
        }
    }

    /// One talk; whether the session can be used further.
    async fn talk_about(
        self: &Arc<Self>,
        session: &Session,
        transfer: Transfer,
    ) -> (TransferId, bool) {
        let id = transfer.id;
        let went_on = match self.talk(session, transfer).await {
            Ok(()) => true,
            Err(TalkError::Later(reason)) => {
                tracing::info!(transfer = %id, reason, "the peer takes the transfer later");
                tokio::time::sleep(LATER).await;
                true
            }
            Err(error) => {
                tracing::debug!(transfer = %id, %error, "a transfer broke off");
                let is_open = !session.connection().is_closed();
                if is_open {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
                is_open
            }
        };
        (id, went_on)
    }
}
