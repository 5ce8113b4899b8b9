//! Where peers were last known to be, for dialling them without the rendezvous.

use pilot_identity::NodeId;
use pilot_overlay::Card;
use pilot_proto::registry::NodeRecord;
use pilot_store::Batch;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// The versions of a row.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(NodeRecord),
}

/// Adds a write of what the rendezvous said of a peer.
pub(crate) fn put(batch: &mut Batch, record: NodeRecord) {
    batch.write(move |transaction| {
        let id = record.id;
        let bytes = postcard::to_allocvec(&Stored::V1(record))
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        transaction
            .prepare_cached(
                "INSERT INTO cards (peer, card) VALUES (?1, ?2)
                 ON CONFLICT (peer) DO UPDATE SET card = excluded.card",
            )?
            .execute((id.as_bytes().as_slice(), bytes))?;
        Ok(())
    });
}

/// Every card that can be read; nobody is taken for online on its word. A
/// card that cannot be read is left out: the rendezvous tells it again.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(NodeId, Card)>> {
    let rows: Vec<Vec<u8>> = connection
        .prepare_cached("SELECT card FROM cards")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let cards = rows.iter().filter_map(|bytes| match postcard::from_bytes(bytes) {
        Ok(Stored::V1(record)) => {
            let id = record.id;
            Some((id, Card { boot: None, ..Card::from(record) }))
        }
        Err(error) => {
            tracing::warn!(%error, "a stored card of a peer is unreadable");
            None
        }
    });
    Ok(cards.collect())
}
