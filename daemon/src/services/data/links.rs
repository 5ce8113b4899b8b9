//! Sends what is owed to peers: a few transfers at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use pilot_files::Transfer;
use pilot_identity::NodeId;
use pilot_overlay::Session;
use pilot_proto::TransferId;
use tokio::sync::Notify;
use tokio::time::sleep_until;

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

/// What came of a talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talked {
    /// The session goes on, whatever became of the transfer.
    Ended,
    /// The peer does not take it now.
    Later,
    /// The session is over.
    Broke,
}

/// Until then; for ever, if there is no time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn closed(session: &Session) {
    session.connection().closed().await;
}

impl Owing for DataService {
    const WHAT: &'static str = "data";

    fn has_owed(&self, peer: &NodeId) -> bool {
        self.desk.has_owed(peer)
    }

    async fn use_link(self: &Arc<Self>, peer: NodeId, session: &Session, wake: &Notify) -> usize {
        let mut ended = 0;
        // Those under way, and whether each is large; and those that wait for
        // the peer, each until when.
        let mut talking = BTreeMap::new();
        let mut later: BTreeMap<TransferId, Instant> = BTreeMap::new();
        let mut talks = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            later.retain(|_, until| *until > now);
            for transfer in self.desk.owed(&peer) {
                // What its user ended is told at once.
                if transfer.is_live() && later.contains_key(&transfer.id) {
                    continue;
                }
                let is_large = transfer.is_live() && transfer.totals.bytes > SMALL;
                let large = talking.values().filter(|is_large| **is_large).count();
                let has_room = talks.len() < TALKS && !(is_large && large >= LARGE_TALKS);
                if has_room && !talking.contains_key(&transfer.id) {
                    talking.insert(transfer.id, is_large);
                    talks.push(self.talk_about(session, transfer));
                }
            }
            let next = later.values().min().copied();
            tokio::select! {
                () = self.stop.cancelled() => return ended,
                () = wake.notified() => {}
                () = until(next) => {}
                () = closed(session), if talks.is_empty() => return ended,
                Some((id, talked)) = talks.next() => {
                    talking.remove(&id);
                    match talked {
                        Talked::Ended => ended += 1,
                        Talked::Later => {
                            later.insert(id, Instant::now() + LATER);
                        }
                        Talked::Broke => return ended,
                    }
                }
            }
            if talks.is_empty() && !self.desk.has_owed(&peer) {
                return ended;
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

    /// One talk, and what came of it.
    async fn talk_about(
        self: &Arc<Self>,
        session: &Session,
        transfer: Transfer,
    ) -> (TransferId, Talked) {
        let id = transfer.id;
        let talked = match self.talk(session, transfer).await {
            Ok(()) => Talked::Ended,
            Err(TalkError::Later(reason)) => {
                tracing::info!(transfer = %id, reason, "the peer takes the transfer later");
                Talked::Later
            }
            Err(error) => {
                tracing::debug!(transfer = %id, %error, "a transfer broke off");
                if session.connection().is_closed() {
                    Talked::Broke
                } else {
                    tokio::time::sleep(AFTER_FAILURE).await;
                    Talked::Ended
                }
            }
        };
        (id, talked)
    }
}
