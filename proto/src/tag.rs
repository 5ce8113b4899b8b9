//! What a node says about itself: `gpu=a100`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::list;

/// Tags a node may carry; a registration with more is refused.
pub const MAX_TAGS: usize = 32;

/// A key and a value, each 1 to 63 characters of letters, digits and `._-/`
/// (a value may be empty). The written form is `key=value`, or `key` alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    key: String,
    value: String,
}

/// Text that is not a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag is key=value, each of at most 63 letters, digits, '.', '_', '-' or '/'")]
pub struct TagError;

impl Tag {
    /// The part before the `=`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The part after it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        let fits = |part: &str| part.len() <= 63 && part.bytes().all(allowed);
        if key.is_empty() || !fits(key) || !fits(value) {
            return Err(TagError);
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// At most [`MAX_TAGS`] tags, in order of key, one value a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// Sorts `tags`; of two with the same key the later one stays.
    ///
    /// # Errors
    ///
    /// [`TagError`] if there are more than [`MAX_TAGS`].
    pub fn new(tags: impl IntoIterator<Item = Tag>) -> Result<Self, TagError> {
        let mut sorted: Vec<Tag> = Vec::new();
        for tag in tags {
            match sorted.binary_search_by(|have| have.key.cmp(&tag.key)) {
                Ok(index) => {
                    if let Some(have) = sorted.get_mut(index) {
                        *have = tag;
                    }
                }
                Err(_) if sorted.len() == MAX_TAGS => return Err(TagError),
                Err(index) => sorted.insert(index, tag),
            }
        }
        Ok(Self(sorted))
    }

    /// The tags in order of key.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }

    /// Whether `wanted` is among them.
    #[must_use]
    pub fn contains(&self, wanted: &Tag) -> bool {
        self.0.contains(wanted)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        Self::new(list::at_most::<MAX_TAGS, Tag, D>(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_value_are_split_at_the_first_equals_sign() {
        let tag: Tag = "gpu=a100".parse().unwrap();

        assert_eq!((tag.key(), tag.value()), ("gpu", "a100"));
        assert_eq!("spot".parse::<Tag>().unwrap().to_string(), "spot=");
        for text in ["", "=a", "a=b=c", "a b=c", "a=\u{202e}", &"k".repeat(64)] {
            assert_eq!(text.parse::<Tag>(), Err(TagError), "{text:?}");
        }
    }

    #[test]
    fn the_last_value_of_a_key_stays_and_their_number_is_bounded() {
        let tag = |text: &str| text.parse::<Tag>().unwrap();

        let tags = Tags::new([tag("b=1"), tag("a=1"), tag("b=2")]).unwrap();

        let shown: Vec<String> = tags.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a=1", "b=2"]);
        assert!(Tags::new((0..=MAX_TAGS).map(|n| tag(&format!("k{n}=v")))).is_err());
    }
}
