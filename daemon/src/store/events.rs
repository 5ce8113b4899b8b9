//! Rows of events: values that are kept, cursors, what peers want, relaying.

use bytes::Bytes;
use pilot_identity::NodeId;
use pilot_proto::events::Stream;
use pilot_proto::{Position, TopicFilter};
use pilot_store::Batch;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::undecodable;
use crate::services::events::{RelayRule, Value};

const fn number(stream: Stream) -> u8 {
    match stream {
        Stream::Own => 0,
        Stream::Relayed => 1,
        Stream::Automatic => 2,
    }
}

const fn stream(number: u8) -> Stream {
    match number {
        0 => Stream::Own,
        1 => Stream::Relayed,
        _ => Stream::Automatic,
    }
}

/// Epochs and numbers stay far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn node(row: &Row<'_>, column: usize) -> rusqlite::Result<NodeId> {
    let bytes = <[u8; 32]>::try_from(row.get_ref(column)?.as_blob()?)
        .map_err(|error| undecodable(column, error))?;
    NodeId::from_bytes(bytes).map_err(|error| undecodable(column, error))
}

fn filters(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<TopicFilter>> {
    let text = row.get_ref(column)?.as_str()?;
    let parsed: Result<_, _> = text.lines().map(str::parse).collect();
    parsed.map_err(|error| undecodable(column, error))
}

fn text(filters: &[TopicFilter]) -> String {
    filters.iter().map(TopicFilter::as_str).collect::<Vec<_>>().join("\n")
}

/// Adds a write of the value of a topic.
pub(crate) fn put_retained(batch: &mut Batch, topic: String, value: Value) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO event_values (topic, epoch, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (topic) DO UPDATE SET epoch = excluded.epoch, record = excluded.record",
            )?
            .execute((topic, signed(value.epoch), value.record.as_ref()))?;
        Ok(())
    });
}

/// Adds the removal of the value of a topic.
pub(crate) fn remove_retained(batch: &mut Batch, topic: String) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("DELETE FROM event_values WHERE topic = ?1")?
            .execute([topic])?;
        Ok(())
    });
}

/// All values.
pub(crate) fn retained(connection: &Connection) -> rusqlite::Result<Vec<(String, Value)>> {
    connection
        .prepare_cached("SELECT topic, epoch, record FROM event_values")?
        .query_map([], |row| {
            let record = Bytes::from(row.get::<_, Vec<u8>>(2)?);
            Ok((row.get(0)?, Value { epoch: unsigned(row, 1)?, record }))
        })?
        .collect()
}

/// Adds a write of a cursor, with what its subscribers want.
pub(crate) fn put_cursor(
    batch: &mut Batch,
    name: String,
    filters: &[TopicFilter],
    from: Option<NodeId>,
) {
    let filters = text(filters);
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO event_cursors (name, filters, node) VALUES (?1, ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET filters = excluded.filters, node = excluded.node",
            )?
            .execute((name, filters, from.as_ref().map(|node| node.as_bytes().as_slice())))?;
        Ok(())
    });
}

/// Adds the removal of a cursor and of how far it came.
pub(crate) fn remove_cursor(batch: &mut Batch, name: String) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("DELETE FROM event_cursors WHERE name = ?1")?
            .execute([&name])?;
        transaction.prepare_cached("DELETE FROM event_places WHERE name = ?1")?.execute([&name])?;
        Ok(())
    });
}

/// Adds a write of how far a cursor came in one stream of one node.
pub(crate) fn put_place(
    batch: &mut Batch,
    name: String,
    (publisher, stream): (NodeId, Stream),
    position: Position,
) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO event_places (name, node, stream, epoch, seq)
                 SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE EXISTS (SELECT 1 FROM event_cursors WHERE name = ?1)
                 ON CONFLICT (name, node, stream) DO UPDATE SET
                    epoch = excluded.epoch, seq = excluded.seq
                 WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
            )?
            .execute((
                name,
                publisher.as_bytes().as_slice(),
                number(stream),
                signed(position.epoch),
                signed(position.seq),
            ))?;
        Ok(())
    });
}

