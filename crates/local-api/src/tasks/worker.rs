//! What the one who does a task says and sees.

use pilot_proto::{PeerRef, TaskId};
use serde::{Deserialize, Serialize};

use super::Params;
use super::content::{AttachedFiles, Attachment, ContentFile};
use crate::transfers::PathText;
use crate::{Base64, Time};

/// `POST tasks/accept`: the next task, or 204 if none came in time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptRequest {
    /// How long to wait for one; 0 does not wait.
    pub timeout_ms: u64,
    /// Only of this submitter.
    #[serde(default, with = "crate::text::optional", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub from: Option<PeerRef>,
    /// What the worker calls itself for this one accept, such as a random
    /// number; at most 64 bytes. If the answer is lost, the same claim gives the
    /// same task again, also after a restart of the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The lease ends with this process: the daemon puts the task back into the
    /// queue as soon as it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<ProcessRef>,
}

/// The query of what a worker says of a task: results, fail, progress, release
/// and logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimQuery {
    /// The claim under which it was accepted. With it, what is said is refused
    /// (`conflict`) if the task went back to the queue or to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProcessRef {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot: field 22 of
    /// `/proc/PID/stat`. With it a number that was given again is not mistaken
    /// for it; the daemon looks itself if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
}

/// The result of an earlier task that this one works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskInput {
    /// Of which task.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub task: TaskId,
    /// Whether the worker said that the data is a JSON document.
    #[serde(default)]
    pub is_json: bool,
    /// The data, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The data if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Base64>,
    /// Small files that came with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ContentFile>,
    /// All files that came with it; those with a path lie on this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// A task that is now this worker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedTask {
    /// Its id, for everything that is said about it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: TaskId,
    /// What is to be done.
    pub description: String,
    /// Its parameters, in the submitter's order.
    pub params: Params,
    /// The submitter's address, or its key as long as no address is known.
    pub from: String,
    /// The submitter's name, if it has one.
    pub from_name: Option<String>,
    /// From 1; grows with each retry.
    pub attempt: u32,
    /// When the task goes back to the queue if nothing is heard of it; never if left out.
    pub lease_expires_at: Option<Time>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Time>,
    /// Files that came with it, all of them here.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// Those of them that came on a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedFiles>,
    /// Results of earlier tasks, in the order in which the submitter named them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<TaskInput>,
}

/// How the worker says it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ResultStatus {
    /// Done.
    #[default]
    Ok,
    /// Tried and not done.
    Failed,
}

/// `POST tasks/{id}/results`. Sending it again with the same content changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SendResultsRequest {
    /// How it ended.
    #[serde(default)]
    pub status: ResultStatus,
    /// The result as text; or `data_base64`, or neither for an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The result as bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Base64>,
    /// Whether the result is a JSON document.
    #[serde(default)]
    pub is_json: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// That it failed for good: another attempt would fail, too.
    #[serde(default)]
    pub no_retry: bool,
    /// Small files that come with it; with the data at most 16 MiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ContentFile>,
    /// Files and folders of any size that come with it, each by its absolute
    /// path. The daemon copies them before it answers, and the result is sent
    /// once all of them are at the submitter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attach: Vec<PathText>,
}

/// `POST tasks/{id}/progress`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgressRequest {
    /// 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What there is to say; at most 4096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer to a [`ProgressRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgressAnswer {
    /// Whether the submitter asked to stop.
    pub cancel_requested: bool,
}

/// `POST tasks/{id}/decline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeclineRequest {
    /// Why; at most 4096 bytes.
    pub reason: String,
}

/// `POST tasks/{id}/fail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailRequest {
    /// Why; at most 4096 bytes.
    pub reason: String,
    /// That another attempt would fail, too.
    #[serde(default)]
    pub no_retry: bool,
}

/// `POST tasks/{id}/release`: an accepted task goes back to the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseRequest {
    /// How long nobody can accept it; at most 30 days.
    #[serde(default)]
    pub delay_ms: u64,
    /// Why; at most 4096 bytes.
    #[serde(default)]
    pub reason: String,
}

/// A piece of what a task's command wrote, on either node.
///
/// `POST tasks/{id}/logs` takes the bytes themselves, at most 64 KiB at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogPiece {
    /// Which attempt wrote it.
    pub attempt: u32,
    /// How many bytes that attempt had written before. More than the end of the
    /// piece before it: those between are not kept.
    pub offset: u64,
    /// The text, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The bytes if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Base64>,
}
