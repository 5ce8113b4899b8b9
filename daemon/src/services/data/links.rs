//! Sends what is owed to peers: a few transfers at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use pilot_files::Transfer;
use pilot_identity::NodeId;
use pilot_overlay::Session;
use pilot_proto::TransferId;
use tokio::sync::Notify;

use super::DataService;
use super::talk::TalkError;
use crate::services::links::{AFTER_FAILURE, Owing};

/// Transfers with one peer at once: a small one need not wait for a large one,
/// and each has its share of the line.
const TALKS: usize = 4;

/// Of them, those that may be larger than [`SMALL`] bytes: a small one does not
/// wait until one of several large ones is done.
const LARGE_TALKS: usize = 3;
const SMALL: u64 = 16 * 1024 * 1024;

/// Pause before one that the receiver could not take now is offered again.
const LATER: Duration = Duration::from_secs(10);

impl Owing for DataService {
    const WHAT: &'static str = "data";

    fn has_owed(&self, peer: &NodeId) -> bool {
        self.desk.has_owed(peer)
    }

    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, wake: &Notify) -> usize {
        let mut ended = 0;
        // Those under way, and whether each is large.
        let mut talking = BTreeMap::new();
        let mut talks = FuturesUnordered::new();
        loop {
            for transfer in self.desk.owed(&peer) {
                let is_large = transfer.is_live() && transfer.totals.bytes > SMALL;
                let large = talking.values().filter(|is_large| **is_large).count();
                let has_room = talks.len() < TALKS && !(is_large && large >= LARGE_TALKS);
                if has_room && !talking.contains_key(&transfer.id) {
                    talking.insert(transfer.id, is_large);
                    talks.push(self.talk_about(session, transfer));
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return ended,
                () = wake.notified() => {}
                talked = talks.next() => match talked {
                    Some((id, true)) => {
                        talking.remove(&id);
                        ended += 1;
                    }
                    Some((_, false)) | None => return ended,
                },
            }
        }
    }
}

impl DataService {
    /// Lets the peer's driver look for something to send.
    pub(super) fn wake_link(self: &Arc<Self>, peer: NodeId) {
        if let Some(overlay) = self.overlay.get() {
            self.links.wake(self, overlay, peer);
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
