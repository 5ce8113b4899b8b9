//! How many events went which way since the start.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    published: AtomicU64,
    heard: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
}

/// As they are at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By this node's users and by the daemon itself.
    pub(crate) published: u64,
    /// From peers.
    pub(crate) heard: u64,
    /// To subscribers here, each counted.
    pub(crate) delivered: u64,
    /// That a subscriber here was too slow for, at the most.
    pub(crate) lost: u64,
}

impl Counters {
    pub(super) fn published(&self, count: u64) {
        self.published.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn heard(&self, count: u64) {
        self.heard.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            published: read(&self.published),
            heard: read(&self.heard),
            delivered: read(&self.delivered),
            lost: read(&self.lost),
        }
    }
}
