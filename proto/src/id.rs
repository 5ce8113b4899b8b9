//! Ids of what nodes hand to each other, made by whoever hands it over.

use core::fmt;
use core::str::FromStr;

use pilot_identity::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A UUID of version 7 (RFC 9562 §5.7) as a type of its own.
macro_rules! id {
    ($name:ident, $error:ident, $message:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        #[doc = concat!("Text that is no [`", stringify!($name), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($message)]
        pub struct $error;

        impl $name {
            /// The id of what is handed over at `now`; `random` makes it unique.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                Self(
                    uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid(),
                )
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The id with these 16 bytes, as stored.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes, for storage.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        /// Only the hyphenated form that this type prints; ids also name files and
        /// URL segments, so nothing looser is let in.
        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                if text.len() != 36 {
                    return Err($error);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| $error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.as_bytes().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(Self::from_bytes)
                }
            }
        }
    };
}

id!(
    TaskId,
    TaskIdError,
    "a task id is a UUID, as `task submit` prints it",
    "Of a task: sorts by the time of submission."
);
id!(
    TransferId,
    TransferIdError,
    "a transfer id is a UUID, as `data send` prints it",
    "Of a transfer of files: sorts by the time of sending."
);
id!(
    MessageId,
    MessageIdError,
    "a message id is a UUID, as `msg send` prints it",
    "Of a message: sorts by the time of sending."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_by_time_and_is_read_back() {
        let early = TaskId::new(Timestamp::from_millis(1_000), [0xff; 10]);
        let late = TaskId::new(Timestamp::from_millis(1_001), [0; 10]);

        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(TaskId::from_bytes(*early.as_bytes()), early);
        assert_eq!(early.uuid().get_version_num(), 7);
    }

    #[test]
    fn paths_and_other_text_are_refused() {
        let hostile = [
            "",
            "../../etc/passwd",
            "..%2f..%2f",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
            "01890a5dac96774bbcceb302099a8057",
            "01890a5d-ac96-774b-bcce-b302099a805\0",
        ];
        for text in hostile {
            assert_eq!(text.parse::<TaskId>(), Err(TaskIdError), "{text:?}");
        }
    }
}
