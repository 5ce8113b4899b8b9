//! The handle that programs hold.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::Connection;

use crate::batch::{Batch, Commit, CommitError, Epoch};
use crate::lockfile::LockFile;
use crate::open::{self, OpenError, Opened, Settings};
use crate::queue::Queue;
use crate::read::{ReadError, Readers};
use crate::space::Space;
use crate::writer;

/// One SQLite file, its writer thread and its readers. Clones are the same store.
///
/// [`Store::close`] ends it properly. When the last clone is dropped without
/// that, everything queued is still written, but the next start checks the file.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    space: Arc<Space>,
    readers: Readers,
    /// Taken when the store ends.
    running: Mutex<Option<Running>>,
}

struct Running {
    writer: JoinHandle<bool>,
    lock: LockFile,
}

impl Store {
    /// Opens or makes the database: locks it against other processes, checks
    /// it if the last end was not a proper one, and runs missing migrations.
    /// Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was changed when it is `Newer`, `Corrupt` or `Locked`.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let Opened { connection, lock } = open::open(settings)?;
        let folder = settings.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new(".")).to_owned();
        let queue = Arc::new(Queue::new());
        let space = Arc::new(Space::new(folder, settings.reserve));
        let writer = thread::Builder::new().name("store-writer".into()).spawn({
            let (queue, space) = (Arc::clone(&queue), Arc::clone(&space));
            move || writer::run(connection, &queue, &space)
        });
        let writer =
            writer.map_err(|source| OpenError::Io { path: settings.path.clone(), source })?;
        let running = Mutex::new(Some(Running { writer, lock }));
        let readers = Readers::new(&settings.path);
        Ok(Self(Arc::new(Inner { queue, space, readers, running })))
    }

    /// The current epoch: ask before loading a machine from disk, and build
    /// its batches with what was said.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.queue.epoch()
    }

    /// An empty batch of the current epoch, for a write that depends on no
    /// machine in memory. Machines use [`Batch::new`].
    pub fn batch(&self) -> Batch {
        Batch::new(self.epoch())
    }

    /// Queues `batch` and resolves when it is on disk. The queueing is done
    /// when this returns; the future only tells the outcome, and may be dropped.
    ///
    /// If a batch is durable, so is every one committed before it. With 8,192
    /// batches in line this waits, on the calling thread, until the writer has
    /// taken some.
    ///
    /// # Errors
    ///
    /// The future gives a [`CommitError`] if nothing of the batch is on disk.
    pub fn commit(&self, batch: Batch) -> Commit {
        self.0.queue.push(batch)
    }

    /// A short read on the calling thread, in one snapshot of what is durable:
    /// commits that have not resolved may be missing.
    ///
    /// # Errors
    ///
    /// [`ReadError`] from the database or from `read` itself.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        self.0.readers.read(read)
    }

    /// A long read, as [`Store::read`] but on a thread that may block.
    ///
    /// Cancel safe: a read that nobody waits for runs to its end unseen.
    ///
    /// # Errors
    ///
    /// [`ReadError`] from the database or from `read` itself; `Closed` also
    /// when the runtime is ending.
    pub async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || store.read(read)).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(ReadError::Closed),
            },
        }
    }

    /// Whether the file system has more than the reserve free. An answer is up
    /// to a quarter of a second old.
    ///
    /// # Errors
    ///
    /// [`CommitError::DiskFull`] if new work must be refused.
    pub fn room_for_new_work(&self) -> Result<(), CommitError> {
        // Where the file system does not say, the commit itself will.
        match self.0.space.has_room(Instant::now()) {
            Ok(true) | Err(_) => Ok(()),
            Ok(false) => Err(CommitError::DiskFull),
        }
    }

    /// Ends the store for all its clones: writes what is queued, empties the
    /// log into the database and marks the end as a proper one. Blocks on the disk.
    pub fn close(self) {
        let Some((whole, mut lock)) = self.0.end() else { return };
        if !whole {
            tracing::warn!("the database was not closed properly; the next start checks it");
        } else if let Err(error) = lock.mark_clean() {
            tracing::warn!(%error, "cannot mark the database as closed; the next start checks it");
        }
    }
}

impl Inner {
    /// Waits for the writer's end. `None` if somebody did before.
    fn end(&self) -> Option<(bool, LockFile)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Running { writer, lock } = running?;
        self.queue.close();
        self.readers.close();
        Some((writer.join().unwrap_or(false), lock))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}
