//! Rows of messages that this node sent, and how far each peer is.

use pilot_identity::{NodeId, Timestamp};
use pilot_messages::{MessageState, NewMessage, Note, Times, Waiting};
use pilot_proto::MessageId;
use pilot_store::Batch;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::undecodable;

/// Messages that are kept once they were delivered or have expired. Those that
/// ended first go first, and are then unknown here.
const HISTORY: u32 = 10_000;

/// A message of this node.
#[derive(Debug, Clone)]
pub(crate) struct SentRow {
    pub(crate) id: MessageId,
    pub(crate) to: NodeId,
    pub(crate) bytes: u32,
    /// The BLAKE3 hash of its text.
    pub(crate) digest: [u8; 32],
    /// How its text begins.
    pub(crate) preview: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) times: Times,
}

/// A message as it is handed over.
#[derive(Debug, Clone)]
pub(crate) struct NewRow {
    pub(crate) message: NewMessage,
    pub(crate) seq: u64,
    pub(crate) text: String,
    pub(crate) digest: [u8; 32],
    pub(crate) preview: String,
    pub(crate) created: Timestamp,
}

/// How far the messages between this node and a peer are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerRow {
    pub(crate) peer: NodeId,
    pub(crate) sent: u64,
    pub(crate) renewals: u64,
    pub(crate) epoch: u64,
    pub(crate) upto: u64,
}

pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn column<T: FromSql>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    row.get(index)
}

pub(super) fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    let millis = u64::try_from(column::<i64>(row, index)?).unwrap_or_default();
    Ok(Timestamp::from_millis(millis))
}

pub(super) fn maybe_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Timestamp>> {
    match column::<Option<i64>>(row, index)? {
        Some(_) => time(row, index).map(Some),
        None => Ok(None),
    }
}

pub(super) fn message_id(row: &Row<'_>, index: usize) -> rusqlite::Result<MessageId> {
    let bytes = <[u8; 16]>::try_from(row.get_ref(index)?.as_blob()?);
    bytes.map(MessageId::from_bytes).map_err(|error| undecodable(index, error))
}

pub(super) fn node(row: &Row<'_>, index: usize) -> rusqlite::Result<NodeId> {
    let bytes = <[u8; 32]>::try_from(row.get_ref(index)?.as_blob()?);
    let bytes = bytes.map_err(|error| undecodable(index, error))?;
    NodeId::from_bytes(bytes).map_err(|error| undecodable(index, error))
}

fn digest(row: &Row<'_>, index: usize) -> rusqlite::Result<[u8; 32]> {
    let bytes = <[u8; 32]>::try_from(row.get_ref(index)?.as_blob()?);
    bytes.map_err(|error| undecodable(index, error))
}

/// Adds a new message, and the number that it has.
pub(crate) fn put(batch: &mut Batch, new: NewRow) {
    batch.write(move |transaction| {
        let NewMessage { id, to, bytes, expires } = new.message;
        let seq = new.seq.cast_signed();
        transaction
            .prepare_cached(
                "INSERT INTO messages_sent
                    (id, peer, seq, waiting, bytes, digest, preview, text, created, expires)
                 VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute((
                id.as_bytes().as_slice(),
                to.as_bytes().as_slice(),
                seq,
                bytes,
                new.digest.as_slice(),
                new.preview,
                new.text,
                millis(new.created),
                millis(expires),
            ))?;
        transaction
            .prepare_cached(
                "INSERT INTO message_peers (peer, sent) VALUES (?1, ?2)
                 ON CONFLICT (peer) DO UPDATE SET sent = excluded.sent",
            )?
            .execute((to.as_bytes().as_slice(), seq))?;
        Ok(())
    });
}

/// Adds an update of each of these messages; `?1` is its id and `?2` the time.
fn update(batch: &mut Batch, ids: Vec<MessageId>, at: Timestamp, sql: &'static str) {
    batch.write(move |transaction| {
        let mut update = transaction.prepare_cached(sql)?;
        for id in ids {
            update.execute((id.as_bytes().as_slice(), millis(at)))?;
        }
        Ok(())
    });
}

/// They are about to be handed to a stream.
pub(crate) fn sent(batch: &mut Batch, ids: Vec<MessageId>, at: Timestamp) {
    update(batch, ids, at, "UPDATE messages_sent SET sent = ?2 WHERE id = ?1");
}

/// They were not taken.
pub(crate) fn requeued(batch: &mut Batch, ids: Vec<MessageId>) {
    batch.write(move |transaction| {
        let mut update =
            transaction.prepare_cached("UPDATE messages_sent SET sent = NULL WHERE id = ?1")?;
        for id in ids {
            update.execute([id.as_bytes().as_slice()])?;
        }
        Ok(())
    });
}

/// They are on the peer's disk. It may have told of the reading before.
pub(crate) fn delivered(batch: &mut Batch, ids: Vec<MessageId>, at: Timestamp) {
    // The number of an end and not its time: a clock may be set back.
    let sql = "UPDATE messages_sent
        SET delivered = coalesce(delivered, ?2), waiting = 0, text = NULL,
            ended = (SELECT coalesce(max(ended), 0) + 1 FROM messages_sent WHERE waiting = 0)
        WHERE id = ?1 AND waiting = 1";
    update(batch, ids, at, sql);
    prune(batch);
}

/// They were not delivered in time.
pub(crate) fn expired(batch: &mut Batch, ids: Vec<MessageId>, at: Timestamp) {
    let sql = "UPDATE messages_sent
        SET expired = ?2, waiting = 0, text = NULL,
            ended = (SELECT coalesce(max(ended), 0) + 1 FROM messages_sent WHERE waiting = 0)
        WHERE id = ?1 AND waiting = 1";
    update(batch, ids, at, sql);
    prune(batch);
}

/// Ends are numbered without gaps, so nothing is walked over that stays.
fn prune(batch: &mut Batch) {
    batch.write(|transaction| {
        transaction
            .prepare_cached(
                "DELETE FROM messages_sent WHERE waiting = 0 AND ended <= (
                    SELECT max(ended) FROM messages_sent WHERE waiting = 0) - ?1",
            )?
            .execute([HISTORY])?;
        Ok(())
    });
}

