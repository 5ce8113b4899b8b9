//! Rows of transfers, of both directions.

use pilot_files::{Direction, Transfer};
use pilot_proto::TransferId;
use pilot_store::Batch;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::undecodable;

const fn number(direction: Direction) -> u8 {
    match direction {
        Direction::Sent => 0,
        Direction::Received => 1,
    }
}

/// Adds a write of a transfer.
pub(crate) fn put(batch: &mut Batch, transfer: Transfer) {
    batch.write(move |transaction| {
        let record = transfer
            .encode()
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        transaction
            .prepare_cached(
                "INSERT INTO transfers (id, direction, settled, record)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET
                    settled = excluded.settled, record = excluded.record",
            )?
            .execute((
                transfer.id.as_bytes().as_slice(),
                number(transfer.direction),
                transfer.is_settled(),
                record,
            ))?;
        Ok(())
    });
}

/// Adds the removal of a transfer.
pub(crate) fn remove(batch: &mut Batch, id: TransferId) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("DELETE FROM transfers WHERE id = ?1")?
            .execute([id.as_bytes().as_slice()])?;
        Ok(())
    });
}

fn row(row: &Row<'_>) -> rusqlite::Result<Transfer> {
    Transfer::decode(row.get_ref(0)?.as_blob()?).map_err(|error| undecodable(0, error))
}

/// Those that are not settled, oldest first.
pub(crate) fn live(connection: &Connection) -> rusqlite::Result<Vec<Transfer>> {
    connection
        .prepare_cached("SELECT record FROM transfers WHERE settled = 0 ORDER BY id")?
        .query_map([], row)?
        .collect()
}

/// One of them.
pub(crate) fn get(connection: &Connection, id: TransferId) -> rusqlite::Result<Option<Transfer>> {
    connection
        .prepare_cached("SELECT record FROM transfers WHERE id = ?1")?
        .query_row([id.as_bytes().as_slice()], row)
        .optional()
}

/// The newest, of one direction or of both.
pub(crate) fn list(
    connection: &Connection,
    direction: Option<Direction>,
    limit: u32,
) -> rusqlite::Result<Vec<Transfer>> {
    connection
        .prepare_cached(
            "SELECT record FROM transfers WHERE ?1 IS NULL OR direction = ?1
             ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((direction.map(number), limit), row)?
        .collect()
}
