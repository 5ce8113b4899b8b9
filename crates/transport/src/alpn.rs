//! What is spoken on a connection, agreed in the handshake (RFC 7301).

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alpn {
    /// Two nodes with mutual trust.
    Peer,
    /// Any two nodes: trust requests and nothing else.
    Trust,
    /// A node and its rendezvous.
    Registry,
}

impl Alpn {
    const ALL: [Self; 3] = [Self::Peer, Self::Trust, Self::Registry];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "pilot-peer/1",
            Self::Trust => "pilot-trust/1",
            Self::Registry => "pilot-registry/1",
        }
    }

    pub(crate) fn from_wire(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|alpn| alpn.name().as_bytes() == name)
    }

    pub(crate) fn to_wire(self) -> Vec<u8> {
        self.name().as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_wire_and_nothing_else_is_one() {
        for alpn in Alpn::ALL {
            assert_eq!(Alpn::from_wire(&alpn.to_wire()), Some(alpn));
        }
        for other in [&b""[..], b"pilot-peer/2", b"pilot-peer/1 ", b"h3"] {
            assert_eq!(Alpn::from_wire(other), None);
        }
    }
}
