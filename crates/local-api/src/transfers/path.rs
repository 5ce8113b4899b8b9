//! Paths inside JSON.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Base64;

/// A path or a name, which need not be UTF-8: a string if it is, else an
/// object with its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PathText {
    /// As text.
    Text(String),
    /// As bytes.
    Bytes {
        /// The bytes.
        base64: Base64,
    },
}

impl PathText {
    /// Its bytes, as the file system has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes { base64: Base64(bytes) } => bytes,
        }
    }

    /// The path itself.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.as_bytes()))
    }
}

/// Equal if they are the same path, in whichever form.
impl PartialEq for PathText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PathText {}

impl From<OsString> for PathText {
    fn from(path: OsString) -> Self {
        match String::from_utf8(path.into_vec()) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes { base64: Base64(Bytes::from(error.into_bytes())) },
        }
    }
}

impl From<PathBuf> for PathText {
    fn from(path: PathBuf) -> Self {
        path.into_os_string().into()
    }
}

impl From<&OsStr> for PathText {
    fn from(path: &OsStr) -> Self {
        path.to_owned().into()
    }
}

impl From<&Path> for PathText {
    fn from(path: &Path) -> Self {
        path.as_os_str().into()
    }
}

impl From<PathText> for OsString {
    fn from(path: PathText) -> Self {
        match path {
            PathText::Text(text) => text.into(),
            PathText::Bytes { base64: Base64(bytes) } => Self::from_vec(bytes.into()),
        }
    }
}

impl From<PathText> for PathBuf {
    fn from(path: PathText) -> Self {
        OsString::from(path).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_and_only_text_is_shown_as_text() {
        let table: [(&[u8], &str); 4] = [
            (b"/a/b c", r#""/a/b c""#),
            ("/\u{e9}\n".as_bytes(), r#""/é\n""#),
            (b"", r#""""#),
            (b"/\xff\x00.", r#"{"base64":"L/8ALg=="}"#),
        ];
        for (bytes, shown) in table {
            let path = Path::new(OsStr::from_bytes(bytes));

            let text = PathText::from(path);

            assert_eq!(serde_json::to_string(&text).unwrap(), shown);
            let read: PathText = serde_json::from_str(shown).unwrap();
            assert_eq!(read, text);
            assert_eq!(read.as_path(), path);
            assert_eq!(PathBuf::from(read), path);
        }
    }

    #[test]
    fn text_may_come_as_bytes_and_is_the_same_path() {
        let read: PathText = serde_json::from_str(r#"{"base64":"L2E="}"#).unwrap();

        assert_eq!(read, PathText::Text("/a".to_owned()));
        assert_ne!(read, PathText::Text("/b".to_owned()));
    }

    #[test]
    fn other_values_are_refused() {
        for wrong in ["7", "null", "[]", "{}", r#"{"base64":"L2E"}"#, r#"{"base64":"L2E=","x":1}"#]
        {
            assert!(serde_json::from_str::<PathText>(wrong).is_err(), "{wrong}");
        }
    }
}
