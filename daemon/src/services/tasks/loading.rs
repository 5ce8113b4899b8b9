//! Which tasks get their files just now.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_proto::TaskId;
use tokio::sync::Notify;

/// Makes those who ask for the same task wait for each other: whoever asks
/// again because the answer took long finds the task, and copies nothing.
#[derive(Debug, Default)]
pub(super) struct Loading {
    tasks: Mutex<BTreeSet<TaskId>>,
    /// Rings when one of them is through.
    through: Notify,
}

/// A turn at one task, until it is dropped.
#[derive(Debug)]
pub(super) struct LoadingTurn<'a>(&'a Loading, TaskId);

impl Loading {
    /// Waits for its turn. Cancel safe: whoever is dropped has no turn.
    pub(super) async fn turn(&self, id: TaskId) -> LoadingTurn<'_> {
        loop {
            // Rings from here on are heard, also those before the look below.
            let mut through = std::pin::pin!(self.through.notified());
            through.as_mut().enable();
            if self.lock().insert(id) {
                return LoadingTurn(self, id);
            }
            through.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LoadingTurn<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
        self.0.through.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_asks_for_the_same_task_waits_and_nobody_else_does() {
        let loading = Loading::default();
        let [one, other] = [1, 2].map(|number| TaskId::from_bytes([number; 16]));

        let first = loading.turn(one).await;
        let mut second = std::pin::pin!(loading.turn(one));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(loading.turn(other).now_or_never().is_some());

        drop(first);
        drop(second.await);
        assert!(loading.lock().is_empty());
    }
}
