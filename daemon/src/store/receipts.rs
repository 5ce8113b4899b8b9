//! Receipts that are still to be put to the rendezvous.

use pilot_identity::{Countersigned, Timestamp};
use pilot_proto::TaskId;
use pilot_proto::registry::PutReceipt;
use pilot_store::Batch;
use rusqlite::{Connection, OptionalExtension as _};

/// Receipts kept at the most: a rendezvous is never away for that many tasks
/// unless it has never been there. Beyond it the oldest go.
const MAX_OWED: i64 = 100_000;

/// Which side of the task this node was on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Submitter,
}

/// A receipt that is to be put.
pub(crate) struct Owed {
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) role: Role,
    pub(crate) put: PutReceipt,
}

/// One that was read, by its place in the order in which they came.
pub(crate) struct Place(pub(crate) i64, pub(crate) PutReceipt);

/// Adds a write of one; written again it stays where it is.
pub(crate) fn put(batch: &mut Batch, owed: Owed) {
    batch.write(move |transaction| {
        let Owed { id, attempt, role, put } = &owed;
        let role = match role {
            Role::Worker => 0,
            Role::Submitter => 1,
        };
        let receipt = postcard::to_allocvec(&put.receipt)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO receipts_owed (id, attempt, role, kind, receipt)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((id.as_bytes().as_slice(), attempt, role, put.kind.cast_signed(), receipt))?;
        let gone = transaction
            .prepare_cached(
                "DELETE FROM receipts_owed
                 WHERE seq <= (SELECT max(seq) FROM receipts_owed) - ?1",
            )?
            .execute([MAX_OWED])?;
        if gone > 0 {
            tracing::warn!(gone, "too many receipts wait for the rendezvous; the oldest are gone");
        }
        Ok(())
    });
}

/// The first of those that may be put at `now`, at most `limit`; those that
/// cannot be read are in the second list.
pub(crate) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Place>, Vec<i64>)> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, kind, receipt FROM receipts_owed WHERE not_before <= ?1
         ORDER BY not_before, seq LIMIT ?2",
    )?;
    let mut rows = statement.query((millis(now), i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (seq, kind): (i64, i64) = (row.get(0)?, row.get(1)?);
        match postcard::from_bytes::<Countersigned>(row.get_ref(2)?.as_blob()?) {
            Ok(receipt) => {
                read.push(Place(seq, PutReceipt { receipt, kind: kind.cast_unsigned() }));
            }
            Err(_) => unreadable.push(seq),
        }
    }
    Ok((read, unreadable))
}

/// When the next may be put, if there is one.
pub(crate) fn next(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let next: Option<i64> = connection
        .prepare_cached("SELECT not_before FROM receipts_owed ORDER BY not_before, seq LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(next.map(|next| Timestamp::from_millis(u64::try_from(next).unwrap_or_default())))
}

/// How many there are.
pub(crate) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM receipts_owed")?
        .query_row([], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Adds the removal of one.
pub(crate) fn remove(batch: &mut Batch, seq: i64) {
    batch.write(move |transaction| {
        transaction.prepare_cached("DELETE FROM receipts_owed WHERE seq = ?1")?.execute([seq])?;
        Ok(())
    });
}

/// Adds that one is not to be put before `at`.
pub(crate) fn hold(batch: &mut Batch, seq: i64, at: Timestamp) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("UPDATE receipts_owed SET not_before = ?2 WHERE seq = ?1")?
            .execute((seq, millis(at)))?;
        Ok(())
    });
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use pilot_identity::{Digest, NodeKey, Outcome, Receipt, ReceiptTimes};
    use pilot_store::{Settings, Store};

    use super::*;
    use crate::store::schema::MIGRATIONS;

    fn owed(number: u32, role: Role) -> Owed {
        let key = |seed| NodeKey::from_seed(&[seed; 32].into());
        let mut bytes = [0; 16];
        // The newest sorts first: the order is not that of the ids.
        bytes[..4].copy_from_slice(&(u32::MAX - number).to_be_bytes());
        let id = TaskId::from_bytes(bytes);
        let receipt = Receipt {
            task: id.uuid(),
            attempt: 1,
            submitter: key(1).id(),
            worker: key(2).id(),
            outcome: Outcome::Succeeded,
            digest: Digest::of(b""),
            times: ReceiptTimes::default(),
        };
        let receipt = receipt.sign(&key(2)).countersign(&key(1));
        let put = PutReceipt { receipt, kind: u64::MAX - u64::from(number) };
        Owed { id, attempt: 1, role, put }
    }

    async fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
        let mut batch = store.batch();
        fill(&mut batch);
        store.commit(batch).await.unwrap();
    }

    /// The kinds of those that are due, counted from the end of all numbers.
    fn due_at(store: &Store, now: u64) -> Vec<u64> {
        let now = Timestamp::from_millis(now);
        let (places, unreadable) = store.read(|connection| due(connection, now, 64)).unwrap();
        assert!(unreadable.is_empty());
        places.iter().map(|Place(_, put)| u64::MAX - put.kind).collect()
    }

    fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(&Settings::new(folder.path().join("db"), MIGRATIONS)).unwrap()
    }

    #[tokio::test]
    async fn receipts_come_in_the_order_in_which_they_were_owed_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        commit(&store, |batch| {
            for number in [1, 2, 3, 1] {
                put(batch, owed(number, Role::Worker));
            }
            put(batch, owed(1, Role::Submitter));
        })
        .await;

        assert_eq!(due_at(&store, 0), [1, 2, 3, 1]);
        assert_eq!(store.read(count).unwrap(), 4);
        commit(&store, |batch| remove(batch, 2)).await;
        assert_eq!(due_at(&store, 0), [1, 3, 1]);
    }

    #[tokio::test]
    async fn what_found_no_room_comes_again_later_and_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        commit(&store, |batch| put(batch, owed(1, Role::Worker))).await;
        commit(&store, |batch| hold(batch, 1, Timestamp::from_millis(500))).await;
        assert_eq!(store.read(next).unwrap(), Some(Timestamp::from_millis(500)));

        commit(&store, |batch| put(batch, owed(2, Role::Worker))).await;

        assert_eq!(due_at(&store, 499), [2]);
        assert_eq!(due_at(&store, 500), [2, 1]);
        assert_eq!(store.read(next).unwrap(), Some(Timestamp::default()));
    }

    #[tokio::test]
    async fn beyond_the_limit_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        commit(&store, |batch| {
            batch.write(|transaction| {
                transaction.execute(
                    "WITH RECURSIVE numbers (n) AS
                        (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
                     INSERT INTO receipts_owed (id, attempt, role, kind, receipt)
                     SELECT n, 1, 0, 0, x'' FROM (SELECT CAST(n AS BLOB) AS n FROM numbers)",
                    [MAX_OWED],
                )?;
                Ok(())
            });
        })
        .await;
        let limit = u64::try_from(MAX_OWED).unwrap();
        assert_eq!(store.read(count).unwrap(), limit);

        commit(&store, |batch| put(batch, owed(1, Role::Worker))).await;

        assert_eq!(store.read(count).unwrap(), limit);
        let (_, unreadable) =
            store.read(|connection| due(connection, Timestamp::default(), 2)).unwrap();
        assert_eq!(unreadable, [2, 3], "the first is gone, and these are no receipts");
    }
}
