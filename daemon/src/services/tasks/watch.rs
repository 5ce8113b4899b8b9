//! Whoever waits for a task to change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilot_proto::TaskId;
use tokio::sync::watch;

/// The tasks that somebody watches, each with its newest durable revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchers(Arc<Mutex<BTreeMap<TaskId, watch::Sender<u64>>>>);

/// Somebody's watch on one task; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    id: TaskId,
    news: watch::Receiver<u64>,
    watchers: Watchers,
}

impl Watchers {
    /// Starts watching; changes from now on are not missed.
    pub(crate) fn watch(&self, id: TaskId) -> Watch {
        let news = self.lock().entry(id).or_insert_with(|| watch::Sender::new(0)).subscribe();
        Watch { id, news, watchers: self.clone() }
    }

    /// Tells those who watch `id` that `revision` is on disk.
    pub(crate) fn tell(&self, id: TaskId, revision: u64) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_replace(revision);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Waits for the next change. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        // The sender stays while this watch does.
        drop(self.news.changed().await);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.watchers.lock();
        // This watch itself still counts.
        if watched.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_by_all_and_the_last_watch_leaves_nothing() {
        let watchers = Watchers::default();
        let id = TaskId::new(Timestamp::from_millis(1), [1; 10]);
        let (mut one, mut two) = (watchers.watch(id), watchers.watch(id));

        watchers.tell(id, 7);
        one.changed().await;
        two.changed().await;

        drop(one);
        assert_eq!(watchers.lock().len(), 1);
        drop(two);
        assert!(watchers.lock().is_empty());
    }
}
