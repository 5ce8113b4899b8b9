//! Amounts of bytes, as people write them.

use core::str::FromStr;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};

/// Bytes: `500`, `10k`, `10M`, `2.5G` in thousands, `10Ki`, `10Mi` in 1,024s;
/// a `B` may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanBytes(pub u64);

/// Text that is no amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount of bytes is written like 500k, 10M or 2Gi")]
pub struct HumanBytesError;

impl FromStr for HumanBytes {
    type Err = HumanBytesError;

    fn from_str(text: &str) -> Result<Self, HumanBytesError> {
        // Without a digit first, it takes a minus or words like `inf`.
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(HumanBytesError);
        }
        text.parse().map(|ByteSize(bytes)| Self(bytes)).map_err(|_| HumanBytesError)
    }
}

/// In a settings file: a number, or text as above.
impl<'de> Deserialize<'de> for HumanBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_units_that_people_write() {
        let table = [
            ("0", 0),
            ("500", 500),
            ("10k", 10_000),
            ("10M", 10_000_000),
            ("10MB", 10_000_000),
            ("1.5G", 1_500_000_000),
            ("4Ki", 4096),
            ("4 MiB", 4 * 1024 * 1024),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse(), Ok(HumanBytes(bytes)), "{text}");
        }
        for wrong in ["", "-1", "M", "10 parsecs", "1e400", "inf", "ten", "10M/s"] {
            assert_eq!(wrong.parse::<HumanBytes>(), Err(HumanBytesError), "{wrong}");
        }
    }

    #[test]
    fn a_settings_file_has_numbers_or_text() {
        let read = serde_json::from_str::<HumanBytes>;

        assert_eq!(read("7").unwrap(), HumanBytes(7));
        assert_eq!(read("\"2k\"").unwrap(), HumanBytes(2000));
        assert!(read("-7").is_err() && read("true").is_err() && read("\"x\"").is_err());
    }
}
