//! Why something of a peer is not taken, in the words of the protocol.

use pilot_proto::data::DataRefusal;
use pilot_tree::{CreateError, DiskError, WriteError};

use super::ChangeError;

/// Why something of a peer is not taken.
pub(super) struct Refused(pub(super) DataRefusal, pub(super) String);

impl Refused {
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%error, "a transfer cannot be received");
        Self(DataRefusal::Internal, "the receiver failed; see its log".to_owned())
    }
}

impl From<ChangeError> for Refused {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Exists => Self(DataRefusal::Conflict, error.to_string()),
            ChangeError::TooMany => Self(DataRefusal::Quota, error.to_string()),
            ChangeError::Commit(_) | ChangeError::Read(_) | ChangeError::Stopping => {
                Self::internal(&error)
            }
        }
    }
}

impl From<&DiskError> for Refused {
    fn from(error: &DiskError) -> Self {
        let code = match error {
            DiskError::Full { .. } => DataRefusal::DiskFull,
            DiskError::NamesCollide { .. } => DataRefusal::Invalid,
            DiskError::Denied { .. } | DiskError::InTheWay { .. } | DiskError::Io { .. } => {
                return Self::internal(error);
            }
        };
        Self(code, error.to_string())
    }
}

impl From<&WriteError> for Refused {
    fn from(error: &WriteError) -> Self {
        match error {
            WriteError::NoSuchPiece { .. }
            | WriteError::WrongLength { .. }
            | WriteError::HashMismatch { .. } => Self(DataRefusal::Invalid, error.to_string()),
            WriteError::Disk(error) => error.into(),
        }
    }
}

impl From<&CreateError> for Refused {
    fn from(error: &CreateError) -> Self {
        match error {
            CreateError::TooLarge(_) => Self(DataRefusal::Invalid, error.to_string()),
            CreateError::Exists { .. } => Self::internal(error),
            CreateError::Disk(error) => error.into(),
        }
    }
}
