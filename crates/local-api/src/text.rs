//! Serde for types that are written as their text.

/// `#[serde(with = "crate::text")]`: through `Display` and `FromStr`.
pub(crate) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: core::fmt::Display,
    S: serde::Serializer,
{
    serializer.collect_str(value)
}

pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: core::str::FromStr<Err: core::fmt::Display>,
    D: serde::Deserializer<'de>,
{
    use serde::Deserialize as _;
    use serde::de::Error as _;
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// The same for a field that may be left out; it also takes `#[serde(default)]`.
pub(crate) mod optional {
    pub(crate) fn serialize<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: core::fmt::Display,
        S: serde::Serializer,
    {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: core::str::FromStr<Err: core::fmt::Display>,
        D: serde::Deserializer<'de>,
    {
        use serde::Deserialize as _;
        use serde::de::Error as _;
        match Option::<String>::deserialize(deserializer)? {
            Some(text) => text.parse().map(Some).map_err(D::Error::custom),
            None => Ok(None),
        }
    }
}

/// The same for a list of them.
pub(crate) mod list {
    pub(crate) fn serialize<T, S>(values: &[T], serializer: S) -> Result<S::Ok, S::Error>
    where
        T: core::fmt::Display,
        S: serde::Serializer,
    {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: core::str::FromStr<Err: core::fmt::Display>,
        D: serde::Deserializer<'de>,
    {
        use serde::Deserialize as _;
        use serde::de::Error as _;
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
