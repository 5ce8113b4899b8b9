//! Puts the receipts of this node's tasks to the rendezvous, once each.
//!
//! What is owed is a row of the store, written with the record of its task, and
//! goes when the rendezvous has answered. Nothing happens while nothing is owed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pilot_overlay::{Overlay, RegistryClient, RegistryError};
use pilot_proto::registry::{Answer, MAX_RECEIPTS, ReceiptPut, Receipts, RefusalCode, Request};
use pilot_store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::polo::is_counting;
use super::trust::TrustService;
use crate::clock;
use crate::store::receipts::{self, Place};

/// Pause after each batch, in which the next one gathers. The rendezvous
/// takes four a second.
const GATHER: Duration = Duration::from_millis(250);

/// Pause after an exchange that failed while the line stayed.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Pause after a refusal that says nothing about when.
const REFUSED: Duration = Duration::from_secs(60);

/// When a receipt is put again that may count later. It ends with one that is
/// [`ReceiptPut::TooOld`], ninety days after its task at the latest.
const HELD: Duration = Duration::from_secs(3600);

/// See the page of the module.
pub(crate) struct ReceiptsService {
    store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Rings when there is one more.
    news: Notify,
    counters: Counters,
}

/// What became of receipts since the daemon started.
#[derive(Default)]
struct Counters {
    counted: AtomicU64,
    known: AtomicU64,
    refused: AtomicU64,
    held: AtomicU64,
}

/// What is to be waited for.
enum Next {
    /// The next receipt, or this moment.
    News(Option<pilot_identity::Timestamp>),
    Pause(Duration),
}

impl ReceiptsService {
    pub(crate) fn new(store: Store, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let (news, counters) = (Notify::new(), Counters::default());
        Arc::new(Self { store, tasks: tasks.clone(), stop: stop.clone(), news, counters })
    }

