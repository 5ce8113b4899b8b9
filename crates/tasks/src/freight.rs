//! Files that go ahead of a task or its result.
//!
//! Whoever sends them holds its message back until they are at the other end;
//! what moves them, and how far they are, is the shell's.

use pilot_proto::tasks::Attached;
use serde::{Deserialize, Serialize};

/// Files that go ahead of a message on a transfer of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freight {
    /// What they are, as the message says it.
    pub attached: Attached,
    /// Whether all of them are at the other end.
    pub there: bool,
}

impl Freight {
    /// Files that have just set out.
    pub(crate) const fn on_its_way(attached: Attached) -> Self {
        Self { attached, there: false }
    }
}

/// The files for which a message still waits.
pub(crate) fn awaited(freight: Option<&Freight>) -> Option<&Attached> {
    freight.filter(|freight| !freight.there).map(|freight| &freight.attached)
}
