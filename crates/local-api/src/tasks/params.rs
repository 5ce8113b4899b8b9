//! The parameters of a task.

use core::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names and values: a JSON object whose order is kept.
///
/// A name that is given twice stays twice here; the daemon refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(value_type = std::collections::BTreeMap<String, String>)
)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Params;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let mut params = Vec::new();
        while let Some(pair) = map.next_entry()? {
            params.push(pair);
        }
        Ok(Params(params))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept() {
        let text = r#"{"z":"1","a":"-2\n","m":""}"#;

        let params: Params = serde_json::from_str(text).unwrap();

        assert_eq!(params.0[0], ("z".to_owned(), "1".to_owned()));
        assert_eq!(serde_json::to_string(&params).unwrap(), text);
        assert!(serde_json::from_str::<Params>(r#"{"a":1}"#).is_err());
    }
}
