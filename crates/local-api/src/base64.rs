//! Bytes inside JSON.

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are written as standard base64 with padding (RFC 4648 §4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
pub struct Base64(pub Bytes);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&BASE64.encode_display(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_other_text_is_refused() {
        let bytes = Base64(Bytes::from_static(&[0, 255, 10, 7]));

        let text = serde_json::to_string(&bytes).unwrap();

        assert_eq!(text, "\"AP8KBw==\"");
        assert_eq!(serde_json::from_str::<Base64>(&text).unwrap(), bytes);
        assert!(serde_json::from_str::<Base64>("\"AP8KBw\"").is_err());
        assert!(serde_json::from_str::<Base64>("\"*\"").is_err());
    }
}
