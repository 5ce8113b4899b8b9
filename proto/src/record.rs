//! Records on disk begin with the version of their layout.
//!
//! A record is one version byte and then postcard. Once a version has been
//! released, a new field means a new one, whose decoder still reads the older
//! ones: version 2 has extras, a second postcard behind the first. A record
//! whose extras say nothing is written as version 1. No wire is involved, but
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
const WITH_EXTRAS: u8 = 2;

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

/// The bytes of a record and of what was added to its first layout.
///
/// # Errors
///
/// [`RecordError::Encode`].
pub fn encode_with<T, E>(record: &T, extras: &E) -> Result<Vec<u8>, RecordError>
where
    T: Serialize,
    E: Serialize + Default + PartialEq,
{
    if *extras == E::default() {
        return encode(record);
    }
    let bytes = postcard::to_extend(record, vec![WITH_EXTRAS]).map_err(|_| RecordError::Encode)?;
    postcard::to_extend(extras, bytes).map_err(|_| RecordError::Encode)
}

/// The record of some bytes and its extras; those of an older one are the default.
///
/// # Errors
///
/// [`RecordError`]; never for what [`encode`] or [`encode_with`] gave.
pub fn decode_with<T, E>(bytes: &[u8]) -> Result<(T, E), RecordError>
where
    T: DeserializeOwned,
    E: DeserializeOwned + Default,
{
    match bytes {
        [WITH_EXTRAS, rest @ ..] => {
            let (record, rest) =
                postcard::take_from_bytes(rest).map_err(|_| RecordError::Damaged)?;
            match postcard::take_from_bytes(rest) {
                Ok((extras, [])) => Ok((record, extras)),
                Ok(_) | Err(_) => Err(RecordError::Damaged),
            }
        }
        [found, ..] if *found > WITH_EXTRAS => {
            Err(RecordError::Newer { found: *found, newest: WITH_EXTRAS })
        }
        bytes => Ok((decode(bytes)?, E::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_follow_the_record_if_they_say_anything() {
        assert_eq!(encode_with(&7u8, &0u16), Ok(vec![1, 7]));
        assert_eq!(encode_with(&7u8, &9u16), Ok(vec![2, 7, 9]));

        assert_eq!(decode_with::<u8, u16>(&[1, 7]), Ok((7, 0)));
        assert_eq!(decode_with::<u8, u16>(&[2, 7, 9]), Ok((7, 9)));
    }

    #[test]
    fn what_is_cut_longer_or_newer_is_no_record() {
        for damaged in [&[][..], &[0, 7], &[1], &[1, 7, 9], &[2], &[2, 7], &[2, 7, 9, 0]] {
            assert_eq!(decode_with::<u8, u16>(damaged), Err(RecordError::Damaged), "{damaged:?}");
        }
        let newer = Err(RecordError::Newer { found: 3, newest: WITH_EXTRAS });
        assert_eq!(decode_with::<u8, u16>(&[3, 7]), newer);
    }
}
