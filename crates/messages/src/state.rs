//! Where a message is in its life, seen from its sender.

use core::fmt;
use core::str::FromStr;

use pilot_identity::Timestamp;
use pilot_proto::messages::MessageRefusal;

/// The states of a message, in the order of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageState {
    /// Safe at the sender's node.
    Queued,
    /// Handed to the peer's stream; whether it arrived is not known yet.
    Sent,
    /// Safe on the peer's disk.
    Delivered,
    /// Shown to somebody there.
    Read,
    /// Somebody there is done with it.
    Acked,
    /// Not delivered within its time.
    Expired,
}

/// A word that is no state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message state is one of queued, sent, delivered, read, acked, expired")]
pub struct MessageStateError;

impl MessageState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Sent, Self::Delivered, Self::Read, Self::Acked, Self::Expired];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Acked => "acked",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Acked | Self::Expired => true,
            Self::Queued | Self::Sent | Self::Delivered | Self::Read => false,
        }
    }

    /// Whether a message that is in this state has come at least as far as `wanted`.
    #[must_use]
    pub fn has_reached(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Expired, _) | (_, Self::Expired) => self == wanted,
            (is, wanted) => is >= wanted,
        }
    }
}

impl fmt::Display for MessageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for MessageState {
    type Err = MessageStateError;

    fn from_str(word: &str) -> Result<Self, MessageStateError> {
        Self::ALL.into_iter().find(|state| state.word() == word).ok_or(MessageStateError)
    }
}

/// When a message came to each state, by its sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// None while it is only queued.
    pub sent: Option<Timestamp>,
    /// See [`MessageState::Delivered`].
    pub delivered: Option<Timestamp>,
    /// See [`MessageState::Read`].
    pub read: Option<Timestamp>,
    /// See [`MessageState::Acked`].
    pub acked: Option<Timestamp>,
    /// See [`MessageState::Expired`].
    pub expired: Option<Timestamp>,
}

impl Times {
    /// The state that follows from them. One that expired unconfirmed and turns
    /// out to have arrived has arrived.
    #[must_use]
    pub const fn state(&self) -> MessageState {
        match self {
            Self { acked: Some(_), .. } => MessageState::Acked,
            Self { read: Some(_), .. } => MessageState::Read,
            Self { delivered: Some(_), .. } => MessageState::Delivered,
            Self { expired: Some(_), .. } => MessageState::Expired,
            Self { sent: Some(_), .. } => MessageState::Sent,
            _ => MessageState::Queued,
        }
    }
}

/// Why messages to a peer stay queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its inbox is full.
    InboxFull,
    /// It does not take messages of this node.
    NotAllowed,
    /// Its disk is full.
    DiskFull,
    /// It failed, or did not understand.
    PeerFailed,
}

impl Trouble {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InboxFull => "inbox_full",
            Self::NotAllowed => "not_allowed",
            Self::DiskFull => "disk_full",
            Self::PeerFailed => "peer_failed",
        }
    }
}

impl From<MessageRefusal> for Trouble {
    fn from(refusal: MessageRefusal) -> Self {
        match refusal {
            MessageRefusal::InboxFull => Self::InboxFull,
            MessageRefusal::NotAllowed => Self::NotAllowed,
            MessageRefusal::DiskFull => Self::DiskFull,
            MessageRefusal::Invalid | MessageRefusal::Stale | MessageRefusal::Internal => {
                Self::PeerFailed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_time_is_the_state() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let mut times = Times::default();
        assert_eq!(times.state(), MessageState::Queued);
        times.sent = at(1);
        assert_eq!(times.state(), MessageState::Sent);
        times.expired = at(2);
        assert_eq!(times.state(), MessageState::Expired);
        times.delivered = at(3);
        assert_eq!(times.state(), MessageState::Delivered);
        times.read = at(4);
        assert_eq!(times.state(), MessageState::Read);
        times.acked = at(5);
        assert_eq!(times.state(), MessageState::Acked);
    }

    #[test]
    fn what_has_expired_has_reached_nothing_else() {
        assert!(MessageState::Acked.has_reached(MessageState::Delivered));
        assert!(!MessageState::Sent.has_reached(MessageState::Delivered));
        assert!(!MessageState::Expired.has_reached(MessageState::Delivered));
        assert!(!MessageState::Acked.has_reached(MessageState::Expired));
        for state in MessageState::ALL {
            assert_eq!(state.word().parse(), Ok(state));
        }
    }
}
