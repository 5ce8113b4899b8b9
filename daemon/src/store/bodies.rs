//! Contents of tasks and results.

use bytes::Bytes;
use pilot_proto::TaskId;
use pilot_store::Batch;
use rusqlite::{Connection, OptionalExtension as _};

/// Whose half of a task a body belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// This node gave the task to another.
    Submitted,
    /// Another gave it to this node.
    Received,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An encoded `TaskBody`.
    Task,
    /// An encoded `ResultBody`.
    Result,
}

impl Side {
    const fn number(self) -> i64 {
        match self {
            Self::Submitted => 0,
            Self::Received => 1,
        }
    }
}

impl Kind {
    const fn number(self) -> i64 {
        match self {
            Self::Task => 0,
            Self::Result => 1,
        }
    }
}

/// Adds a write of one body.
pub(crate) fn put(batch: &mut Batch, side: Side, kind: Kind, id: TaskId, body: Bytes) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO bodies (id, side, kind, body) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id, side, kind) DO UPDATE SET body = excluded.body",
            )?
            .execute((id.as_bytes().as_slice(), side.number(), kind.number(), body.as_ref()))?;
        Ok(())
    });
}

/// Adds the deletion of one body.
pub(crate) fn forget(batch: &mut Batch, side: Side, kind: Kind, id: TaskId) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("DELETE FROM bodies WHERE id = ?1 AND side = ?2 AND kind = ?3")?
            .execute((id.as_bytes().as_slice(), side.number(), kind.number()))?;
        Ok(())
    });
}

/// One body, if it is there.
pub(crate) fn get(
    connection: &Connection,
    side: Side,
    kind: Kind,
    id: TaskId,
) -> rusqlite::Result<Option<Bytes>> {
    connection
        .prepare_cached("SELECT body FROM bodies WHERE id = ?1 AND side = ?2 AND kind = ?3")?
        .query_row((id.as_bytes().as_slice(), side.number(), kind.number()), |row| {
            row.get::<_, Vec<u8>>(0).map(Bytes::from)
        })
        .optional()
}
