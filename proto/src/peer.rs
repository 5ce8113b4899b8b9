//! How users name a peer: by address, by name or by key.

use core::fmt;
use core::str::FromStr;

use pilot_identity::NodeId;
use serde::{Deserialize, Serialize};

use crate::{Address, NodeName};

/// One peer, as a user or a node named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerRef {
    /// By the address the rendezvous gave it.
    Address(Address),
    /// By its unique name.
    Name(NodeName),
    /// By its public key.
    Key(NodeId),
}

/// Text that is neither an address nor a name nor a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a peer is an address (1:0001.0000.0002), a name (backend) or a public key")]
pub struct PeerRefError;

/// 52 characters that decode to a key are a key; a name of that form cannot
/// be meant, since names of 52 characters that are valid keys do not occur by
/// accident (1 in 2^250).
impl FromStr for PeerRef {
    type Err = PeerRefError;

    fn from_str(text: &str) -> Result<Self, PeerRefError> {
        if let Ok(key) = text.parse() {
            Ok(Self::Key(key))
        } else if let Ok(address) = text.parse() {
            Ok(Self::Address(address))
        } else {
            text.parse().map(Self::Name).map_err(|_| PeerRefError)
        }
    }
}

impl fmt::Display for PeerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_told_from_the_others() {
        let key: String = "b".repeat(52);

        assert!(matches!("1:0001.0000.0002".parse(), Ok(PeerRef::Address(_))));
        assert!(matches!("backend".parse(), Ok(PeerRef::Name(_))));
        assert!(!matches!(key.parse(), Ok(PeerRef::Address(_))));
        assert_eq!("no such thing".parse::<PeerRef>(), Err(PeerRefError));
    }
}
