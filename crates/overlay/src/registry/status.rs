//! How the line to the rendezvous stands, and why it does not.

use pilot_identity::{NodeId, Timestamp};
use pilot_proto::registry::Registered;
use pilot_transport::{CarrierError, ConnectError};

use super::RegistryError;

/// How the line stands, for `status`.
#[derive(Debug, Clone, Default)]
pub struct RegistryStatus {
    /// What the rendezvous said last when this node registered.
    pub registered: Option<Registered>,
    /// Its key.
    pub key: Option<NodeId>,
    /// Since when the line is as it is.
    pub since: Option<Timestamp>,
    /// Whether it is up.
    pub connected: bool,
    /// Why it is not.
    pub last_error: Option<String>,
    /// The same in a word.
    pub trouble: Option<RegistryTrouble>,
    /// How it went when it was up last.
    pub way: Option<RegistryWay>,
    /// When another daemon with this node's key last took it over.
    pub replaced: Option<Timestamp>,
}

/// How the line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryWay {
    /// Over UDP.
    Udp,
    /// Over TCP, as UDP does not pass.
    Tcp,
    /// Over TCP and through an HTTP proxy.
    TcpByProxy,
}

/// What keeps the line down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryTrouble {
    /// Its name has no address.
    UnknownHost,
    /// Nobody answers, over UDP nor TCP.
    Silent,
    /// It has another key than the pinned one.
    WrongKey,
    /// It speaks another version of the protocol.
    Version,
    /// It does not take this node.
    Refused,
    /// Another daemon with this node's key has taken it over.
    Replaced,
    /// It broke, and is being mended.
    Broken,
}

/// Why the line is down.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("cannot look up {0}")]
    Lookup(String, #[source] std::io::Error),
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("it does not answer")]
    Silent,
    #[error(
        "its key is not the pinned one; if it was moved on purpose, give host:port#fingerprint"
    )]
    WrongKey,
    #[error("cannot connect: {0}")]
    Connect(#[source] ConnectError),
    #[error("{0}")]
    Exchange(#[from] RegistryError),
    #[error("{0}")]
    Closed(String, bool),
    #[error("cannot connect over UDP nor TCP: {0}")]
    Carrier(#[source] CarrierError),
    #[error("the TCP connection ended")]
    CarrierEnded,
    #[error("UDP works again")]
    UdpAgain,
}

impl LineError {
    pub(super) const fn trouble(&self) -> RegistryTrouble {
        match self {
            Self::Lookup(..) | Self::NoAddress(_) => RegistryTrouble::UnknownHost,
            Self::Silent | Self::Carrier(_) => RegistryTrouble::Silent,
            Self::WrongKey => RegistryTrouble::WrongKey,
            Self::Connect(ConnectError::VersionMismatch) => RegistryTrouble::Version,
            Self::Connect(ConnectError::Refused { .. } | ConnectError::Busy)
            | Self::Exchange(RegistryError::Refused(_)) => RegistryTrouble::Refused,
            Self::Closed(_, true) => RegistryTrouble::Replaced,
            Self::Connect(_)
            | Self::Exchange(_)
            | Self::Closed(_, false)
            | Self::CarrierEnded
            | Self::UdpAgain => RegistryTrouble::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use pilot_proto::registry::{Refusal, RefusalCode};
    use pilot_proto::text::Text;

    use super::*;

    #[test]
    fn each_cause_that_a_person_can_mend_has_its_word() {
        let refusal = Refusal { code: RefusalCode::NetworkFull, message: Text::clipped("full") };
        let table = [
            (LineError::NoAddress("h".to_owned()), RegistryTrouble::UnknownHost),
            (LineError::Silent, RegistryTrouble::Silent),
            (LineError::WrongKey, RegistryTrouble::WrongKey),
            (LineError::Connect(ConnectError::VersionMismatch), RegistryTrouble::Version),
            (LineError::Connect(ConnectError::Busy), RegistryTrouble::Refused),
            (LineError::Exchange(RegistryError::Refused(refusal)), RegistryTrouble::Refused),
            (LineError::Closed("other".to_owned(), true), RegistryTrouble::Replaced),
            (LineError::Closed("gone".to_owned(), false), RegistryTrouble::Broken),
            (LineError::Exchange(RegistryError::TimedOut), RegistryTrouble::Broken),
        ];

        for (error, trouble) in table {
            assert_eq!(error.trouble(), trouble, "{error}");
        }
    }
}
