//! The name of a file inside a task or a result.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tasks::MAX_FILE_NAME;

/// One path component: 1 to [`MAX_FILE_NAME`] bytes, no separator of any
/// system, neither `.` nor `..`, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

/// Text that names no file inside a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file name is one component of 1 to 255 bytes, without separators or control characters")]
pub struct FileNameError;

impl FileName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(text: &str) -> Result<Self, FileNameError> {
        let forbidden = |letter: char| matches!(letter, '/' | '\\') || letter.is_control();
        if text.is_empty()
            || text.len() > MAX_FILE_NAME
            || matches!(text, "." | "..")
            || text.chars().any(forbidden)
        {
            return Err(FileNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leaves_its_folder_is_a_file_name() {
        for text in ["report.txt", "...", "a b", "é", ".hidden"] {
            assert_eq!(text.parse::<FileName>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", "a/b", "../x", "a\\b", "/etc", "a\0", "a\u{1b}[2J"] {
            assert_eq!(text.parse::<FileName>(), Err(FileNameError), "{text:?}");
        }
        assert!("x".repeat(256).parse::<FileName>().is_err());
    }
}
