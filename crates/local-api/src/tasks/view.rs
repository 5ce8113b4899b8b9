//! A task as the daemon shows it.

use core::fmt;
use core::str::FromStr;

use pilot_proto::TaskId;
use serde::{Deserialize, Serialize};

use super::{AttachedFiles, Attachment, AttemptView, Params};
use crate::Time;
use crate::identity::PeerIdentity;

/// Bytes of a description in a list or a watch; the rest is left out.
pub const LIST_DESCRIPTION: usize = 200;

/// Which half of a task this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// It was submitted here.
    Submitted,
    /// It is to be done here.
    Received,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Received => "received",
        }
    }
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TaskState {
    /// At the submitter; the peer was not reached yet.
    Queued,
    /// Safe in the worker's queue.
    Delivered,
    /// A worker took it.
    Accepted,
    /// The worker said that it is at work.
    Running,
    /// The worker needs something to go on.
    InputRequired,
    /// Done.
    Succeeded,
    /// Tried and not done.
    Failed,
    /// Not wanted by the worker.
    Declined,
    /// Taken back by the submitter.
    Cancelled,
    /// A deadline or time-out passed.
    Expired,
}

/// A word that is no task state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a task state is one of queued, delivered, accepted, running, input_required, succeeded, \
     failed, declined, cancelled, expired"
)]
pub struct TaskStateError;

impl TaskState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Delivered,
        Self::Accepted,
        Self::Running,
        Self::InputRequired,
        Self::Succeeded,
        Self::Failed,
        Self::Declined,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::InputRequired => "input_required",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Queued
            | Self::Delivered
            | Self::Accepted
            | Self::Running
            | Self::InputRequired => false,
            Self::Succeeded | Self::Failed | Self::Declined | Self::Cancelled | Self::Expired => {
                true
            }
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for TaskState {
    type Err = TaskStateError;

    fn from_str(word: &str) -> Result<Self, TaskStateError> {
        Self::ALL.into_iter().find(|state| state.word() == word).ok_or(TaskStateError)
    }
}

/// The query of `GET tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those of this half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    /// Only those of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only those that failed for good.
    #[serde(default)]
    pub dead: bool,
    /// At most so many, the newest first; the daemon's default is 100 and its most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// One step in the life of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StateChange {
    /// When, by this node's clock.
    pub at: Time,
    /// Into which state.
    pub state: TaskState,
    /// Why.
    pub cause: String,
}

/// A task as this node knows it.
///
/// In a list and a watch the description is cut to [`LIST_DESCRIPTION`] bytes,
/// and `params`, `attachments`, `attached` and `history` are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: TaskId,
    /// Which half of it is here.
    pub role: Role,
    /// Where it is in its life.
    pub state: TaskState,
    /// The other node: the worker's of a submitted task, the submitter's of a
    /// received one. None while no worker is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerIdentity>,
    /// What is to be done.
    pub description: String,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub params: Params,
    /// Files that came with it: those in the message, then the first
    /// [`LISTED_NAMES`](super::LISTED_NAMES) names at the top of the transfer, if
    /// there is one and it came here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Those that go with it on a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedFiles>,
    /// From 1; grows with each retry.
    pub attempt: u32,
    /// How many further attempts are made if this one fails.
    #[serde(default)]
    pub retries_left: u32,
    /// That it failed for good: after all of its attempts, or because its worker
    /// process died under it too often.
    #[serde(default)]
    pub dead: bool,
    /// The attempts before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
    /// The group it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Tasks that have to be over first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub after: Vec<TaskId>,
    /// Tasks whose results its worker is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub input_from: Vec<TaskId>,
    /// Higher is accepted first; 0 is usual.
    pub priority: i16,
    /// When it was submitted (or received), by this node's clock.
    pub created_at: Time,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Time>,
    /// 0 to 100, if the worker said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What the worker last said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it waits, or why it failed, was declined, cancelled or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the submitter asked to stop it.
    #[serde(default)]
    pub cancel_requested: bool,
    /// At the worker: it has ended, and the submitter has not confirmed its result yet.
    #[serde(default)]
    pub result_pending: bool,
    /// Bytes of the result as it travels (data, files, their names, reason), once it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_size: Option<u64>,
    /// At the submitter: a result came after the task had ended otherwise; it is kept.
    #[serde(default)]
    pub late_result: bool,
    /// Every state it has been in, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<StateChange>,
    /// Grows with every change on this node.
    pub revision: u64,
}
