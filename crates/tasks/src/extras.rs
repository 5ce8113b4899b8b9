//! Records with a part that most of them lack.
//!
//! It stands behind the record on disk, so that records without it are what
//! they were before there was such a part; one with it has the next version,
//! so that an older program says that it is too old.

use pilot_proto::record::{self, RecordError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of a record with extras.
const WITH: u8 = 2;

pub(crate) fn encode<T, E>(record: &T, extras: &E) -> Result<Vec<u8>, RecordError>
where
    T: Serialize,
    E: Serialize + Default + PartialEq,
{
    let mut bytes = record::encode(record)?;
    if *extras == E::default() {
        return Ok(bytes);
    }
    if let Some(version) = bytes.first_mut() {
        *version = WITH;
    }
    postcard::to_extend(extras, bytes).map_err(|_| RecordError::Encode)
}

pub(crate) fn decode<T, E>(bytes: &[u8]) -> Result<(T, E), RecordError>
where
    T: DeserializeOwned,
    E: DeserializeOwned + Default,
{
    match bytes {
        [WITH, rest @ ..] => {
            let (record, rest) =
                postcard::take_from_bytes(rest).map_err(|_| RecordError::Damaged)?;
            match postcard::take_from_bytes(rest) {
                Ok((extras, [])) => Ok((record, extras)),
                Ok(_) | Err(_) => Err(RecordError::Damaged),
            }
        }
        [found, ..] if *found > WITH => Err(RecordError::Newer { found: *found, newest: WITH }),
        _ => Ok((record::decode(bytes)?, E::default())),
    }
}
