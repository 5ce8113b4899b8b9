//! The tables of a node and how rows are read and written.
//!
//! Rows hold the machines' own records (postcard with a version in front);
//! the columns beside them are what is searched by.

pub(crate) mod bodies;
pub(crate) mod cards;
pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod logs;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod receipts;
pub(crate) mod schema;
pub(crate) mod strays;
pub(crate) mod tasks;
pub(crate) mod transfers;
pub(crate) mod trust;

use rusqlite::types::Type;

/// The error for a row that does not decode.
pub(crate) fn undecodable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
}
