//! Rows of messages that this node received, and what is to be told of them.

use pilot_identity::{NodeId, Timestamp};
use pilot_messages::{Kept, Note};
use pilot_proto::MessageId;
use pilot_store::Batch;
use rusqlite::Connection;

use super::messages::{column, maybe_time, message_id, millis, node, time};

/// Acknowledged messages that are kept as history; the oldest go first.
const HISTORY: u32 = 1_000;
/// Bytes of their texts.
const HISTORY_BYTES: u32 = 16 * 1024 * 1024;

/// A message to this node.
#[derive(Debug, Clone)]
pub(crate) struct InboxRow {
    pub(crate) order: u64,
    pub(crate) id: MessageId,
    pub(crate) from: NodeId,
    pub(crate) text: String,
    /// When it was handed to the sender's node, translated to this node's clock.
    pub(crate) written: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) read: Option<Timestamp>,
    pub(crate) acked: Option<Timestamp>,
}

/// Adds a message.
pub(crate) fn put(batch: &mut Batch, new: InboxRow) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO messages_received (ord, id, peer, bytes, text, written, received)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                new.order.cast_signed(),
                new.id.as_bytes().as_slice(),
                new.from.as_bytes().as_slice(),
                i64::try_from(new.text.len()).unwrap_or(i64::MAX),
                new.text,
                millis(new.written),
                millis(new.received),
            ))?;
        Ok(())
    });
}

/// They were read.
pub(crate) fn read(batch: &mut Batch, orders: Vec<u64>, at: Timestamp) {
    batch.write(move |transaction| {
        let mut update =
            transaction.prepare_cached("UPDATE messages_received SET read = ?2 WHERE ord = ?1")?;
        for order in orders {
            update.execute((order.cast_signed(), millis(at)))?;
        }
        Ok(())
    });
}

/// They were acknowledged: they are history from now on, which has its limits.
pub(crate) fn acked(batch: &mut Batch, orders: Vec<u64>, at: Timestamp) {
    batch.write(move |transaction| {
        let mut update = transaction.prepare_cached(
            "UPDATE messages_received SET acked = ?2, read = coalesce(read, ?2) WHERE ord = ?1",
        )?;
        for order in orders {
            update.execute((order.cast_signed(), millis(at)))?;
        }
        transaction
            .prepare_cached(
                "DELETE FROM messages_received WHERE ord IN (
                    SELECT ord FROM (
                        SELECT ord, count(*) OVER newest AS number, sum(bytes) OVER newest AS total
                        FROM messages_received WHERE acked IS NOT NULL
                        WINDOW newest AS (ORDER BY acked DESC, ord DESC))
                    WHERE number > ?1 OR total > ?2)",
            )?
            .execute((HISTORY, HISTORY_BYTES))?;
        Ok(())
    });
}

/// A sender is to be told.
pub(crate) fn owe(batch: &mut Batch, peer: NodeId, id: MessageId, note: Note) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO message_receipts (peer, id, read, acked) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (peer, id) DO UPDATE SET read = excluded.read, acked = excluded.acked",
            )?
            .execute((
                peer.as_bytes().as_slice(),
                id.as_bytes().as_slice(),
                millis(note.read),
                note.acked.map(millis),
            ))?;
        Ok(())
    });
}

/// It knows.
pub(crate) fn told(batch: &mut Batch, peer: NodeId, id: MessageId, note: Note) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "DELETE FROM message_receipts
                 WHERE peer = ?1 AND id = ?2 AND read = ?3 AND acked IS ?4",
            )?
            .execute((
                peer.as_bytes().as_slice(),
                id.as_bytes().as_slice(),
                millis(note.read),
                note.acked.map(millis),
            ))?;
        Ok(())
    });
}

/// It is not told any more.
pub(crate) fn dropped(batch: &mut Batch, peer: NodeId) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("DELETE FROM message_receipts WHERE peer = ?1")?
            .execute([peer.as_bytes().as_slice()])?;
        Ok(())
    });
}

/// What is still to be told.
pub(crate) fn receipts(
    connection: &Connection,
) -> rusqlite::Result<Vec<(NodeId, MessageId, Note)>> {
    connection
        .prepare_cached("SELECT peer, id, read, acked FROM message_receipts")?
        .query_map([], |row| {
            let note = Note { read: time(row, 2)?, acked: maybe_time(row, 3)? };
            Ok((node(row, 0)?, message_id(row, 1)?, note))
        })?
        .collect()
}

/// Those that are not acknowledged.
pub(crate) fn open(connection: &Connection) -> rusqlite::Result<Vec<Kept>> {
    connection
        .prepare_cached(
            "SELECT ord, peer, id, bytes, read FROM messages_received WHERE acked IS NULL
             ORDER BY ord",
        )?
        .query_map([], |row| {
            Ok(Kept {
                order: column::<i64>(row, 0)?.cast_unsigned(),
                peer: node(row, 1)?,
                id: message_id(row, 2)?,
                bytes: column(row, 3)?,
                read: maybe_time(row, 4)?,
            })
        })?
        .collect()
}

/// The highest place that a message has; 0 if there is none.
pub(crate) fn last_order(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(max(ord), 0) FROM messages_received")?
        .query_row([], |row| column::<i64>(row, 0).map(i64::cast_unsigned))
}

/// One of them.
pub(crate) fn get(connection: &Connection, order: u64) -> rusqlite::Result<Option<InboxRow>> {
    let mut query = connection.prepare_cached(
        "SELECT ord, id, peer, text, written, received, read, acked FROM messages_received
         WHERE ord = ?1",
    )?;
    let mut rows = query.query_map([order.cast_signed()], |row| {
        Ok(InboxRow {
            order: column::<i64>(row, 0)?.cast_unsigned(),
            id: message_id(row, 1)?,
            from: node(row, 2)?,
            text: column(row, 3)?,
            written: time(row, 4)?,
            received: time(row, 5)?,
            read: maybe_time(row, 6)?,
            acked: maybe_time(row, 7)?,
        })
    })?;
    rows.next().transpose()
}

/// Whether there is one with this id that was acknowledged.
pub(crate) fn is_history(connection: &Connection, id: MessageId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM messages_received WHERE id = ?1 AND acked IS NOT NULL)",
        )?
        .query_row([id.as_bytes().as_slice()], |row| row.get(0))
}