/// A cursor: its name, what its subscribers want, and of whom.
type CursorRow = (String, Vec<TopicFilter>, Option<NodeId>);

/// All cursors.
pub(crate) fn cursors(connection: &Connection) -> rusqlite::Result<Vec<CursorRow>> {
    connection
        .prepare_cached("SELECT name, filters, node FROM event_cursors")?
        .query_map([], |row| {
            let has_node = row.get_ref(2)? != ValueRef::Null;
            let from = if has_node { Some(node(row, 2)?) } else { None };
            Ok((row.get(0)?, filters(row, 1)?, from))
        })?
        .collect()
}

/// How far a cursor came: where, and there.
pub(crate) type Place = ((NodeId, Stream), Position);

/// How far all cursors came.
pub(crate) fn places(connection: &Connection) -> rusqlite::Result<Vec<(String, Place)>> {
    connection
        .prepare_cached("SELECT name, node, stream, epoch, seq FROM event_places")?
        .query_map([], |row| {
            let place = (node(row, 1)?, stream(row.get(2)?));
            let position = Position { epoch: unsigned(row, 3)?, seq: unsigned(row, 4)? };
            Ok((row.get(0)?, (place, position)))
        })?
        .collect()
}

/// Adds a write of what a peer will fetch, also if it is away.
pub(crate) fn put_interest(batch: &mut Batch, peer: NodeId, filters: &[TopicFilter]) {
    let filters = text(filters);
    batch.write(move |transaction| {
        let peer = peer.as_bytes().as_slice();
        if filters.is_empty() {
            let mut delete =
                transaction.prepare_cached("DELETE FROM event_interests WHERE peer = ?1")?;
            delete.execute([peer])?;
            return Ok(());
        }
        transaction
            .prepare_cached(
                "INSERT INTO event_interests (peer, filters) VALUES (?1, ?2)
                 ON CONFLICT (peer) DO UPDATE SET filters = excluded.filters",
            )?
            .execute((peer, filters))?;
        Ok(())
    });
}

/// What each peer will fetch.
pub(crate) fn interests(
    connection: &Connection,
) -> rusqlite::Result<Vec<(NodeId, Vec<TopicFilter>)>> {
    connection
        .prepare_cached("SELECT peer, filters FROM event_interests")?
        .query_map([], |row| Ok((node(row, 0)?, filters(row, 1)?)))?
        .collect()
}

/// Adds a write of a rule for handing events on.
pub(crate) fn put_relay(batch: &mut Batch, rule: RelayRule) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO event_relays (publisher, receiver, filter)
                 VALUES (?1, ?2, ?3)",
            )?
            .execute((
                rule.from.as_bytes().as_slice(),
                rule.to.as_bytes().as_slice(),
                rule.filter.as_str(),
            ))?;
        Ok(())
    });
}

/// Adds the removal of a rule.
pub(crate) fn remove_relay(batch: &mut Batch, rule: RelayRule) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "DELETE FROM event_relays WHERE publisher = ?1 AND receiver = ?2 AND filter = ?3",
            )?
            .execute((
                rule.from.as_bytes().as_slice(),
                rule.to.as_bytes().as_slice(),
                rule.filter.as_str(),
            ))?;
        Ok(())
    });
}

/// All rules.
pub(crate) fn relays(connection: &Connection) -> rusqlite::Result<Vec<RelayRule>> {
    connection
        .prepare_cached("SELECT publisher, receiver, filter FROM event_relays")?
        .query_map([], |row| {
            let filter = row.get_ref(2)?.as_str()?.parse();
            let filter = filter.map_err(|error| undecodable(2, error))?;
            Ok(RelayRule { from: node(row, 0)?, to: node(row, 1)?, filter })
        })?
        .collect()
}
