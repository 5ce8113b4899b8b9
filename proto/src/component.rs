//! One component of a path on some machine.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a component: what Linux and macOS take.
pub const MAX_COMPONENT: usize = 255;

/// The name of something inside a folder, as its file system has it: 1 to
/// [`MAX_COMPONENT`] bytes, which need not be UTF-8, without `/` and NUL, and
/// neither `.` nor `..`.
///
/// Control characters and line feeds are let in, for files have them: whoever
/// shows a component escapes it (its `Debug` form does).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Component(Box<[u8]>);

/// Bytes that name nothing inside a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name in a folder is 1 to 255 bytes without / and NUL, and neither . nor ..")]
pub struct ComponentError;

impl Component {
    /// The component with these bytes.
    ///
    /// # Errors
    ///
    /// [`ComponentError`] if they are none.
    pub fn new(bytes: &[u8]) -> Result<Self, ComponentError> {
        let is_named = !matches!(bytes, b"" | b"." | b"..");
        let is_one = !bytes.iter().any(|byte| matches!(byte, b'/' | 0));
        if is_named && is_one && bytes.len() <= MAX_COMPONENT {
            Ok(Self(bytes.into()))
        } else {
            Err(ComponentError)
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In quotes, with everything escaped that is not printable ASCII.
impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        Self::new(<&[u8]>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_names() {
        let long = "x".repeat(255);
        for name in ["a", "...", " ", "a\nb", "a\\b", "C:", "nul", "dot.", "\u{1b}[2J", &long] {
            assert_eq!(Component::new(name.as_bytes()).unwrap().as_bytes(), name.as_bytes());
        }
        assert_eq!(format!("{:?}", Component::new(b"\x1b[2J\xff").unwrap()), r#""\x1b[2J\xff""#);
    }

    #[test]
    fn what_leaves_its_folder_is_no_name() {
        let too_long = "x".repeat(256);
        for name in ["", ".", "..", "a/b", "/", "/etc", "../x", "a\0b", &too_long] {
            assert_eq!(Component::new(name.as_bytes()), Err(ComponentError), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_name_does_not_decode_either() {
        let dots = postcard::to_allocvec(&b"..".as_slice()).unwrap();
        let name = postcard::to_allocvec(&Component::new(b"x").unwrap()).unwrap();

        assert!(postcard::from_bytes::<Component>(&dots).is_err());
        assert_eq!(postcard::from_bytes::<Component>(&name).unwrap().as_bytes(), b"x");
    }
}
