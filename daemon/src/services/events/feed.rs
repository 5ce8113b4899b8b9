//! A stream of events in memory, and whoever waits for the next of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pilot_events::{Cursor, Read, Tail};
use pilot_proto::Position;
use tokio::sync::watch;

/// A [`Tail`] that can be waited for.
pub(super) struct Feed {
    tail: Mutex<Tail>,
    news: watch::Sender<()>,
}

impl Feed {
    /// An empty one that begins after `from`, of at most `limit` bytes.
    pub(super) fn new(from: Position, limit: usize) -> Self {
        Self { tail: Mutex::new(Tail::new(from, limit)), news: watch::Sender::new(()) }
    }

    /// Changes it, and tells those who wait.
    pub(super) fn change(&self, change: impl FnOnce(&mut Tail)) {
        change(&mut self.tail());
        self.news.send_replace(());
    }

    pub(super) fn read(&self, cursor: Cursor, max: usize) -> Read {
        self.tail().read(cursor, max)
    }

    pub(super) fn cursor(&self, position: Position) -> Cursor {
        self.tail().cursor(position)
    }

    pub(super) fn head(&self) -> Position {
        self.tail().head()
    }

    /// Rings at each change from now on.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
