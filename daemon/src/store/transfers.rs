//! Rows of transfers, of both directions.

use pilot_files::{Direction, Ending, Transfer};
use pilot_identity::NodeId;
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
                "INSERT INTO transfers (id, direction, settled, record, peer, held)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET
                    settled = excluded.settled, record = excluded.record, held = excluded.held",
            )?
            .execute((
                transfer.id.as_bytes().as_slice(),
                number(transfer.direction),
                transfer.is_settled(),
                record,
                transfer.peer.as_bytes().as_slice(),
                // Within 2^53, as manifests are.
                i64::try_from(held_by(&transfer)).unwrap_or(i64::MAX),
            ))?;
        Ok(())
    });
}

/// Bytes that it takes in the inbox, or will.
fn held_by(transfer: &Transfer) -> u64 {
    match (transfer.direction, transfer.ended()) {
        (Direction::Received, None | Some((_, Ending::Complete))) => transfer.totals.bytes,
        (Direction::Received | Direction::Sent, _) => 0,
    }
}

/// Bytes of the transfers that are in the inbox, or on their way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeldBytes {
    pub(crate) by_peer: u64,
    pub(crate) by_all: u64,
}

/// See [`HeldBytes`].
pub(crate) fn held(connection: &Connection, peer: &NodeId) -> rusqlite::Result<HeldBytes> {
    let sum = |column: usize, row: &Row<'_>| {
        row.get::<_, f64>(column).map(|bytes| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it saturates, and no row is negative"
            )]
            let bytes = bytes as u64;
            bytes
        })
    };
    connection
        .prepare_cached(
            "SELECT total(CASE WHEN peer = ?1 THEN held END), total(held)
             FROM transfers WHERE held > 0",
        )?
        .query_row([peer.as_bytes().as_slice()], |row| {
            Ok(HeldBytes { by_peer: sum(0, row)?, by_all: sum(1, row)? })
        })
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

/// The newest, of one direction or of both, with one peer or with all.
pub(crate) fn list(
    connection: &Connection,
    direction: Option<Direction>,
    peer: Option<&NodeId>,
    limit: u32,
) -> rusqlite::Result<Vec<Transfer>> {
    connection
        .prepare_cached(
            "SELECT record FROM transfers
             WHERE (?1 IS NULL OR direction = ?1) AND (?2 IS NULL OR peer = ?2)
             ORDER BY id DESC LIMIT ?3",
        )?
        .query_map(
            (direction.map(number), peer.map(|peer| peer.as_bytes().as_slice()), limit),
            row,
        )?
        .collect()
}
