//! The rows of polo.
//!
//! Faded sums are kept as they are in memory, to the last bit, so that a
//! restart changes no polo. A kind of work is 64 bits, of which SQLite sees a
//! signed number.

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::PoloCounts;
use rusqlite::{Connection, Row, Transaction};
use uuid::Uuid;

use super::{broken, millis};
use crate::polo::{Both, Counted, Entry, Totals};
use crate::registry::Registry;

/// The step of the schema.
pub(super) const SCHEMA: &str = "
    CREATE TABLE polo_pair (
        worker BLOB NOT NULL,
        submitter BLOB NOT NULL,
        succeeded INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        abandoned INTEGER NOT NULL,
        sum REAL NOT NULL,
        at INTEGER NOT NULL,
        promptness REAL NOT NULL,
        newest INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        PRIMARY KEY (worker, submitter)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE polo_receipt (
        worker BLOB NOT NULL,
        submitter BLOB NOT NULL,
        finished INTEGER NOT NULL,
        task BLOB NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (worker, submitter, finished, task, attempt)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE polo_day (
        worker BLOB NOT NULL,
        submitter BLOB NOT NULL,
        day INTEGER NOT NULL,
        succeeded INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        abandoned INTEGER NOT NULL,
        PRIMARY KEY (worker, submitter, day)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE polo_kind (
        worker BLOB NOT NULL,
        kind INTEGER NOT NULL,
        took REAL NOT NULL,
        used INTEGER NOT NULL,
        PRIMARY KEY (worker, kind)
    ) STRICT, WITHOUT ROWID;
";

/// A later step: which of the remembered receipts were successes. Of those that
/// are there it is not known, and they stand for their attempt alone.
pub(super) const SUCCESSES: &str =
    "ALTER TABLE polo_receipt ADD COLUMN succeeded INTEGER NOT NULL DEFAULT 0";

const PUT_PAIR: &str = "
    INSERT OR REPLACE INTO polo_pair (worker, submitter, succeeded, failed, abandoned,
        sum, at, promptness, newest, floor)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const PUT_RECEIPT: &str = "
    INSERT OR IGNORE INTO polo_receipt (worker, submitter, finished, task, attempt, succeeded)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const FORGET_RECEIPTS: &str =
    "DELETE FROM polo_receipt WHERE worker = ?1 AND submitter = ?2 AND finished <= ?3";

const RAISE_FLOOR: &str = "
    UPDATE polo_pair SET floor = max(floor, ?3) WHERE worker = ?1 AND submitter = ?2";

const PUT_DAY: &str = "
    INSERT OR REPLACE INTO polo_day (worker, submitter, day, succeeded, failed, abandoned)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Ninety days are kept, as in memory.
const FORGET_DAYS: &str = "
    DELETE FROM polo_day WHERE worker = ?1 AND submitter = ?2 AND day <=
        (SELECT max(day) FROM polo_day WHERE worker = ?1 AND submitter = ?2) - 90";

const PUT_KIND: &str =
    "INSERT OR REPLACE INTO polo_kind (worker, kind, took, used) VALUES (?1, ?2, ?3, ?4)";

const FORGET_KIND: &str = "DELETE FROM polo_kind WHERE worker = ?1 AND kind = ?2";

const FORGET_PAIR: [&str; 3] = [
    "DELETE FROM polo_pair WHERE worker = ?1 AND submitter = ?2",
    "DELETE FROM polo_receipt WHERE worker = ?1 AND submitter = ?2",
    "DELETE FROM polo_day WHERE worker = ?1 AND submitter = ?2",
];

const FORGET_KINDS: &str = "
    DELETE FROM polo_kind WHERE worker = ?1
        AND NOT EXISTS (SELECT 1 FROM polo_pair WHERE worker = ?1)";

const PAIRS: &str = "
    SELECT worker, submitter, succeeded, failed, abandoned, sum, at, promptness, newest, floor
    FROM polo_pair";

const RECEIPTS: &str = "
    SELECT worker, submitter, finished, task, attempt, succeeded FROM polo_receipt";

const DAYS: &str = "SELECT worker, submitter, day, succeeded, failed, abandoned FROM polo_day";

const KINDS: &str = "SELECT worker, kind, took, used FROM polo_kind";

/// Writes one entry.
pub(super) fn write(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let run = |sql, parameters: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql)?.execute(parameters).map(drop)
    };
    match entry {
        Entry::Totals(Both { worker, submitter }, totals) => {
            let PoloCounts { succeeded, failed, abandoned } = totals.counts;
            run(
                PUT_PAIR,
                &[
                    worker.as_bytes(),
                    submitter.as_bytes(),
                    &succeeded,
                    &failed,
                    &abandoned,
                    &totals.sum,
                    &millis(totals.at),
                    &totals.promptness,
                    &millis(totals.newest),
                    &millis(totals.floor),
                ],
            )
        }
        Entry::Counted(Both { worker, submitter }, counted) => {
            let Counted { finished, task, attempt, succeeded } = counted;
            let (worker, submitter) = (worker.as_bytes(), submitter.as_bytes());
            let finished = millis(*finished);
            run(PUT_RECEIPT, &[worker, submitter, &finished, task.as_bytes(), attempt, succeeded])
        }
        Entry::Forgotten(Both { worker, submitter }, up_to) => {
            let (worker, submitter) = (worker.as_bytes(), submitter.as_bytes());
            run(FORGET_RECEIPTS, &[worker, submitter, &millis(*up_to)])?;
            run(RAISE_FLOOR, &[worker, submitter, &millis(*up_to)])
        }
        Entry::Day(Both { worker, submitter }, day, counts) => {
            let PoloCounts { succeeded, failed, abandoned } = counts;
            let (worker, submitter) = (worker.as_bytes(), submitter.as_bytes());
            run(PUT_DAY, &[worker, submitter, day, succeeded, failed, abandoned])?;
            run(FORGET_DAYS, &[worker, submitter])
        }
        Entry::Kind(worker, kind, took, used) => {
            run(PUT_KIND, &[worker.as_bytes(), &kind.cast_signed(), took, &millis(*used)])
        }
        Entry::KindForgotten(worker, kind) => {
            run(FORGET_KIND, &[worker.as_bytes(), &kind.cast_signed()])
        }
        Entry::PairForgotten(Both { worker, submitter }) => {
            for sql in FORGET_PAIR {
                run(sql, &[worker.as_bytes(), submitter.as_bytes()])?;
            }
            run(FORGET_KINDS, &[worker.as_bytes()])
        }
    }
}

/// Reads everything back.
pub(super) fn load(connection: &Connection, registry: &mut Registry) -> rusqlite::Result<()> {
    each(connection, |entry| registry.restore_polo(&entry))
}

/// Every row as what made it. Pairs come first: the rest belongs to them.
fn each(connection: &Connection, mut take: impl FnMut(Entry)) -> rusqlite::Result<()> {
    read(connection, PAIRS, totals, &mut take)?;
    read(connection, RECEIPTS, counted, &mut take)?;
    read(connection, DAYS, day, &mut take)?;
    read(connection, KINDS, kind, &mut take)
}

fn read(
    connection: &Connection,
    sql: &str,
    entry: impl Fn(&Row<'_>) -> rusqlite::Result<Entry>,
    take: &mut impl FnMut(Entry),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(entry(row)?);
    }
    Ok(())
}

fn totals(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let totals = Totals {
        counts: counts(row, 2)?,
        sum: row.get(5)?,
        at: time(row, 6)?,
        promptness: row.get(7)?,
        newest: time(row, 8)?,
        floor: time(row, 9)?,
    };
    Ok(Entry::Totals(both(row)?, totals))
}

fn counted(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let (finished, task) = (time(row, 2)?, Uuid::from_bytes(row.get(3)?));
    let (attempt, succeeded) = (row.get(4)?, row.get(5)?);
    Ok(Entry::Counted(both(row)?, Counted { finished, task, attempt, succeeded }))
}

fn day(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry::Day(both(row)?, row.get(2)?, counts(row, 3)?))
}

