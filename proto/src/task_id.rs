//! The id of a task, made by its submitter.

use core::fmt;
use core::str::FromStr;

use pilot_identity::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A UUID of version 7 (RFC 9562 §5.7): sorts by time of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Uuid);

/// Text that is not a task id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task id is a UUID, as `task submit` prints it")]
pub struct TaskIdError;

impl TaskId {
    /// The id of a task submitted at `now`; `random` makes it unique.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid())
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

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// Only the hyphenated form that [`TaskId`] prints; ids also name files and
/// URL segments, so nothing looser is let in.
impl FromStr for TaskId {
    type Err = TaskIdError;

    fn from_str(text: &str) -> Result<Self, TaskIdError> {
        if text.len() != 36 {
            return Err(TaskIdError);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| TaskIdError)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.as_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self::from_bytes)
        }
    }
}

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
