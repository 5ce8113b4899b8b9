//! What a stream of a peer connection is for.

use pilot_identity::Scope;

/// The two-byte number (big endian) that opens every stream of a peer connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// 1: hello, goodbye and changes of trust ([`crate::control`]).
    Control,
    /// 7: sends back what it gets, as RFC 862 does.
    Echo,
    /// 1000: messages and what became of them ([`crate::messages`]).
    Messages,
    /// 1001: files and folders ([`crate::data`]).
    Data,
    /// 1002: events ([`crate::events`]).
    Events,
    /// 1003: tasks, results and receipts ([`crate::tasks`]).
    Tasks,
}

impl Service {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Control => 1,
            Self::Echo => 7,
            Self::Messages => 1000,
            Self::Data => 1001,
            Self::Events => 1002,
            Self::Tasks => 1003,
        }
    }

    /// The service of a number, if this version has it.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Control),
            7 => Some(Self::Echo),
            1000 => Some(Self::Messages),
            1001 => Some(Self::Data),
            1002 => Some(Self::Events),
            1003 => Some(Self::Tasks),
            _ => None,
        }
    }

    /// The scope a peer's grant must hold for it to use this service; none
    /// for those that every mutually trusted peer has.
    ///
    /// Tasks need none here: results and updates of tasks that this node
    /// submitted must arrive also from a peer that may not submit, so the
    /// tasks service checks the scope on each offer. Data is checked the same way:
    /// what this node sent must be told complete whatever the peer may send. So are
    /// messages, because of the receipts.
    #[must_use]
    pub const fn scope(self) -> Option<Scope> {
        match self {
            Self::Control
            | Self::Echo
            | Self::Messages
            | Self::Data
            | Self::Events
            | Self::Tasks => None,
        }
    }
}
