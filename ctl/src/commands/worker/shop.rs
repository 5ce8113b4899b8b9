//! What all slots of a worker share.

use core::time::Duration;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pilot_local_api::proto::{PeerRef, TaskId};
use tokio::sync::watch;

use super::guarded::Guarded;
use super::tree::Repository;
use crate::Ctl;

/// Delay before a task is tried again whose command said "later"; it doubles
/// with each time, up to [`MAX_LATER`].
const LATER: Duration = Duration::from_secs(5);

const MAX_LATER: Duration = Duration::from_secs(300);

/// Tasks put off that are remembered; beyond it the oldest begin anew.
const MAX_PUT_OFF: usize = 10_000;

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// Not at all.
    No,
    /// No more tasks are accepted.
    NoMore,
    /// What runs is to end.
    Now,
    /// What runs is to end at once, and nothing to be told: the guard is gone,
    /// so that the daemon has put all tasks back.
    Unguarded,
}

/// How many tasks are worked on, and since when it is so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) running: usize,
    pub(super) since: Instant,
}

/// What all slots of a worker share.
pub(super) struct Shop {
    pub(super) ctl: Ctl,
    /// The command and its arguments.
    pub(super) words: Vec<OsString>,
    /// Only tasks of this submitter.
    pub(super) from: Option<PeerRef>,
    pub(super) repository: Option<Repository>,
    pub(super) guard: Guarded,
    /// The folder in which each task has one.
    pub(super) folder: PathBuf,
    pub(super) grace: Duration,
    /// Whether stdout may be a JSON document.
    pub(super) json_result: bool,
    /// Whether lines have to say whose they are.
    pub(super) several: bool,
    pub(super) stop: watch::Sender<Stop>,
    /// Whether a signal asked the worker to end.
    pub(super) signalled: AtomicBool,
    pub(super) tally: watch::Sender<Tally>,
    /// Tasks that may still be begun.
    pub(super) left: AtomicU64,
    /// Tasks that were begun.
    pub(super) begun: AtomicU64,
    /// How often each task was put off.
    pub(super) put_off: Mutex<BTreeMap<TaskId, u32>>,
}

impl Shop {
    /// Takes the right to begin one more task.
    pub(super) fn take_ticket(&self) -> bool {
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok()
    }

    /// Once the end is so far. Cancel safe.
    pub(super) async fn stopped(&self, least: Stop) {
        // Whoever could say so being gone means the same.
        drop(self.stop.subscribe().wait_for(|stop| *stop >= least).await);
    }

    /// The folder of the next task, which nobody has had.
    pub(super) fn next_folder(&self) -> PathBuf {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        self.folder.join(number.to_string())
    }

    /// Counts a task as worked on, until the answer is dropped.
    pub(super) fn count(&self) -> Counted<'_> {
        self.tally.send_modify(|tally| {
            *tally = Tally { running: tally.running + 1, since: Instant::now() };
        });
        Counted(&self.tally)
    }

    /// Puts a task off once more: for how long.
    pub(super) fn put_off(&self, id: TaskId) -> Duration {
        let mut all = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_PUT_OFF && !all.contains_key(&id) {
            all.pop_first();
        }
        let times = all.entry(id).or_default();
        let delay = LATER.saturating_mul(2_u32.saturating_pow(*times)).min(MAX_LATER);
        *times = times.saturating_add(1);
        delay
    }

    /// A task is over.
    pub(super) fn forget(&self, id: &TaskId) {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// A task that is worked on.
pub(super) struct Counted<'a>(&'a watch::Sender<Tally>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|tally| {
            *tally = Tally { running: tally.running.saturating_sub(1), since: Instant::now() };
        });
    }
}
