//! The control service of a peer connection: one frame there, one back, on a stream each.

use pilot_identity::SignedGrant;
use serde::{Deserialize, Serialize};

use crate::BootId;

/// What a node asks of its peer's control service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// The first thing the dialling side sends on a new connection.
    Hello(Hello),
    /// The sender's newest grant to the receiver: trust changed while the
    /// connection was open.
    Grant(SignedGrant),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlAnswer {
    /// To [`ControlRequest::Hello`].
    Hello(Hello),
    /// The grant is on disk.
    GrantStored,
    /// The grant is not believed, or older than the one held.
    GrantRefused,
}

/// Who is at the other end, beyond its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest minor version it speaks.
    pub minor: u16,
    /// Which run of its daemon this is.
    pub boot: BootId,
    /// What it can do beyond the minor version, a bit each; none is assigned yet.
    pub capabilities: u64,
}
