//! Transfers that were begun for a task, and that no record of a task answers for.

use pilot_proto::TransferId;
use pilot_store::Batch;
use rusqlite::Connection;

use super::undecodable;

/// Adds a write of one.
pub(crate) fn put(batch: &mut Batch, transfer: TransferId) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO strays (transfer) VALUES (?1)")?
            .execute([transfer.as_bytes().as_slice()])?;
        Ok(())
    });
}

/// Adds the removal of one.
pub(crate) fn remove(batch: &mut Batch, transfer: TransferId) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("DELETE FROM strays WHERE transfer = ?1")?
            .execute([transfer.as_bytes().as_slice()])?;
        Ok(())
    });
}

/// All of them.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<TransferId>> {
    connection
        .prepare_cached("SELECT transfer FROM strays ORDER BY transfer")?
        .query_map([], |row| {
            let bytes = <[u8; 16]>::try_from(row.get_ref(0)?.as_blob()?);
            bytes.map(TransferId::from_bytes).map_err(|error| undecodable(0, error))
        })?
        .collect()
}
