//! What the services' errors are called in the API, and what helps.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pilot_local_api::errors::ErrorBody;
use pilot_local_api::{ApiError, ErrorCode};
use pilot_overlay::{DialError, RegistryError};
use pilot_proto::PeerRef;
use pilot_proto::registry::RefusalCode;
use pilot_store::{CommitError, ReadError};
use pilot_trust::GrantError;

use crate::services::{FindError, TrustError};

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct Failure(Box<ApiError>);

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(ApiError::new(code, message)))
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self(Box::new(self.0.with_hint(hint)))
    }

    pub(crate) fn detail(self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        Self(Box::new(self.0.with_detail(name, value)))
    }

    /// The error itself, where it is a part of an answer.
    pub(crate) fn into_error(self) -> ApiError {
        *self.0
    }

    /// A request that breaks a rule.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// A fault of the daemon; the cause is in its log.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(%error, source = error.source(), "a request failed");
        Self::new(ErrorCode::Internal, format!("the daemon failed: {error}"))
    }

    /// There is no mutual trust with `peer`.
    pub(crate) fn not_trusted(peer: &PeerRef) -> Self {
        Self::new(ErrorCode::NotTrusted, format!("there is no mutual trust with {peer}"))
            .hint(format!("pilotctl trust {peer}"))
            .detail("peer", peer.to_string())
    }

    /// A tunnel to `peer` could not be had.
    pub(crate) fn dial(peer: &PeerRef, error: &DialError) -> Self {
        let failure = match error {
            DialError::NotTrusted => return Self::not_trusted(peer),
            DialError::NotTrustedThere => Self::new(
                ErrorCode::PeerOneWayTrust,
                format!("{peer} does not trust this node, or does not know yet that it is trusted"),
            )
            .hint("pilotctl whoami  # then, on the peer: pilotctl trust ADDRESS"),
            DialError::NoEndpoint | DialError::Unreachable(_) | DialError::Hello(_) => {
                Self::new(ErrorCode::PeerUnreachable, format!("{peer} is not reachable: {error}"))
                    .hint(format!("pilotctl resolve {peer}"))
            }
            DialError::WrongKey => Self::new(
                ErrorCode::PeerUnreachable,
                format!("another node answers where {peer} was"),
            )
            .hint(format!("pilotctl resolve {peer}")),
            DialError::Version => Self::new(
                ErrorCode::VersionMismatch,
                format!("{peer} speaks another version of the protocol"),
            )
            .hint("pilot-daemon --version  # on both machines"),
            DialError::Stopping => Self::new(ErrorCode::DaemonNotRunning, "the daemon is stopping")
                .hint("pilot-daemon"),
        };
        failure.detail("peer", peer.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(ErrorBody { error: *self.0 })).into_response()
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => {
                Self::new(ErrorCode::DiskFull, "the disk is full; nothing was changed or lost")
                    .hint("df -h  # make room, then try again")
            }
            CommitError::Stale | CommitError::Closed => {
                let mut failure =
                    Self::new(ErrorCode::Internal, format!("{error}; nothing was changed"));
                failure.0.retryable = true;
                failure
            }
            CommitError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::internal(&error)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NotConfigured => {
                Self::new(ErrorCode::RendezvousUnreachable, "no rendezvous is configured")
                    .hint("pilot-daemon -registry-addr HOST:9000")
            }
            RegistryError::NotConnected
            | RegistryError::TimedOut
            | RegistryError::Line(_)
            | RegistryError::Confused => {
                Self::new(ErrorCode::RendezvousUnreachable, error.to_string())
                    .hint("pilotctl status")
            }
            RegistryError::Refused(refusal) => {
                let code = match refusal.code {
                    RefusalCode::NotFound => ErrorCode::UnknownPeer,
                    RefusalCode::RateLimited { .. } => ErrorCode::RateLimited,
                    RefusalCode::MailboxFull => ErrorCode::MailboxFull,
                    RefusalCode::DiskFull
                    | RefusalCode::NotRegistered
                    | RefusalCode::NetworkFull
                    | RefusalCode::Invalid
                    | RefusalCode::Internal => ErrorCode::RendezvousUnreachable,
                };
                let message = format!("the rendezvous refused: {}", refusal.message.as_str());
                let failure = Self::new(code, message);
                match refusal.code {
                    RefusalCode::RateLimited { retry_after_ms } => {
                        failure.detail("retry_after_ms", retry_after_ms)
                    }
                    RefusalCode::NotFound
                    | RefusalCode::NotRegistered
                    | RefusalCode::Invalid
                    | RefusalCode::MailboxFull
                    | RefusalCode::DiskFull
                    | RefusalCode::NetworkFull
                    | RefusalCode::Internal => failure,
                }
            }
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let message = error.to_string();
        match error {
            FindError::Unknown { wanted, nearest } => {
                let (guess, hint) = match nearest.first() {
                    Some(name) => (
                        format!("; did you mean {name}? nothing was sent"),
                        format!("pilotctl resolve {name}"),
                    ),
                    None => (String::new(), "pilotctl peers".to_owned()),
                };
                Self::new(ErrorCode::UnknownPeer, message + &guess)
                    .hint(hint)
                    .detail("peer", wanted.to_string())
                    .detail("nearest", nearest)
            }
            FindError::Registry { source, .. } => {
                let failure = Self::from(source);
                let cause = failure.0.message.clone();
                let mut failure = failure;
                failure.0.message = format!("{message}: {cause}");
                failure
            }
            FindError::IdentityChanged(changed) => Self::new(ErrorCode::IdentityChanged, message)
                .hint(format!(
                    "pilotctl untrust {}  # only if the peer really has a new key",
                    changed.address
                ))
                .detail("peer", changed.address.to_string())
                .detail("pinned_fingerprint", changed.pinned.fingerprint().to_string()),
        }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        let grant = match error {
            TrustError::Commit(error) => return error.into(),
            TrustError::Revoke(error) => {
                return Self::new(ErrorCode::NotTrusted, error.to_string())
                    .hint("pilotctl trust list");
            }
            TrustError::Grant(error) => error,
        };
        let message = grant.to_string();
        match grant {
            GrantError::Itself | GrantError::NoScopes | GrantError::Expired => {
                Self::invalid(message)
            }
            GrantError::OtherNetwork { .. } => Self::invalid(message).hint("pilotctl whoami"),
            GrantError::NoNetwork => Self::new(
                ErrorCode::RendezvousUnreachable,
                "this node was never registered with a rendezvous, so it has no address to grant trust from",
            )
            .hint("pilotctl status"),
            GrantError::FingerprintMismatch { wanted, found } => {
                Self::new(ErrorCode::FingerprintMismatch, message)
                    .hint("pilotctl whoami  # on the peer, to compare")
                    .detail("wanted", wanted.to_string())
                    .detail("found", found.to_string())
            }
            GrantError::IdentityChanged(changed) => FindError::IdentityChanged(changed).into(),
        }
    }
}
