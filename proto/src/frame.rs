//! Frames: a big-endian `u32` length, then that many bytes of postcard.
//!
//! ```text
//! 0        4
//! +--------+----------------- - - -
//! | length | message (postcard)
//! +--------+----------------- - - -
//! ```
//!
//! The reader gives its limit and refuses a longer frame from the length
//! alone, before anything is allocated for it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the length prefix.
pub const PREFIX: usize = 4;

/// The most bytes of a frame in an exchange with the registry, a trust
/// exchange, or the control service.
pub const MAX_SMALL_FRAME: usize = 256 * 1024;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is, or would be, longer than allowed here.
    #[error("a frame of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The bytes are no message of the expected type.
    #[error("the frame does not decode")]
    Malformed,
}

/// Encodes `message` with its prefix, ready to be sent.
///
/// # Errors
///
/// [`FrameError::TooLarge`] if it is longer than `limit`.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, FrameError> {
    let bytes = postcard::to_extend(message, vec![0; PREFIX]).map_err(|_| FrameError::Malformed)?;
    seal(bytes, limit)
}

fn seal(mut bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, FrameError> {
    let len = bytes.len().saturating_sub(PREFIX);
    let prefix = u32::try_from(len).ok().filter(|_| len <= limit);
    let (Some(prefix), Some(space)) = (prefix, bytes.first_chunk_mut::<PREFIX>()) else {
        return Err(FrameError::TooLarge { len, limit });
    };
    *space = prefix.to_be_bytes();
    Ok(bytes)
}

/// The length that a prefix announces.
///
/// # Errors
///
/// [`FrameError::TooLarge`] if it is over `limit`.
pub fn announced_len(prefix: [u8; PREFIX], limit: usize) -> Result<usize, FrameError> {
    let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if len > limit { Err(FrameError::TooLarge { len, limit }) } else { Ok(len) }
}

/// Decodes what followed the prefix; every byte must belong to the message.
///
/// # Errors
///
/// [`FrameError::Malformed`] if it does not decode, or something is left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(FrameError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_there_and_back() {
        let frame = encode(&(7_u16, "hello"), 100).unwrap();

        let (prefix, body) = frame.split_first_chunk::<PREFIX>().unwrap();

        assert_eq!(announced_len(*prefix, 100), Ok(body.len()));
        assert_eq!(decode(body), Ok((7_u16, "hello".to_owned())));
    }

    #[test]
    fn the_limit_holds_for_both_sides() {
        assert_eq!(encode(&[0_u8; 11], 10), Err(FrameError::TooLarge { len: 11, limit: 10 }));
        assert_eq!(
            announced_len([0xff; 4], 10),
            Err(FrameError::TooLarge { len: 0xffff_ffff, limit: 10 })
        );
    }

    #[test]
    fn left_over_and_missing_bytes_are_errors() {
        assert_eq!(decode::<u8>(&[1, 2]), Err(FrameError::Malformed));
        assert_eq!(decode::<u8>(&[]), Err(FrameError::Malformed));
        // A length that claims far more than is there allocates nothing for it.
        assert_eq!(decode::<Vec<u8>>(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(FrameError::Malformed));
    }
}
