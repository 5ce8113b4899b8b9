//! Who may use what.

use pilot_identity::Fingerprint;
use pilot_proto::PeerRef;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::identity::PeerIdentity;

/// How far trust between this node and a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TrustState {
    /// Each holds the other's live grant.
    Trusted,
    /// This node has granted, the peer has not.
    Requested,
    /// The peer has granted, this node has not.
    Pending,
    /// Neither has granted.
    None,
}

impl TrustState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Requested => "requested",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

/// What a peer can be allowed to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Allowed {
    /// Submit tasks.
    Tasks,
    /// Send files and folders.
    Data,
    /// Exchange events.
    Events,
    /// Send messages.
    Messages,
}

impl From<pilot_identity::Scope> for Allowed {
    fn from(scope: pilot_identity::Scope) -> Self {
        use pilot_identity::Scope;
        match scope {
            Scope::Tasks => Self::Tasks,
            Scope::Data => Self::Data,
            Scope::Events => Self::Events,
            Scope::Messages => Self::Messages,
        }
    }
}

impl From<Allowed> for pilot_identity::Scope {
    fn from(allowed: Allowed) -> Self {
        match allowed {
            Allowed::Tasks => Self::Tasks,
            Allowed::Data => Self::Data,
            Allowed::Events => Self::Events,
            Allowed::Messages => Self::Messages,
        }
    }
}

/// `POST trust`: grants, and asks the peer to grant in turn. Sending it again
/// with the same content changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrustRequest {
    /// Whom.
    #[serde(with = "crate::text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub peer: PeerRef,
    /// Only if its key has this fingerprint; else `fingerprint_mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub fingerprint: Option<Fingerprint>,
    /// What it may use here; everything if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Allowed>>,
    /// After how long the grant ends by itself; never if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// Trust with one peer. The answer to everything about trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrustView {
    /// Who it is.
    #[serde(flatten)]
    pub identity: PeerIdentity,
    /// How far it has come.
    pub state: TrustState,
    /// What the peer may use here.
    #[serde(default)]
    pub i_allow: Vec<Allowed>,
    /// What this node may use there.
    #[serde(default)]
    pub they_allow: Vec<Allowed>,
    /// When the first of the two grants ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}
