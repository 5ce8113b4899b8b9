//! What the commands of submitted tasks wrote: the newest of it.

use core::ops::RangeInclusive;

use pilot_proto::TaskId;
use pilot_store::Batch;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

/// Bytes kept of one task, over all of its attempts. Beyond it the oldest go;
/// the last piece stays in any case.
const OF_ONE: u64 = 256 * 1024;

/// Rows of one task: a worker that leaves gaps makes many small ones.
const ROWS_OF_ONE: usize = 64;

/// Bytes kept of all tasks. Beyond it the oldest tasks go, whole.
const OF_ALL: u64 = 64 * 1024 * 1024;

/// Counted for a row beside its bytes, so that small ones are not free.
const ROW: u64 = 256;

/// A row that is smaller is made longer by what follows it.
const GROWS_TO: usize = 16 * 1024;

/// Rows that are read at once: with pieces of 64 KiB, about a megabyte.
const READ: u32 = 16;

/// A piece of what a command wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) attempt: u32,
    /// Bytes that the attempt had written before.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The last row of an attempt.
struct Last {
    key: i64,
    bytes: Vec<u8>,
    end: u64,
}

/// Adds a write of a piece. What is known of it already is passed over.
pub(crate) fn put(batch: &mut Batch, id: TaskId, piece: Kept) {
    batch.write(move |transaction| enter(transaction, id, &piece));
}

/// How many bytes of an attempt are known to have been written.
pub(crate) fn end(connection: &Connection, id: TaskId, attempt: u32) -> rusqlite::Result<u64> {
    Ok(last(connection, id, attempt)?.map_or(0, |last| last.end))
}

/// The next pieces of some attempts, behind so many bytes of one of them.
pub(crate) fn after(
    connection: &Connection,
    id: TaskId,
    attempts: RangeInclusive<u32>,
    (attempt, seen): (u32, u64),
) -> rusqlite::Result<Vec<Kept>> {
    let mut statement = connection.prepare_cached(
        "SELECT attempt, start, bytes FROM task_logs
         WHERE id = ?1 AND attempt BETWEEN ?2 AND ?3
            AND (attempt > ?4 OR (attempt = ?4 AND start + length(bytes) > ?5))
         ORDER BY attempt, start LIMIT ?6",
    )?;
    let id = id.as_bytes().as_slice();
    let bounds = (id, attempts.start(), attempts.end(), attempt, signed(seen), READ);
    let rows = statement.query_map(bounds, |row| {
        Ok(Kept { attempt: row.get(0)?, offset: unsigned(row.get(1)?), bytes: row.get(2)? })
    })?;
    let cut = |kept: Kept| {
        let seen = if kept.attempt == attempt { seen } else { 0 };
        unseen(kept, seen)
    };
    rows.map(|row| row.map(cut)).collect()
}

fn enter(transaction: &Transaction<'_>, id: TaskId, piece: &Kept) -> rusqlite::Result<()> {
    let last = last(transaction, id, piece.attempt)?;
    let end = last.as_ref().map_or(0, |last| last.end);
    let piece = unseen(piece.clone(), end);
    if piece.bytes.is_empty() {
        return Ok(());
    }
    let added = length(&piece.bytes);
    match last {
        Some(mut last) if last.end == piece.offset && last.bytes.len() < GROWS_TO => {
            last.bytes.extend_from_slice(&piece.bytes);
            transaction
                .prepare_cached("UPDATE task_logs SET bytes = ?2 WHERE key = ?1")?
                .execute((last.key, last.bytes))?;
            count(transaction, added, 0)?;
        }
        Some(_) | None => {
            transaction
                .prepare_cached(
                    "INSERT INTO task_logs (id, attempt, start, bytes) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((
                    id.as_bytes().as_slice(),
                    piece.attempt,
                    signed(piece.offset),
                    piece.bytes,
                ))?;
            count(transaction, added + ROW, 0)?;
        }
    }
    trim(transaction, id)?;
    trim_all(transaction)
}

fn last(connection: &Connection, id: TaskId, attempt: u32) -> rusqlite::Result<Option<Last>> {
    connection
        .prepare_cached(
            "SELECT key, start, bytes FROM task_logs WHERE id = ?1 AND attempt = ?2
             ORDER BY start DESC LIMIT 1",
        )?
        .query_row((id.as_bytes().as_slice(), attempt), |row| {
            let (start, bytes): (i64, Vec<u8>) = (row.get(1)?, row.get(2)?);
            let end = unsigned(start).saturating_add(length(&bytes));
            Ok(Last { key: row.get(0)?, bytes, end })
        })
        .optional()
}

/// A piece without what is before `end`.
fn unseen(mut piece: Kept, end: u64) -> Kept {
    let seen = end.saturating_sub(piece.offset).min(length(&piece.bytes));
    piece.bytes.drain(..usize::try_from(seen).unwrap_or_default());
    piece.offset = piece.offset.saturating_add(seen);
    piece
}

