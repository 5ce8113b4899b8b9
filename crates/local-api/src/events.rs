//! Events: what is published and who hears it.

use pilot_proto::TopicFilter;
use pilot_proto::events::EventId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::Time;

/// Events in one request, at the most.
pub const MAX_EVENTS: usize = 10_000;

/// One value of the body of `POST events`: an event to be published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewEvent {
    /// What it is about, such as `specialist.backend.ready`.
    pub topic: String,
    /// What it says: any JSON of at most 256 KiB.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub data: Box<RawValue>,
    /// Whether it is kept as the topic's value, for those who subscribe later. The
    /// data `null` ends that.
    #[serde(default)]
    pub retain: bool,
}

/// The query of `POST events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishQuery {
    /// An id that whoever asks has made: asked again with the same one, nothing
    /// is published twice. The daemon remembers the last 4,096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Uuid>,
}

/// What was published, and is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishedView {
    /// The id of the event; of several, of the last.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: EventId,
    /// The number of the first in the stream of this node.
    pub first_seq: u64,
    /// The number of the last.
    pub last_seq: u64,
    /// Peers that want any of them: those who listen now, and those who will
    /// fetch them by a named subscription when they return.
    pub peers: usize,
}

/// The body of `POST events/subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubscribeRequest {
    /// What is wanted, such as `specialist.*`; at least one.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub topics: Vec<TopicFilter>,
    /// Whose events: address, name or key. Without it those of this node and of
    /// every peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Those of the last so many milliseconds first. At most one of this and
    /// the three below is set; with none of them, the values that are kept
    /// come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// All of this event's publisher after it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub after: Option<EventId>,
    /// The last so many of each publisher first, at most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// A name: what was not acknowledged by it comes first, also after a
    /// restart of any node. The first time it begins now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<String>,
    /// What happens if it reads more slowly than events come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
}

/// What becomes of a subscriber that is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Slow {
    /// It is told how many events it missed, and goes on with the newest: what
    /// is done without a name.
    Gap,
    /// It gets all of them, later, as far as their publisher keeps them: what
    /// is done with a name.
    CatchUp,
}

/// A line of the stream that answers `POST events/subscribe`: an event, or a gap.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventLine {
    /// No event: so many at the most were lost here. All else but who
    /// published them is missing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<u64>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub id: Option<EventId>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The address of its publisher, or the beginning of its key.
    #[serde(default)]
    pub from: String,
    /// The publisher's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// The address of the peer that handed it on; the publisher's signature
    /// was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// When it was published, by the publisher's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Its number among all of its publisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// It is the value that is kept for its topic.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub retained: bool,
    /// What acknowledges it, and all before it from the same peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub data: Option<Box<RawValue>>,
}

/// Also `null` is something that is said.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// The body of `POST events/cursors/{name}/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AckRequest {
    /// The [`EventLine::cursor`] of the last line of each peer.
    pub cursors: Vec<String>,
}

/// A named subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CursorView {
    /// Its name.
    pub name: String,
    /// What it wants.
    pub topics: Vec<String>,
    /// Of whom; of everybody, if that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether somebody reads by it now.
    pub in_use: bool,
    /// How many events of this node it has not acknowledged, at the most.
    pub behind: u64,
}

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicsView {
    /// What was published about since the daemon's start, the last 1,000 topics.
    pub topics: Vec<TopicView>,
    /// Who wants what of this node.
    pub peers: Vec<InterestView>,
    /// Subscribers on this node.
    pub subscribers: usize,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicView {
    /// The topic.
    pub topic: String,
    /// Who published about it.
    pub from: String,
    /// The publisher's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_name: Option<String>,
    /// Events since the daemon's start.
    pub count: u64,
    /// When the last was published.
    pub last_at: Time,
    /// Whether a value is kept.
    pub retained: bool,
}

/// A peer that wants events of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InterestView {
    /// Its address, or the beginning of its key.
    pub peer: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// What it wants.
    pub topics: Vec<String>,
    /// Whether it listens now; otherwise it will fetch them when it returns.
    pub listening: bool,
}

/// `POST` and `DELETE events/relays`, and what they answer: lets one peer
/// hear what another publishes, through this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RelayRule {
    /// Who publishes: address, name or key.
    pub from: String,
    /// Who may hear it.
    pub to: String,
    /// About what.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub topic: TopicFilter,
}
