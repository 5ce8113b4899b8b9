//! Single values: the pinned key of the rendezvous, the last registration, the UDP
//! port, the epoch of the messages.

use pilot_store::Batch;
use rusqlite::{Connection, OptionalExtension as _};

/// What is kept under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// The 32 bytes of the rendezvous' key.
    Rendezvous,
    /// This node's address, as text.
    Address,
    /// This node's name, as text.
    Name,
    /// The UDP port that was used last, as text: peers look for this node there.
    Port,
    /// Since when this node counts its messages, and how often it has started: 16 bytes.
    Messages,
}

impl Key {
    const fn name(self) -> &'static str {
        match self {
            Self::Rendezvous => "rendezvous",
            Self::Address => "address",
            Self::Name => "name",
            Self::Port => "port",
            Self::Messages => "messages",
        }
    }
}

/// Adds a write of one value.
pub(crate) fn put(batch: &mut Batch, key: Key, value: Vec<u8>) {
    batch.write(move |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?
            .execute((key.name(), value))?;
        Ok(())
    });
}

/// One value, if it was ever written.
pub(crate) fn get(connection: &Connection, key: Key) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key.name()], |row| row.get(0))
        .optional()
}

/// One value that is text; none if it is no longer readable as that.
pub(crate) fn text(connection: &Connection, key: Key) -> rusqlite::Result<Option<String>> {
    Ok(get(connection, key)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}
