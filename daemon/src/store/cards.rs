//! Where peers were last known to be, for dialling them without the rendezvous.

use pilot_identity::{NodeId, Timestamp};
use pilot_overlay::Card;
use pilot_proto::{Address, Endpoints, NodeName, Tags};
use pilot_store::Batch;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// The versions of a row.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(NodeId, Kept),
}

/// What is kept of a card. Which run was online is not: another one may be by now.
#[derive(Serialize, Deserialize)]
struct Kept {
    address: Option<Address>,
    name: Option<NodeName>,
    tags: Tags,
    endpoints: Endpoints,
    last_seen: Option<Timestamp>,
}

impl From<Card> for Kept {
    fn from(card: Card) -> Self {
        let Card { address, name, tags, endpoints, boot: _, last_seen } = card;
        Self { address, name, tags, endpoints, last_seen }
    }
}

impl From<Kept> for Card {
    fn from(kept: Kept) -> Self {
        let Kept { address, name, tags, endpoints, last_seen } = kept;
        Self { address, name, tags, endpoints, boot: None, last_seen }
    }
}

/// Adds a write of what is known of a peer.
pub(crate) fn put(batch: &mut Batch, id: NodeId, card: Card) {
    batch.write(move |transaction| {
        let bytes = postcard::to_allocvec(&Stored::V1(id, card.into()))
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
        Ok(Stored::V1(id, kept)) => Some((id, kept.into())),
        Err(error) => {
            tracing::warn!(%error, "a stored card of a peer is unreadable");
            None
        }
    });
    Ok(cards.collect())
}
