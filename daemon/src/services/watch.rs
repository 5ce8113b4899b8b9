//! Whoever waits for a task or a transfer to change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What somebody watches, each with its newest durable revision.
#[derive(Debug)]
pub(crate) struct Watchers<K: Ord>(Arc<Mutex<BTreeMap<K, watch::Sender<u64>>>>);

/// Somebody's watch on one of them; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch<K: Ord> {
    id: K,
    news: watch::Receiver<u64>,
    watchers: Watchers<K>,
}

impl<K: Ord> Default for Watchers<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord> Clone for Watchers<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Ord + Copy> Watchers<K> {
    /// Starts watching; changes from now on are not missed.
    pub(crate) fn watch(&self, id: K) -> Watch<K> {
        let news = self.lock().entry(id).or_insert_with(|| watch::Sender::new(0)).subscribe();
        Watch { id, news, watchers: self.clone() }
    }

    /// Tells those who watch `id` that `revision` is on disk.
    pub(crate) fn tell(&self, id: K, revision: u64) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_replace(revision);
        }
    }
}

impl<K: Ord> Watchers<K> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord> Watch<K> {
    /// Waits for the next change. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        // The sender stays while this watch does.
        drop(self.news.changed().await);
    }
}

impl<K: Ord> Drop for Watch<K> {
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
    use pilot_proto::TaskId;

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
