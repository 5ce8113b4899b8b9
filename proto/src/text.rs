//! Text from peers, bounded when it is decoded.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A string of at most `MAX` bytes, also when it comes from the wire.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// `text`, cut at the last character that fits into `MAX` bytes.
    #[must_use]
    pub fn clipped(text: &str) -> Self {
        let mut end = text.len().min(MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(text.get(..end).unwrap_or_default().to_owned())
    }

    /// `text` if it fits.
    #[must_use]
    pub fn fitting(text: String) -> Option<Self> {
        (text.len() <= MAX).then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, taken out.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        Self::fitting(String::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("text over its limit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_cut_between_characters() {
        assert_eq!(Text::<4>::clipped("aéö").as_str(), "aé");
        assert_eq!(Text::<4>::clipped("abcd").as_str(), "abcd");
        assert!(Text::<4>::fitting("abcde".to_owned()).is_none());
    }

    #[test]
    fn too_much_of_it_does_not_decode() {
        let bytes = postcard::to_allocvec("abcde").unwrap();

        assert!(postcard::from_bytes::<Text<4>>(&bytes).is_err());
        assert!(postcard::from_bytes::<Text<5>>(&bytes).is_ok());
    }
}