    /// Gives it the overlay and whose grants go first, and starts it; once, at start.
    pub(crate) fn connect(self: &Arc<Self>, overlay: Overlay, trust: Arc<TrustService>) {
        let service = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = service.stop.cancelled() => {}
                () = service.run(&overlay, &trust) => {}
            }
        });
    }

    /// There is one more.
    pub(crate) fn ring(&self) {
        self.news.notify_one();
    }

    /// How many receipts were answered since the start, by how.
    pub(crate) fn answered(&self) -> [(&'static str, u64); 4] {
        let Counters { counted, known, refused, held } = &self.counters;
        [("counted", counted), ("known", known), ("refused", refused), ("held", held)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// How many are still to be put; none while the store cannot be read.
    pub(crate) fn owed(&self) -> Option<u64> {
        self.store.read(receipts::count).ok()
    }

    async fn run(&self, overlay: &Overlay, trust: &TrustService) {
        let Some(registry) = overlay.registry() else { return };
        loop {
            match self.post(registry).await {
                Next::News(until) => tokio::select! {
                    () = clock::wait_for(until, &self.news) => {}
                    // The rendezvous is there again, and knows who trusts whom.
                    () = trust.grants_put() => {}
                },
                Next::Pause(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Puts one batch, if there is one and somebody takes it.
    async fn post(&self, registry: &RegistryClient) -> Next {
        let now = clock::now();
        let read = self.store.read(|connection| {
            let due = receipts::due(connection, now, MAX_RECEIPTS)?;
            Ok((due, receipts::next(connection)?))
        });
        let ((due, unreadable), next) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "the receipts that are owed cannot be read");
                return Next::Pause(REFUSED);
            }
        };
        if !unreadable.is_empty() {
            tracing::warn!(count = unreadable.len(), "receipts that are owed are unreadable");
            return self.settle(unreadable.into_iter().map(|seq| (seq, ReceiptPut::Invalid))).await;
        }
        if due.is_empty() {
            return Next::News(next);
        }
        if !is_counting(&registry.status()) {
            return Next::News(None);
        }
        let (places, puts): (Vec<i64>, Vec<_>) =
            due.into_iter().map(|Place(seq, put)| (seq, put)).unzip();
        let request = Request::PutReceipts(Receipts::first_of(puts));
        match registry.ask(&request).await {
            Ok(Answer::ReceiptsPut(outcomes)) if outcomes.len() == places.len() => {
                self.settle(places.into_iter().zip(outcomes)).await
            }
            Err(RegistryError::Refused(refusal)) => {
                tracing::debug!(message = refusal.message.as_str(), "no receipt was taken");
                Next::Pause(match refusal.code {
                    RefusalCode::RateLimited { retry_after_ms } => {
                        Duration::from_millis(retry_after_ms.into()).min(REFUSED)
                    }
                    RefusalCode::NotFound
                    | RefusalCode::NotRegistered
                    | RefusalCode::Invalid
                    | RefusalCode::MailboxFull
                    | RefusalCode::DiskFull
                    | RefusalCode::NetworkFull
                    | RefusalCode::Internal => REFUSED,
                })
            }
            // Grants are put when there is a line, and this goes on.
            Err(RegistryError::NotConfigured | RegistryError::NotConnected) => Next::News(None),
            Err(
                error
                @ (RegistryError::TimedOut | RegistryError::Line(_) | RegistryError::Confused),
            ) => {
                tracing::debug!(%error, "receipts were not put");
                Next::Pause(TRY_AGAIN)
            }
            Ok(_) => {
                tracing::debug!("the rendezvous answered something else than about receipts");
                Next::Pause(REFUSED)
            }
        }
    }

    /// Forgets what was answered, and what may count later for a while.
    async fn settle(&self, answered: impl Iterator<Item = (i64, ReceiptPut)>) -> Next {
        let again = clock::now().saturating_add(HELD);
        let mut batch = self.store.batch();
        for (seq, outcome) in answered {
            let counter = match outcome {
                ReceiptPut::Counted => &self.counters.counted,
                ReceiptPut::Known => &self.counters.known,
                ReceiptPut::TooOld | ReceiptPut::Invalid | ReceiptPut::NotYours => {
                    &self.counters.refused
                }
                // The rendezvous may not have all grants yet, and a clock may be set right.
                ReceiptPut::NotMutual | ReceiptPut::NotYet | ReceiptPut::Full => {
                    receipts::hold(&mut batch, seq, again);
                    self.counters.held.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
            receipts::remove(&mut batch, seq);
        }
        match self.store.commit(batch).await {
            Ok(()) => Next::Pause(GATHER),
            Err(error) => {
                tracing::warn!(%error, "that receipts were put could not be written");
                Next::Pause(TRY_AGAIN)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::{Digest, NodeKey, Outcome, Receipt, ReceiptTimes, Timestamp};
    use pilot_proto::TaskId;
    use pilot_proto::registry::PutReceipt;
    use pilot_store::Settings;

    use super::*;
    use crate::store::receipts::{Owed, Role};
    use crate::store::schema::MIGRATIONS;

    fn owed(number: u8) -> Owed {
        let key = |seed| NodeKey::from_seed(&[seed; 32].into());
        let id = TaskId::from_bytes([number; 16]);
        let receipt = Receipt {
            task: id.uuid(),
            attempt: 1,
            submitter: key(1).id(),
            worker: key(2).id(),
            outcome: Outcome::Succeeded,
            digest: Digest::of(b""),
            times: ReceiptTimes::default(),
        };
        let receipt = receipt.sign(&key(2)).countersign(&key(1));
        Owed { id, attempt: 1, role: Role::Worker, put: PutReceipt { receipt, kind: 0 } }
    }

    #[tokio::test]
    async fn what_may_count_later_is_put_again_after_an_hour_and_the_rest_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Settings::new(folder.path().join("db"), MIGRATIONS)).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let service = ReceiptsService::new(store.clone(), &tasks, &stop);
        let mut batch = store.batch();
        (1..=8).for_each(|number| receipts::put(&mut batch, owed(number)));
        store.commit(batch).await.unwrap();
        let answers = [
            ReceiptPut::Counted,
            ReceiptPut::Known,
            ReceiptPut::TooOld,
            ReceiptPut::NotMutual,
            ReceiptPut::Invalid,
            ReceiptPut::NotYours,
            ReceiptPut::Full,
            ReceiptPut::NotYet,
        ];

        let before = clock::now();
        let next = service.settle((1..).zip(answers)).await;

        assert!(matches!(next, Next::Pause(GATHER)));
        let due_at = |now: Timestamp| -> Vec<i64> {
            let (due, _) = store.read(|connection| receipts::due(connection, now, 64)).unwrap();
            due.into_iter().map(|Place(seq, _)| seq).collect()
        };
        let short = Duration::from_secs(3599);
        assert!(due_at(before.saturating_add(short)).is_empty());
        assert_eq!(due_at(clock::now().saturating_add(HELD)), [4, 7, 8]);
        assert_eq!(service.owed(), Some(3));
        let answered = service.answered().map(|(_, count)| count);
        assert_eq!(answered, [1, 1, 3, 3]);
    }
}
