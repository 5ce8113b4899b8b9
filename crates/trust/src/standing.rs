//! Where this node and one peer stand at one moment.

use core::fmt;

use pilot_identity::{Scope, Scopes};

/// Trust between this node and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustState {
    /// Neither side trusts the other, or this node declined.
    None,
    /// This node trusts the peer, which has not answered.
    Requested,
    /// The peer trusts this node, which has not answered.
    Pending,
    /// Each holds the other's live grant.
    Mutual,
}

impl TrustState {
    /// The word for it in commands and documents.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Requested => "requested",
            Self::Pending => "pending",
            Self::Mutual => "trusted",
        }
    }
}

impl fmt::Display for TrustState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The state and what follows from it.
///
/// Both sets are of live grants, whether or not the other side has one too:
/// they count only in [`TrustState::Mutual`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Trust between the two.
    pub state: TrustState,
    /// What this node grants the peer.
    pub granted: Scopes,
    /// What the peer grants this node.
    pub received: Scopes,
}

impl Standing {
    /// Of a key nothing is known about.
    pub const UNKNOWN: Self =
        Self { state: TrustState::None, granted: Scopes::NONE, received: Scopes::NONE };

    /// Whether tunnels between the two may be open.
    #[must_use]
    pub const fn is_mutual(self) -> bool {
        matches!(self.state, TrustState::Mutual)
    }

    /// Whether the peer may use `scope` here.
    #[must_use]
    pub const fn allows(self, scope: Scope) -> bool {
        self.is_mutual() && self.granted.contains(scope)
    }

    /// Whether this node may use `scope` there.
    #[must_use]
    pub const fn may_use(self, scope: Scope) -> bool {
        self.is_mutual() && self.received.contains(scope)
    }
}
