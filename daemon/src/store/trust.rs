//! Rows of the trust machine.

use pilot_store::Batch;
use pilot_trust::PeerRecord;
use rusqlite::Connection;

use super::undecodable;

/// Adds a write of one row.
pub(crate) fn put(batch: &mut Batch, record: PeerRecord) {
    batch.write(move |transaction| {
        let bytes = postcard::to_allocvec(&record)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        transaction
            .prepare_cached(
                "INSERT INTO trust (peer, record) VALUES (?1, ?2)
                 ON CONFLICT (peer) DO UPDATE SET record = excluded.record",
            )?
            .execute((record.peer.as_bytes().as_slice(), bytes))?;
        Ok(())
    });
}

/// Every row.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<PeerRecord>> {
    connection
        .prepare_cached("SELECT record FROM trust")?
        .query_map([], |row| {
            let bytes: Vec<u8> = row.get(0)?;
            postcard::from_bytes(&bytes).map_err(|error| undecodable(0, error))
        })?
        .collect()
}
