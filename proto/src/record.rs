//! Records on disk begin with the version of their layout.
//!
//! A record is one version byte and then postcard. Once a version has been
//! released, a new field means a new one, whose decoder still reads the older
//! ones. No wire is involved, but
//! what the records hold are the types of this crate.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes from the disk are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer program.
    #[error("the record has version {found}, this program reads up to {newest}")]
    Newer {
        /// The version of the record.
        found: u8,
        /// The newest that is understood.
        newest: u8,
    },
    /// No bytes, or not what its version says.
    #[error("the record is damaged")]
    Damaged,
    /// The record could not be encoded.
    #[error("the record cannot be encoded")]
    Encode,
}

const FIRST: u8 = 1;

/// The bytes of a record.
///
/// # Errors
///
/// [`RecordError::Encode`].
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, RecordError> {
    postcard::to_extend(record, vec![FIRST]).map_err(|_| RecordError::Encode)
}

/// The record of some bytes.
///
/// # Errors
///
/// [`RecordError`]; never for what [`encode`] gave.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes {
        [FIRST, rest @ ..] => match postcard::take_from_bytes(rest) {
            Ok((record, [])) => Ok(record),
            Ok(_) | Err(_) => Err(RecordError::Damaged),
        },
        [] | [0, ..] => Err(RecordError::Damaged),
        [found, ..] => Err(RecordError::Newer { found: *found, newest: FIRST }),
    }
}
