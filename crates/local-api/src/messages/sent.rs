//! Messages of this node.

use core::fmt;
use core::str::FromStr;

use pilot_proto::{MessageId, PeerRef};
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::errors::ApiError;

/// `POST messages`. The answer is sent once the message is safe on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SendMessageRequest {
    /// Its id, a UUID of version 7; the daemon makes one if it is left out. A
    /// second request with the same id and content sends nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub id: Option<MessageId>,
    /// To whom.
    #[serde(with = "crate::text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: PeerRef,
    /// What it says: 1 byte to 64 KiB.
    pub text: String,
    /// How long it may take to be delivered; the daemon's default is 7 days and
    /// its most 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// `POST messages/broadcast`: the same text to each trusted peer that takes messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BroadcastRequest {
    /// From which the ids of the messages follow; the daemon makes one if it is
    /// left out. A second request with the same id sends nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub id: Option<MessageId>,
    /// What it says: 1 byte to 64 KiB.
    pub text: String,
    /// Only to peers with all of these tags, `key=value` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// As in [`SendMessageRequest::expires_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// What became of a broadcast at one peer: a message, or an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BroadcastView {
    /// The peer's address, or its key as long as no address is known.
    pub to: String,
    /// The peer's name, if it has one.
    pub to_name: Option<String>,
    /// The message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageView>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// Where a message is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

/// A word that is no message state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message state is one of queued, sent, delivered, read, acked, expired")]
pub struct MessageStateError;

impl MessageState {
    /// Every state, in the order of a life.
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

    /// Whether a message in this state has come as far as `wanted`.
    #[must_use]
    pub fn has_reached(self, wanted: Self) -> bool {
        let place = |state| Self::ALL.iter().position(|other| *other == state);
        if self == Self::Expired || wanted == Self::Expired {
            return self == wanted;
        }
        place(self) >= place(wanted)
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

/// A message of this node. Times are by its clock; one that is left out has not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageView {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: MessageId,
    /// Where it is.
    pub state: MessageState,
    /// The peer's address, or its key as long as no address is known.
    pub to: String,
    /// The peer's name, if it has one.
    pub to_name: Option<String>,
    /// Why it is not delivered yet: `unreachable`, `not_trusted`, `not_allowed`,
    /// `inbox_full`, `disk_full` or `peer_failed`, all of which may pass; of one
    /// that has expired, `unconfirmed` if the peer may have it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How its text begins: at most 200 bytes.
    pub preview: String,
    /// Bytes of the whole text.
    pub bytes: u32,
    /// When it was handed to this node.
    pub queued_at: Time,
    /// When it expires, or would have.
    pub expires_at: Time,
    /// See [`MessageState::Sent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,
    /// See [`MessageState::Delivered`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Time>,
    /// See [`MessageState::Read`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Time>,
    /// See [`MessageState::Acked`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_at: Option<Time>,
    /// See [`MessageState::Expired`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<Time>,
}

/// The query of `GET messages`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessagesQuery {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// Only those to this peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// At most so many; the daemon's default is 100 and its most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The query of `GET messages/{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageQuery {
    /// How long to wait until the message has come to `until` or cannot come there
    /// any more, or until its peer says that it does not take it (`inbox_full`,
    /// `not_allowed`); not at all if left out. At most 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// `delivered` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MessageState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_read_back_and_what_expired_reached_nothing() {
        for state in MessageState::ALL {
            assert_eq!(state.word().parse(), Ok(state));
        }
        assert!(MessageState::Acked.has_reached(MessageState::Delivered));
        assert!(!MessageState::Sent.has_reached(MessageState::Delivered));
        assert!(!MessageState::Expired.has_reached(MessageState::Queued));
        assert!(!MessageState::Acked.has_reached(MessageState::Expired));
    }
}
