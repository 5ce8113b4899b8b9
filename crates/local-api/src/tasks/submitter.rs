//! What the one who wants a task done says and sees.

use bytes::Bytes;
use pilot_proto::{PeerRef, TaskId};
use serde::{Deserialize, Serialize};

use super::content::{AttachedFiles, Attachment, BothForms, ContentFile, read_data_fields};
use super::{Params, TaskState};
use crate::Base64;
use crate::identity::PeerIdentity;
use crate::transfers::PathText;

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
    /// The worker's node.
    #[serde(with = "crate::text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: PeerRef,
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
    /// Who did it.
    pub from: PeerIdentity,
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
