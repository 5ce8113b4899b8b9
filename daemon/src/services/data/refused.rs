//! Why something of a peer is not taken, in the words of the protocol.

use pilot_proto::data::DataRefusal;
use pilot_tree::{CreateError, DiskError, WriteError};

use super::ChangeError;
use super::landing::PieceError;

/// Why something of a peer is not taken.
pub(super) struct Refused(pub(super) DataRefusal, pub(super) String);

impl Refused {
    pub(super) fn disk_full() -> Self {
        Self(DataRefusal::DiskFull, "the receiver's disk is full".to_owned())
    }

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
        // Where the inbox is is not the peer's business.
        match error {
            DiskError::Full { .. } => Self::disk_full(),
            DiskError::NamesCollide { .. } => Self(DataRefusal::Invalid, error.to_string()),
            DiskError::Denied { .. } => {
                tracing::warn!(%error, "a transfer cannot be received");
                let reason = "the receiver may not write to its inbox; see its log".to_owned();
                Self(DataRefusal::Internal, reason)
            }
            DiskError::InTheWay { .. } | DiskError::Io { .. } => Self::internal(error),
        }
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

impl From<&PieceError> for Refused {
    fn from(error: &PieceError) -> Self {
        match error {
            PieceError::Write(error) => error.into(),
            PieceError::Packed(_) => Self(DataRefusal::Invalid, error.to_string()),
            PieceError::Memory(_) => Self::internal(error),
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
