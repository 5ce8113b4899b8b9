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
    /// The encoded `ResultBody` of an attempt that was not the task's last.
    Attempt(u32),
    /// The encoded `ResultBody` of another task, which is this one's input of
    /// that number.
    Input(u16),
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
            // Attempts are numbered from 1.
            Self::Attempt(attempt) => 1_000_000 + attempt as i64,
            Self::Input(number) => 1_000 + number as i64,
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

/// Makes the result of a submitted task that of one of its attempts.
pub(crate) fn set_aside(batch: &mut Batch, id: TaskId, attempt: u32) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "UPDATE OR REPLACE bodies SET kind = ?4 WHERE id = ?1 AND side = ?2 AND kind = ?3",
            )?
            .execute((
                id.as_bytes().as_slice(),
                Side::Submitted.number(),
                Kind::Result.number(),
                Kind::Attempt(attempt).number(),
            ))?;
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

/// Adds the deletion of all inputs of a task that was received.
pub(crate) fn forget_inputs(batch: &mut Batch, id: TaskId) {
    batch.write(move |transaction| {
        let (first, end) = (Kind::Input(0).number(), Kind::Attempt(0).number());
        transaction
            .prepare_cached(
                "DELETE FROM bodies WHERE id = ?1 AND side = ?2 AND kind >= ?3 AND kind < ?4",
            )?
            .execute((id.as_bytes().as_slice(), Side::Received.number(), first, end))?;
        Ok(())
    });
}

/// The inputs of a task that was received, in their order.
pub(crate) fn inputs(connection: &Connection, id: TaskId) -> rusqlite::Result<Vec<Bytes>> {
    let (first, end) = (Kind::Input(0).number(), Kind::Attempt(0).number());
    connection
        .prepare_cached(
            "SELECT body FROM bodies WHERE id = ?1 AND side = ?2 AND kind >= ?3 AND kind < ?4
             ORDER BY kind",
        )?
        .query_map((id.as_bytes().as_slice(), Side::Received.number(), first, end), |row| {
            row.get::<_, Vec<u8>>(0).map(Bytes::from)
        })?
        .collect()
}

/// The tasks of which there is a body of this kind.
pub(crate) fn all_of(
    connection: &Connection,
    side: Side,
    kind: Kind,
) -> rusqlite::Result<Vec<TaskId>> {
    connection
        .prepare_cached("SELECT id FROM bodies WHERE side = ?1 AND kind = ?2")?
        .query_map((side.number(), kind.number()), |row| {
            row.get::<_, [u8; 16]>(0).map(TaskId::from_bytes)
        })?
        .collect()
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
