//! How a command ends when it does not succeed.

use pilot_local_api::{ApiError, CallError, ErrorCode};

/// The exit code of a program whose reader went away: 128 and SIGPIPE.
const CLOSED: u8 = 141;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to be told, with the exit code of its own code.
    Error(ApiError),
    /// A signal ended the command; what is to be told has another code then.
    Signal { number: u8, told: ApiError },
    /// A signal ended what has no other end: there is nothing to be told.
    Stopped(u8),
    /// Whoever read stdout has gone: there is nobody to be told.
    OutputClosed,
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Error(error) => error.code.exit_code(),
            Self::Signal { number, told: _ } | Self::Stopped(number) => 128 + number,
            Self::OutputClosed => CLOSED,
        }
    }

    /// A request that breaks a rule of this program.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        ApiError::new(ErrorCode::InvalidArgument, message).into()
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Error(error.into())
    }
}