/// Deletes the oldest rows of a task that has too much.
fn trim(transaction: &Transaction<'_>, id: TaskId) -> rusqlite::Result<()> {
    let rows: Vec<(i64, u64)> = transaction
        .prepare_cached(
            "SELECT key, length(bytes) FROM task_logs WHERE id = ?1
             ORDER BY attempt DESC, start DESC",
        )?
        .query_map([id.as_bytes().as_slice()], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let mut held = 0_u64;
    for (at, (key, len)) in rows.into_iter().enumerate() {
        held = held.saturating_add(len);
        if at > 0 && (held > OF_ONE || at >= ROWS_OF_ONE) {
            transaction.prepare_cached("DELETE FROM task_logs WHERE key = ?1")?.execute([key])?;
            count(transaction, 0, len + ROW)?;
        }
    }
    Ok(())
}

/// Deletes what the oldest tasks wrote while all have too much.
fn trim_all(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    loop {
        let held: u64 = transaction
            .prepare_cached("SELECT bytes FROM task_logs_size")?
            .query_row([], |row| row.get(0).map(unsigned))?;
        if held <= OF_ALL {
            return Ok(());
        }
        let oldest: Option<Vec<u8>> = transaction
            .prepare_cached("SELECT min(id) FROM task_logs")?
            .query_row([], |row| row.get(0))?;
        let Some(oldest) = oldest else { return Ok(()) };
        let freed: u64 = transaction
            .prepare_cached("SELECT sum(length(bytes) + ?2) FROM task_logs WHERE id = ?1")?
            .query_row((&oldest, signed(ROW)), |row| row.get(0).map(unsigned))?;
        transaction.prepare_cached("DELETE FROM task_logs WHERE id = ?1")?.execute([oldest])?;
        count(transaction, 0, freed)?;
    }
}

fn count(transaction: &Transaction<'_>, added: u64, freed: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE task_logs_size SET bytes = max(0, bytes + ?1 - ?2)")?
        .execute((signed(added), signed(freed)))?;
    Ok(())
}

/// A number as SQLite keeps it; none that is written here is too large.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::MIGRATIONS;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        connection
    }

    fn task(number: u32) -> TaskId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        TaskId::from_bytes(bytes)
    }

    fn write(connection: &mut Connection, id: TaskId, attempt: u32, offset: u64, bytes: &[u8]) {
        let transaction = connection.transaction().unwrap();
        let piece = Kept { attempt, offset, bytes: bytes.to_vec() };
        enter(&transaction, id, &piece).unwrap();
        transaction.commit().unwrap();
    }

    fn all(connection: &Connection, id: TaskId) -> Vec<Kept> {
        after(connection, id, 0..=u32::MAX, (0, 0)).unwrap()
    }

    /// What is counted, and what it is.
    fn size(connection: &Connection) -> (u64, u64) {
        let number = |sql| connection.query_row(sql, [], |row| row.get(0).map(unsigned)).unwrap();
        (
            number("SELECT bytes FROM task_logs_size"),
            number("SELECT coalesce(sum(length(bytes) + 256), 0) FROM task_logs"),
        )
    }

    #[test]
    fn what_is_known_is_passed_over_and_small_pieces_grow_together() {
        let mut connection = database();
        let id = task(1);

        write(&mut connection, id, 1, 0, b"one");
        write(&mut connection, id, 1, 0, b"one");
        write(&mut connection, id, 1, 1, b"neTwo");
        write(&mut connection, id, 1, 10, b"gap");
        write(&mut connection, id, 2, 0, b"again");

        let kept = |attempt, offset, bytes: &[u8]| Kept { attempt, offset, bytes: bytes.to_vec() };
        let wanted = [kept(1, 0, b"oneTwo"), kept(1, 10, b"gap"), kept(2, 0, b"again")];
        assert_eq!(all(&connection, id), wanted);
        assert_eq!(end(&connection, id, 1).unwrap(), 13);
        assert_eq!(end(&connection, id, 3).unwrap(), 0);
        let rest = after(&connection, id, 1..=1, (1, 4)).unwrap();
        assert_eq!(rest, [kept(1, 4, b"wo"), kept(1, 10, b"gap")]);
        assert_eq!(after(&connection, id, 1..=2, (1, 13)).unwrap(), [kept(2, 0, b"again")]);
        let (counted, is) = size(&connection);
        assert_eq!(counted, is);
    }

    #[test]
    fn a_task_keeps_the_newest_of_what_it_wrote() {
        let mut connection = database();
        let piece = vec![7; 64 * 1024];

        for at in 0..9 {
            write(&mut connection, task(1), 1, at * 64 * 1024, &piece);
        }
        let kept = all(&connection, task(1));
        assert_eq!(kept.len(), 4);
        assert_eq!(kept[0].offset, 5 * 64 * 1024);

        for at in 0..1_000 {
            write(&mut connection, task(2), 1, at * 2, b"x");
        }
        let rows: i64 = connection
            .query_row(
                "SELECT count(*) FROM task_logs WHERE id > ?1",
                [task(1).as_bytes().as_slice()],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(usize::try_from(rows), Ok(ROWS_OF_ONE));
        let (counted, is) = size(&connection);
        assert_eq!(counted, is);
    }

    #[test]
    fn the_oldest_tasks_make_room() {
        let mut connection = database();
        let piece = vec![7; 64 * 1024];

        for number in 1..=300 {
            for at in 0..4 {
                write(&mut connection, task(number), 1, at * 64 * 1024, &piece);
            }
        }

        let (counted, is) = size(&connection);
        assert_eq!(counted, is);
        assert!(counted <= OF_ALL && counted > OF_ALL - OF_ONE * 2);
        assert!(all(&connection, task(1)).is_empty());
        assert_eq!(all(&connection, task(300)).len(), 4);
    }
}
