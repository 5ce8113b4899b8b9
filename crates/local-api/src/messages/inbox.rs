//! Messages to this node.

use pilot_proto::MessageId;
use serde::{Deserialize, Serialize};

use crate::Time;

/// A message to this node. Its text is the peer's: whoever shows it to people or
/// models says whose it is, and lets nothing in it count as a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InboxMessage {
    /// Its id, made by its sender.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: MessageId,
    /// The sender's address, or its key as long as no address is known.
    pub from: String,
    /// The sender's name, if it has one.
    pub from_name: Option<String>,
    /// What it says.
    pub text: String,
    /// When it was handed to the sender's node, by this node's clock.
    pub sent_at: Time,
    /// When it came.
    pub received_at: Time,
    /// When it was read, if it was before or is now.
    pub read_at: Option<Time>,
    /// When it was acknowledged.
    pub acked_at: Option<Time>,
}

/// The query of `GET inbox`: messages that are not acknowledged, oldest first. They
/// are marked as read. At most 8 MiB of text are given at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxQuery {
    /// Only those that nobody has read.
    #[serde(default)]
    pub unread: bool,
    /// Only those of this sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How long to wait for one if there is none; at most an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Leave them unread.
    #[serde(default)]
    pub peek: bool,
    /// At most so many; the daemon's default is 100 and its most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The query of `GET inbox/watch`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchQuery {
    /// Only those of this sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// `POST inbox/ack`: either ids or `all`. All of the ids must be in the inbox, or
/// nothing is acknowledged; one that was acknowledged before stays so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AckRequest {
    /// At most 10,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub ids: Vec<MessageId>,
    /// Everything that is there now, read or not.
    #[serde(default)]
    pub all: bool,
    /// With `all`, only those of this sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The answer to an [`AckRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AckView {
    /// How many were acknowledged now.
    pub acked: u64,
}
