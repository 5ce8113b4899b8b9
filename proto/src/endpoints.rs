//! The socket addresses at which a node may be found.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::list;

/// Socket addresses a node may name; further ones are dropped by the sender
/// and refused by the receiver.
pub const MAX_ENDPOINTS: usize = 8;

/// At most [`MAX_ENDPOINTS`] socket addresses, the most promising first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Endpoints(Vec<SocketAddr>);

impl Endpoints {
    /// Keeps the first [`MAX_ENDPOINTS`] different ones.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut kept = Vec::new();
        for candidate in candidates {
            if kept.len() < MAX_ENDPOINTS && !kept.contains(&candidate) {
                kept.push(candidate);
            }
        }
        Self(kept)
    }

    /// The addresses, the most promising first.
    #[must_use]
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list::at_most::<MAX_ENDPOINTS, _, _>(deserializer).map(Self)
    }
}
