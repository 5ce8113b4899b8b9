//! Reads, on connections that cannot write.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::open::SHARED_PRAGMAS;

/// Most connections kept open between reads; a busier moment opens more and
/// drops them afterwards.
const MAX_IDLE: usize = 4;

/// Statements kept prepared on each connection.
const CACHED_STATEMENTS: usize = 32;

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database refused it.
    #[error("the database refused a read")]
    Sqlite(#[from] rusqlite::Error),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

pub(crate) struct Readers {
    path: PathBuf,
    /// `None` once closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::new(Some(Vec::new())) }
    }

    /// Runs `read` in one snapshot of what is durable.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        let connection = self.take()?;
        // Prepared once: to parse these two takes longer than most reads.
        connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        let outcome = read(&connection);
        // The snapshot ends with nothing to undo. A connection in which it
        // does not end is closed with it.
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        if ended.is_ok() {
            self.give_back(connection);
        }
        Ok(outcome?)
    }

    pub(crate) fn close(&self) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(idle);
    }

    fn take(&self) -> Result<Connection, ReadError> {
        let idle = match &mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(idle) => idle.pop(),
            None => return Err(ReadError::Closed),
        };
        Ok(idle.map_or_else(|| self.connect(), Ok)?)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(idle) = idle.as_mut()
            && idle.len() < MAX_IDLE
        {
            idle.push(connection);
        }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.execute_batch(SHARED_PRAGMAS)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        Ok(connection)
    }
}
