//! Which run of a daemon somebody is talking to.

use serde::{Deserialize, Serialize};

/// Drawn at random when a daemon starts. A peer that shows a new one has
/// restarted: what was open to its old run is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootId(pub u64);
