//! Bytes and files that travel inside a request or an answer.

use bytes::Bytes;
use pilot_proto::{FileName, TransferId};
use serde::{Deserialize, Serialize};

use crate::Base64;
use crate::transfers::PathText;

/// A small file with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContentFile {
    /// What it is called: one path component.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: FileName,
    /// Its bytes.
    pub content_base64: Base64,
}

/// A file that came with a task or a result; or, if it has a path and came on a
/// transfer, a file, link or folder at the top of that.
///
/// The bytes of one without a path are in the message itself; a task's are at
/// `tasks/{id}/attachments/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attachment {
    /// What it is called.
    pub name: PathText,
    /// Its bytes; of a folder, those of all files in it.
    pub size: u64,
    /// Where it lies on this machine, absolute, if it lies anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathText>,
}

/// Names at the top of a transfer that are listed as [`Attachment`]s; the
/// others are only in [`AttachedFiles::folder`].
pub const LISTED_NAMES: usize = 1000;

/// Files that go with a task or a result on a transfer of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttachedFiles {
    /// The transfer: `transfers/{id}` tells how far it is.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub transfer: TransferId,
    /// How many files there are.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// The folder with all of them, absolute, if they came here and are here yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathText>,
}

/// Result data was given both as text and as base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("data is given as text or as base64, not as both")]
pub struct BothForms;

/// Bytes by which escapes may lengthen a text, besides half of its length.
///
/// With it the largest result, of 16 MiB, stays within a request's body.
const ESCAPES: usize = 64 * 1024;

/// Result data as the two fields `data` and `data_base64`: text if it is
/// UTF-8, else base64; base64 too for the rare large text that consists mostly
/// of what JSON must escape (a dump of control characters).
#[must_use]
pub fn data_fields(bytes: Bytes) -> (Option<String>, Option<Base64>) {
    let escapes: usize = bytes.iter().map(|byte| escape_len(*byte)).sum();
    if escapes > ESCAPES + bytes.len() / 2 {
        return (None, Some(Base64(bytes)));
    }
    match String::from_utf8(bytes.into()) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(Base64(error.into_bytes().into()))),
    }
}

/// Bytes that JSON adds to one byte of a text (RFC 8259 §7).
const fn escape_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..=0x1f => 5,
        _ => 0,
    }
}

/// The bytes in the two fields `data` and `data_base64`; none if neither is there.
///
/// # Errors
///
/// [`BothForms`] if both are.
pub fn read_data_fields(
    data: Option<String>,
    data_base64: Option<Base64>,
) -> Result<Bytes, BothForms> {
    match (data, data_base64) {
        (Some(_), Some(_)) => Err(BothForms),
        (Some(text), None) => Ok(text.into()),
        (None, Some(Base64(bytes))) => Ok(bytes),
        (None, None) => Ok(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_the_two_fields() {
        let dump = [1; ESCAPES];
        for bytes in [&b""[..], b"-text\n", b"\xff\xfe\0", &dump] {
            let (text, base64) = data_fields(Bytes::copy_from_slice(bytes));

            assert!(text.is_some() != base64.is_some());
            assert_eq!(read_data_fields(text, base64), Ok(Bytes::copy_from_slice(bytes)));
        }
        assert!(data_fields(Bytes::copy_from_slice(&dump)).0.is_none());
        assert_eq!(read_data_fields(Some(String::new()), Some(Base64::default())), Err(BothForms));
    }
}
