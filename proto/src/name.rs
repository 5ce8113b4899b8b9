//! The unique name of a node in its network.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 1 to 63 characters of `a`–`z`, `0`–`9` and inner hyphens: a DNS label
/// (RFC 1123 §2.1), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// Text that is not a node name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeNameError {
    /// Empty, or longer than 63 characters.
    #[error("a node name has 1 to 63 characters")]
    Length,
    /// A character that a name cannot hold, or a hyphen at an end.
    #[error("a node name holds a-z, 0-9 and hyphens inside")]
    Character,
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        if text.is_empty() || text.len() > 63 {
            return Err(NodeNameError::Length);
        }
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(NodeNameError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names() {
        for text in ["a", "backend", "gpu-2", "0", &"x".repeat(63)] {
            assert_eq!(text.parse::<NodeName>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn other_text_is_not() {
        assert_eq!("".parse::<NodeName>(), Err(NodeNameError::Length));
        assert_eq!("x".repeat(64).parse::<NodeName>(), Err(NodeNameError::Length));
        for text in ["Backend", "a.b", "-a", "a-", "a b", "é", "a\n", "1:0001.0000.0002"] {
            assert_eq!(text.parse::<NodeName>(), Err(NodeNameError::Character), "{text:?}");
        }
    }
}
