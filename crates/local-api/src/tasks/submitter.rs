//! What the one who wants a task done says and sees.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use pilot_proto::{PeerRef, Tag, TaskId};
use serde::{Deserialize, Serialize};

use super::content::{AttachedFiles, Attachment, BothForms, ContentFile, read_data_fields};
use super::{Params, TaskState};
use crate::identity::PeerIdentity;
use crate::transfers::PathText;
use crate::{Base64, Time};

/// `POST tasks`. The answer is sent once the task is safe on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubmitRequest {
    /// The task's id, a UUID of version 7; the daemon makes one if it is left
    /// out. A second request with the same id and content answers as the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub id: Option<TaskId>,
    /// The worker's node, or among which of them one is chosen.
    #[serde(with = "crate::text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: Target,
    /// What is to be done; at most 1 MiB.
    pub description: String,
    /// Names and values; the order is kept.
    #[serde(default)]
    pub params: Params,
    /// Small files that come with it; with everything else at most 16 MiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ContentFile>,
    /// Files and folders of any size that come with it, each by its absolute
    /// path. The daemon copies them before it answers, and the task is offered
    /// once all of them are at the peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attach: Vec<PathText>,
    /// Higher is accepted first; 0 is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// Time until it expires, whatever has become of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_in_ms: Option<u64>,
    /// Time until it expires if no worker accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
    /// How long it may run once accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout_ms: Option<u64>,
    /// A second request with the same key answers with the task of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Tags that a worker must have to be chosen.
    #[serde(default, with = "crate::text::list", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub require: Vec<Tag>,
    /// What counts first, second, … among those that could do it; without it
    /// idle, latency, polo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Preference>,
    /// How many further attempts are made at it if it fails; at most 100.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// A name under which tasks are listed and waited for together; at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Tasks of this node that have to be over first; at most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub after: Vec<TaskId>,
    /// What becomes of it if one of those does not succeed.
    #[serde(default, skip_serializing_if = "OnDepFailure::is_default")]
    pub on_dep_failure: OnDepFailure,
    /// Tasks of this node, whose results its worker is given in this order; it
    /// comes after them. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub input_from: Vec<TaskId>,
    /// Of the tasks with the same key only one at a time is worked on; at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<String>,
    /// The result stays at the worker, for those whose input it is and for
    /// `result`; this node is told its digest and its length.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub leave_result: bool,
}

impl SubmitRequest {
    /// A task without anything that may be left out.
    #[must_use]
    pub fn new(to: Target, description: String) -> Self {
        Self {
            id: None,
            to,
            description,
            params: Params::default(),
            files: Vec::new(),
            attach: Vec::new(),
            priority: None,
            deadline_in_ms: None,
            queue_timeout_ms: None,
            run_timeout_ms: None,
            idempotency_key: None,
            require: Vec::new(),
            prefer: Vec::new(),
            retries: 0,
            group: None,
            after: Vec::new(),
            on_dep_failure: OnDepFailure::default(),
            input_from: Vec::new(),
            exclusive: None,
            leave_result: false,
        }
    }
}

/// Who is to do a task: a peer, `any` of them, or one with a tag, `tag:gpu=a100`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Peer(PeerRef),
    /// Whoever can.
    Any,
    /// Whoever can and has this tag.
    Tag(Tag),
}

/// Text that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a peer nor any nor tag:KEY=VALUE: {0}")]
pub struct TargetError(String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Any => f.write_str("any"),
            Self::Tag(tag) => write!(f, "tag:{tag}"),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("tag:") {
            Some(tag) => tag.parse().map(Self::Tag).map_err(|error| TargetError(error.to_string())),
            None => text.parse().map(Self::Peer).map_err(|error| TargetError(error.to_string())),
        }
    }
}

impl From<PeerRef> for Target {
    fn from(peer: PeerRef) -> Self {
        Self::Peer(peer)
    }
}

/// What makes a worker the better choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Preference {
    /// Its reputation.
    Polo,
    /// How little it has to do.
    Idle,
    /// How near it is.
    Latency,
}

impl FromStr for Preference {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "polo" => Ok(Self::Polo),
            "idle" => Ok(Self::Idle),
            "latency" => Ok(Self::Latency),
            _ => Err("a preference is polo, idle or latency"),
        }
    }
}

/// What becomes of a task if one that it comes after does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OnDepFailure {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It is done all the same.
    Run,
}

impl OnDepFailure {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The query of `GET tasks/{id}/result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultQuery {
    /// Of which attempt; of the newest, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// `GET tasks/{id}/explain`: who does a task, and why not the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExplainView {
    /// Which task.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// Who was asked for: a peer, `any`, `tag:KEY=VALUE`.
    pub to: String,
    /// Who does it, if somebody was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<PeerIdentity>,
    /// Why it waits, or why this worker.
    pub why: String,
    /// Each node that was looked at, the best first.
    pub candidates: Vec<CandidateView>,
}

/// What was thought of one node when a worker was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CandidateView {
    /// Which node.
    pub peer: PeerIdentity,
    /// Whether it was the one.
    pub chosen: bool,
    /// Why, or why not.
    pub why: String,
}

/// An attempt at a task that is over, though the task may not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttemptView {
    /// From 1.
    pub attempt: u32,
    /// Who was at it.
    pub peer: PeerIdentity,
    /// How it ended.
    pub state: TaskState,
    /// When this node knew.
    pub at: Time,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a result of it is kept: `result?attempt=` gives it.
    #[serde(default)]
    pub has_result: bool,
}

/// The query of `GET tasks/{id}/wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// How long to wait; the daemon's default is 30 s and its most 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Answer as soon as the task has gone beyond this revision; without it,
    /// once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_revision: Option<u64>,
}

/// `POST tasks/{id}/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelRequest {
    /// How long a running worker may take to stop; the daemon's default is 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET tasks/{id}/result`: what came out of a task that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResultView {
    /// Of which task.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: TaskId,
    /// How it ended.
    pub state: TaskState,
    /// Who did it; nobody if it never had a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PeerIdentity>,
    /// Why it failed, was declined, cancelled or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the worker said that the data is a JSON document.
    #[serde(default)]
    pub is_json: bool,
    /// The data as the worker gave it, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The data if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Base64>,
    /// Small files that came with it.
    #[serde(default)]
    pub files: Vec<ContentFile>,
    /// All files that came with it, as [`TaskView::attachments`](super::TaskView)
    /// lists those of a task.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// Those of them that came on a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedFiles>,
}

impl ResultView {
    /// Takes the data out, as the worker gave it.
    ///
    /// # Errors
    ///
    /// [`BothForms`] if the daemon sent two.
    pub fn take_data(&mut self) -> Result<Bytes, BothForms> {
        read_data_fields(self.data.take(), self.data_base64.take())
    }
}
