//! The one thread that writes.
//!
//! Takes everything in line into one transaction, so that the callers that
//! wait share one fsync; waits for nobody, so that a lone commit starts at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::batch::CommitError;
use crate::queue::{Job, Queue};
use crate::space::Space;

/// Most batches in one group; the others make the next one.
const MAX_GROUP: usize = 1024;

/// How long a group takes in batches. With the fsync it bounds how long the
/// first of them waits.
const MAX_GROUP_TIME: Duration = Duration::from_millis(10);

/// Writes until the queue is closed and empty. Returns whether the database
/// was left whole, with nothing in the write-ahead log.
pub(crate) fn run(connection: Connection, queue: &Arc<Queue>, space: &Arc<Space>) -> bool {
    let _abandon = AbandonOnExit(queue);
    while let Some(first) = queue.next_group() {
        write_group(&connection, queue, space, first);
    }
    match checkpoint(&connection) {
        Ok(()) => connection.close().is_ok(),
        Err(error) => {
            tracing::warn!(%error, "the write-ahead log stays for the next start");
            false
        }
    }
}

/// Callers learn of a writer that ended, also by a panic in a write.
struct AbandonOnExit<'a>(&'a Queue);

impl Drop for AbandonOnExit<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn write_group(connection: &Connection, queue: &Queue, space: &Space, first: Job) {
    let mut group = Vec::new();
    let outcome = fill_and_commit(connection, queue, first, &mut group).map_err(|error| {
        tracing::warn!(%error, batches = group.len(), "a group of writes failed");
        if is_disk_full(&error, space) {
            space.forget();
            CommitError::DiskFull
        } else {
            CommitError::Failed(Arc::new(error))
        }
    });
    queue.settle(group, &outcome);
}

fn fill_and_commit(
    connection: &Connection,
    queue: &Queue,
    first: Job,
    group: &mut Vec<tokio::sync::oneshot::Sender<Result<(), CommitError>>>,
) -> rusqlite::Result<()> {
    let started = Instant::now();
    let mut transaction = None;
    let mut next = Some(first);
    while let Some(Job { batch, done }) = next {
        group.push(done);
        for write in batch.into_writes() {
            let open = match &mut transaction {
                Some(open) => open,
                // Dropping it rolls back, whatever error ends this function.
                none => none.insert(Transaction::new_unchecked(
                    connection,
                    TransactionBehavior::Immediate,
                )?),
            };
            write(open)?;
        }
        let full = group.len() >= MAX_GROUP || started.elapsed() >= MAX_GROUP_TIME;
        next = if full { None } else { queue.join_group() };
    }
    transaction.map_or(Ok(()), Transaction::commit)
}

/// SQLite says so itself where a write found no room; where it only says
/// "input/output error" (as for the shared index), the file system is asked.
fn is_disk_full(error: &rusqlite::Error, space: &Space) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure) => space.is_used_up(),
        Some(_) | None => false,
    }
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