fn kind(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let kind: i64 = row.get(1)?;
    Ok(Entry::Kind(node(row, 0)?, kind.cast_unsigned(), row.get(2)?, time(row, 3)?))
}

fn both(row: &Row<'_>) -> rusqlite::Result<Both> {
    Ok(Both { worker: node(row, 0)?, submitter: node(row, 1)? })
}

fn counts(row: &Row<'_>, first: usize) -> rusqlite::Result<PoloCounts> {
    Ok(PoloCounts {
        succeeded: row.get(first)?,
        failed: row.get(first + 1)?,
        abandoned: row.get(first + 2)?,
    })
}

fn node(row: &Row<'_>, column: usize) -> rusqlite::Result<NodeId> {
    NodeId::from_bytes(row.get(column)?).map_err(|error| broken(column, error))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let millis: i64 = row.get(column)?;
    Ok(Timestamp::from_millis(u64::try_from(millis).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use pilot_identity::{Digest, NodeKey, Outcome, Receipt, ReceiptTimes};
    use zeroize::Zeroizing;

    use super::*;
    use crate::polo::{Book, Limits};

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn id(seed: u64) -> NodeId {
        let seed = u8::try_from(seed).unwrap();
        NodeKey::from_seed(&Zeroizing::new([seed; 32])).id()
    }

    /// Everything that a book holds, to the last bit.
    fn rows(connection: &Connection) -> Vec<Entry> {
        let mut entries = Vec::new();
        each(connection, |entry| entries.push(entry)).unwrap();
        entries
    }

    #[test]
    fn a_book_that_is_read_back_is_the_book_that_was_written() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection.execute_batch(SUCCESSES).unwrap();
        let limits = Limits { pairs: 3, remembered: 500, kinds: 3, ..Limits::default() };
        let mut book = Book::new(limits);
        let mut now = 20_000 * DAY;
        for task in 0..4000_u64 {
            // A quarter of an hour each, and once in a while a long silence.
            now += if task % 1500 == 1499 { 100 * DAY } else { DAY / 96 };
            let accepted = Some(Timestamp::from_millis(now - (task % 7) * 1000));
            let finished = Timestamp::from_millis(now);
            let receipt = Receipt {
                task: Uuid::from_u128(task.into()),
                attempt: 1,
                submitter: id(10 + task / 1500 + task % 2),
                worker: id(2),
                outcome: [Outcome::Succeeded, Outcome::Failed, Outcome::Expired]
                    [usize::try_from(task % 3).unwrap()],
                digest: Digest::of(b""),
                times: ReceiptTimes { received: finished, accepted, finished },
            };
            let at = Timestamp::from_millis(now);
            if book.refuses(&receipt, at).is_none() {
                let transaction = connection.transaction().unwrap();
                for entry in book.count(&receipt, Some(u64::MAX - task % 5), at) {
                    write(&transaction, &entry).unwrap();
                }
                transaction.commit().unwrap();
            }
        }

        let mut again = Book::new(limits);
        for entry in rows(&connection) {
            again.apply(&entry);
        }

        for later in [0, 30 * DAY, 80 * DAY] {
            let at = Timestamp::from_millis(now + later);
            let detail = |book: &Book| book.detail(&id(2), |_| true, at);
            assert_eq!(detail(&again), detail(&book));
        }
        assert_eq!((again.pairs(), again.remembered()), (book.pairs(), book.remembered()));
        assert!(again.remembered() > 0);
        // One more piece of work is worth the same in both.
        let finished = Timestamp::from_millis(now);
        let next = Receipt {
            task: Uuid::from_u128(1 << 80),
            attempt: 1,
            submitter: id(12),
            worker: id(2),
            outcome: Outcome::Succeeded,
            digest: Digest::of(b""),
            times: ReceiptTimes { received: finished, accepted: Some(finished), finished },
        };
        assert_eq!(
            again.count(&next, Some(u64::MAX - 1), finished),
            book.count(&next, Some(u64::MAX - 1), finished)
        );
    }
}