/// A peer says what became of messages that it got from here; of others it has
/// nothing to say. Times never run backwards, whatever it claims.
pub(crate) fn receipts(
    batch: &mut Batch,
    from: NodeId,
    notes: Vec<(MessageId, Note)>,
    now: Timestamp,
) {
    batch.write(move |transaction| {
        let mut update = transaction.prepare_cached(
            "UPDATE messages_sent SET
                delivered = coalesce(delivered, max(sent, min(?3, ?5))),
                read = coalesce(read, max(?3, coalesce(delivered, sent))),
                acked = coalesce(acked, max(?4, coalesce(read, ?3), coalesce(delivered, sent)))
             WHERE id = ?1 AND peer = ?2 AND sent IS NOT NULL",
        )?;
        for (id, note) in notes {
            update.execute((
                id.as_bytes().as_slice(),
                from.as_bytes().as_slice(),
                millis(note.read),
                note.acked.map(millis),
                millis(now),
            ))?;
        }
        Ok(())
    });
}

/// The count to a peer begins anew.
pub(crate) fn renewed(batch: &mut Batch, peer: NodeId, renewals: u64) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached("UPDATE message_peers SET renewals = ?2 WHERE peer = ?1")?
            .execute((peer.as_bytes().as_slice(), renewals.cast_signed()))?;
        Ok(())
    });
}

/// How far a sender is.
pub(crate) fn accepted(batch: &mut Batch, peer: NodeId, epoch: u64, upto: u64) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO message_peers (peer, epoch, upto) VALUES (?1, ?2, ?3)
                 ON CONFLICT (peer) DO UPDATE SET epoch = excluded.epoch, upto = excluded.upto",
            )?
            .execute((peer.as_bytes().as_slice(), epoch.cast_signed(), upto.cast_signed()))?;
        Ok(())
    });
}

/// How far everybody is.
pub(crate) fn peers(connection: &Connection) -> rusqlite::Result<Vec<PeerRow>> {
    connection
        .prepare_cached("SELECT peer, sent, renewals, epoch, upto FROM message_peers")?
        .query_map([], |row| {
            let number = |index| column::<i64>(row, index).map(i64::cast_unsigned);
            Ok(PeerRow {
                peer: node(row, 0)?,
                sent: number(1)?,
                renewals: number(2)?,
                epoch: number(3)?,
                upto: number(4)?,
            })
        })?
        .collect()
}

/// Those that are not delivered, in the order in which they were submitted.
pub(crate) fn waiting(connection: &Connection) -> rusqlite::Result<Vec<Waiting>> {
    connection
        .prepare_cached(
            "SELECT id, peer, seq, bytes, expires, sent IS NOT NULL FROM messages_sent
             WHERE waiting = 1 ORDER BY key",
        )?
        .query_map([], |row| {
            let message = NewMessage {
                id: message_id(row, 0)?,
                to: node(row, 1)?,
                bytes: column(row, 3)?,
                expires: time(row, 4)?,
            };
            let seq = column::<i64>(row, 2)?.cast_unsigned();
            Ok(Waiting { message, seq, sent: column(row, 5)? })
        })?
        .collect()
}

/// The text of a message that is not delivered, and when it was handed over.
pub(crate) fn text(
    connection: &Connection,
    id: MessageId,
) -> rusqlite::Result<Option<(String, Timestamp)>> {
    connection
        .prepare_cached("SELECT text, created FROM messages_sent WHERE id = ?1 AND text NOT NULL")?
        .query_row([id.as_bytes().as_slice()], |row| Ok((column(row, 0)?, time(row, 1)?)))
        .optional()
}

const COLUMNS: &str =
    "id, peer, bytes, digest, preview, created, expires, sent, delivered, read, acked, expired";

fn row(row: &Row<'_>) -> rusqlite::Result<SentRow> {
    Ok(SentRow {
        id: message_id(row, 0)?,
        to: node(row, 1)?,
        bytes: column(row, 2)?,
        digest: digest(row, 3)?,
        preview: column(row, 4)?,
        created: time(row, 5)?,
        expires: time(row, 6)?,
        times: Times {
            sent: maybe_time(row, 7)?,
            delivered: maybe_time(row, 8)?,
            read: maybe_time(row, 9)?,
            acked: maybe_time(row, 10)?,
            expired: maybe_time(row, 11)?,
        },
    })
}

/// One of them.
pub(crate) fn get(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<SentRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages_sent WHERE id = ?1"))?
        .query_row([id.as_bytes().as_slice()], row)
        .optional()
}

/// The newest, of one state or of all, to one peer or to all.
pub(crate) fn list(
    connection: &Connection,
    state: Option<MessageState>,
    peer: Option<NodeId>,
    limit: usize,
) -> rusqlite::Result<Vec<SentRow>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages_sent WHERE ?1 IS NULL OR peer = ?1 ORDER BY key DESC"
    ))?;
    let rows = query.query_map([peer.as_ref().map(|peer| peer.as_bytes().as_slice())], row)?;
    let wanted = |row: &SentRow| state.is_none_or(|state| row.times.state() == state);
    rows.filter(|row| row.as_ref().map_or(true, wanted)).take(limit).collect()
}

#[cfg(test)]
mod tests;
