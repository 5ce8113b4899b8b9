//! Rows of tasks, of both halves.

use pilot_identity::NodeId;
use pilot_proto::TaskId;
use pilot_store::Batch;
use pilot_tasks::{ReceivedTask, RecordError, SubmittedTask, TaskState};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql};

use super::undecodable;

/// Adds a write of a task that this node submitted.
pub(crate) fn put_submitted(batch: &mut Batch, task: SubmittedTask) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO submitted
                    (id, settled, state, idempotency_key, record, in_group, dead)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (id) DO UPDATE SET
                    settled = excluded.settled, state = excluded.state,
                    record = excluded.record, dead = excluded.dead",
            )?
            .execute((
                task.terms.id.as_bytes().as_slice(),
                task.is_settled(),
                task.state().word(),
                task.idempotency_key.as_deref(),
                task.encode().map_err(unencodable)?,
                task.extras.plan.group.as_deref(),
                task.extras.dead,
            ))?;
        Ok(())
    });
}

/// Adds a write of a task that this node received.
pub(crate) fn put_received(batch: &mut Batch, task: ReceivedTask) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO received (id, settled, state, record)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET
                    settled = excluded.settled, state = excluded.state, record = excluded.record",
            )?
            .execute((
                task.terms.id.as_bytes().as_slice(),
                task.is_settled(),
                task.state().word(),
                task.encode().map_err(unencodable)?,
            ))?;
        Ok(())
    });
}

fn unencodable(error: RecordError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn submitted_row(row: &Row<'_>) -> rusqlite::Result<SubmittedTask> {
    SubmittedTask::decode(row.get_ref(0)?.as_blob()?).map_err(|error| undecodable(0, error))
}

fn received_row(row: &Row<'_>) -> rusqlite::Result<ReceivedTask> {
    ReceivedTask::decode(row.get_ref(0)?.as_blob()?).map_err(|error| undecodable(0, error))
}

/// The submitted tasks that are not settled.
pub(crate) fn live_submitted(connection: &Connection) -> rusqlite::Result<Vec<SubmittedTask>> {
    connection
        .prepare_cached("SELECT record FROM submitted WHERE settled = 0 ORDER BY id")?
        .query_map([], submitted_row)?
        .collect()
}

/// The received tasks that are not settled.
pub(crate) fn live_received(connection: &Connection) -> rusqlite::Result<Vec<ReceivedTask>> {
    connection
        .prepare_cached("SELECT record FROM received WHERE settled = 0 ORDER BY id")?
        .query_map([], received_row)?
        .collect()
}

/// One submitted task.
pub(crate) fn submitted(
    connection: &Connection,
    id: TaskId,
) -> rusqlite::Result<Option<SubmittedTask>> {
    connection
        .prepare_cached("SELECT record FROM submitted WHERE id = ?1")?
        .query_row([id.as_bytes().as_slice()], submitted_row)
        .optional()
}

/// The submitted task of an idempotency key.
pub(crate) fn submitted_by_key(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<SubmittedTask>> {
    connection
        .prepare_cached("SELECT record FROM submitted WHERE idempotency_key = ?1")?
        .query_row([key], submitted_row)
        .optional()
}

/// One received task.
pub(crate) fn received(
    connection: &Connection,
    id: TaskId,
) -> rusqlite::Result<Option<ReceivedTask>> {
    connection
        .prepare_cached("SELECT record FROM received WHERE id = ?1")?
        .query_row([id.as_bytes().as_slice()], received_row)
        .optional()
}

/// Which submitted tasks are listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Only those in this state.
    pub(crate) state: Option<TaskState>,
    /// Only those of this group.
    pub(crate) group: Option<String>,
    /// Only those that failed for good.
    pub(crate) dead: bool,
}

/// The newest submitted tasks that are wanted.
pub(crate) fn list_submitted(
    connection: &Connection,
    wanted: &Wanted,
    limit: u32,
) -> rusqlite::Result<Vec<SubmittedTask>> {
    // One statement each, so that each goes by an index.
    let state = wanted.state.map(TaskState::word);
    let list = |rows: &str, what: &dyn ToSql| -> rusqlite::Result<Vec<SubmittedTask>> {
        let sql = format!("SELECT record FROM submitted WHERE {rows} ORDER BY id DESC LIMIT ?2");
        connection.prepare_cached(&sql)?.query_map((what, limit), submitted_row)?.collect()
    };
    let mut found: Vec<SubmittedTask> = match (&wanted.group, wanted.dead, state) {
        (Some(group), _, _) => list("in_group = ?1", group)?,
        (None, true, _) => list("dead = 1 AND ?1", &true)?,
        (None, false, Some(state)) => list("state = ?1", &state)?,
        (None, false, None) => list("?1", &true)?,
    };
    found.retain(|task| {
        wanted.state.is_none_or(|state| task.state() == state) && (!wanted.dead || task.extras.dead)
    });
    Ok(found)
}

/// The newest tasks that were submitted to `peer`, at most `limit`, among the
/// newest `among` of this node.
pub(crate) fn submitted_to(
    connection: &Connection,
    peer: NodeId,
    limit: usize,
    among: u32,
) -> rusqlite::Result<Vec<SubmittedTask>> {
    connection
        .prepare_cached("SELECT record FROM submitted ORDER BY id DESC LIMIT ?1")?
        .query_map([among], submitted_row)?
        .filter(|task| task.as_ref().map_or(true, |task| task.peer == peer))
        .take(limit)
        .collect()
}

/// The newest received tasks, of one state or of all.
pub(crate) fn list_received(
    connection: &Connection,
    state: Option<TaskState>,
    limit: u32,
) -> rusqlite::Result<Vec<ReceivedTask>> {
    let (rows, state) = match state {
        Some(state) => ("state = ?1", state.word()),
        None => ("?1 = ''", ""),
    };
    let sql = format!("SELECT record FROM received WHERE {rows} ORDER BY id DESC LIMIT ?2");
    connection.prepare_cached(&sql)?.query_map((state, limit), received_row)?.collect()
}
