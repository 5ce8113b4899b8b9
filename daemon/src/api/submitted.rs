//! What a submitter says: submit, cancel, and what it gets back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use pilot_identity::{Scope, Timestamp};
use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::{
    CancelRequest, ContentFile, ResultView, Role, SubmitRequest, Target, TaskView, data_fields,
};
use pilot_proto::tasks::{InlineFile, MAX_NOTE, TaskBody, TaskExtras};
use pilot_proto::{PeerRef, TaskId};
use pilot_trust::Standing;

use super::extract::{Body, Task};
use super::failure::Failure;
use super::task_files::{files, paths};
use super::task_views::{state, whole};
use super::tasks::row;
use crate::clock;
use crate::node::Node;
use crate::services::tasks::{NewTask, Row};
use crate::store::bodies::Side;

/// How long a running worker may take to stop if nothing is said.
const GRACE: Duration = Duration::from_secs(30);

/// Bytes of an idempotency key.
const MAX_KEY: usize = 255;

/// Takes a task; the answer is sent once it is safe on disk.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = SubmitRequest,
    responses((status = 200, body = TaskView)))]
pub(crate) async fn submit(
    State(node): State<Arc<Node>>,
    Body(request): Body<SubmitRequest>,
) -> Result<Json<TaskView>, Failure> {
    let Target::Peer(wanted) = &request.to else {
        return Err(Failure::invalid("a task goes to one peer"));
    };
    let to = node.directory().find(wanted).await?;
    let standing = node.trust().standing(to);
    if !standing.is_mutual() {
        return Err(not_mutual(wanted, standing));
    }
    if !standing.received.contains(Scope::Tasks) {
        let message = format!(
            "{} does not allow this node to submit tasks; nothing was submitted",
            request.to
        );
        return Err(Failure::new(ErrorCode::NotAllowed, message)
            .hint(format!("pilotctl trust show {}", request.to))
            .detail("peer", request.to.to_string()));
    }
    if request.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        return Err(Failure::invalid(format!("an idempotency key has 1 to {MAX_KEY} bytes")));
    }
    let id = match request.id {
        Some(id) => id,
        None => new_id(clock::now())?,
    };
    let files = request.files.into_iter();
    let files = files.map(|file| InlineFile { name: file.name, content: file.content_base64.0 });
    let new = NewTask {
        id,
        to,
        body: TaskBody {
            description: request.description,
            params: request.params.0,
            files: files.collect(),
            attached: None,
            extras: TaskExtras::default(),
        },
        priority: request.priority.unwrap_or_default(),
        deadline_in: request.deadline_in_ms.map(Duration::from_millis),
        queue_timeout: request.queue_timeout_ms.map(Duration::from_millis),
        run_timeout: request.run_timeout_ms.map(Duration::from_millis),
        idempotency_key: request.idempotency_key,
        attach: paths(request.attach)?,
    };
    let submitted = node.tasks().submit(new).await?;
    Ok(Json(whole(&node, &row(&node, submitted.id).await?).await?))
}

fn not_mutual(wanted: &PeerRef, standing: Standing) -> Failure {
    match standing.state {
        pilot_trust::TrustState::Requested => Failure::new(
            ErrorCode::NotTrusted,
            format!("{} has not answered this node's trust yet; nothing was submitted", wanted),
        )
        .hint("pilotctl whoami  # then, on the peer: pilotctl trust ADDRESS")
        .detail("peer", wanted.to_string()),
        pilot_trust::TrustState::Pending
        | pilot_trust::TrustState::None
        | pilot_trust::TrustState::Mutual => Failure::not_trusted(wanted),
    }
}

fn new_id(now: Timestamp) -> Result<TaskId, Failure> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| Failure::internal(&error))?;
    Ok(TaskId::new(now, random))
}

/// Takes a task back.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = String, Path)),
    request_body = CancelRequest, responses((status = 200, body = TaskView)))]
pub(crate) async fn cancel(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Body(request): Body<CancelRequest>,
) -> Result<Json<TaskView>, Failure> {
    let grace = request.grace_ms.map_or(GRACE, Duration::from_millis);
    let reason = request.reason.unwrap_or_default();
    check_note(&reason)?;
    node.tasks().cancel(id, grace, &reason).await?;
    Ok(Json(whole(&node, &row(&node, id).await?).await?))
}

/// Refuses a note, reason or message that is too long to be kept whole.
pub(super) fn check_note(text: &str) -> Result<(), Failure> {
    if text.len() <= MAX_NOTE {
        return Ok(());
    }
    let message = format!("{} bytes of text, {MAX_NOTE} are allowed here", text.len());
    Err(Failure::new(ErrorCode::TooLarge, message).detail("limit", MAX_NOTE))
}

/// Gives the result of a task that has ended.
#[utoipa::path(get, path = "/v1/tasks/{id}/result", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = ResultView)))]
pub(crate) async fn result(
    State(node): State<Arc<Node>>,
    Task(id): Task,
) -> Result<Json<ResultView>, Failure> {
    let (role, peer, now, reason) = match row(&node, id).await? {
        Row::Submitted(task) => {
            (Role::Submitted, task.peer, task.state(), task.reason().to_owned())
        }
        Row::Received(task) => {
            let reason = task.ending().map(|ending| ending.reason.clone()).unwrap_or_default();
            (Role::Received, task.peer, task.state(), reason)
        }
    };
    if !now.is_terminal() {
        let message = format!("task {id} has not ended: it is {now}");
        return Err(Failure::new(ErrorCode::StillRunning, message)
            .hint(format!("pilotctl task wait {id}"))
            .detail("task", id.to_string()));
    }
    let side = match role {
        Role::Submitted => Side::Submitted,
        Role::Received => Side::Received,
    };
    let body = node.tasks().result_body(side, id)?;
    if body.is_none() && role == Role::Received {
        let message = format!("the submitter has the result of {id}; it is no longer kept here");
        return Err(Failure::new(ErrorCode::NotFound, message)
            .hint(format!("pilotctl task result {id}  # on the submitter's node")));
    }
    let body = body.unwrap_or_default();
    let all = files(&node, peer, &body.files, body.attached.as_ref()).await?;
    let (data, data_base64) = data_fields(body.data);
    let inline = body.files.into_iter();
    Ok(Json(ResultView {
        id,
        state: state(role, now),
        from: Some(node.peer_identity(peer)),
        reason: (!reason.is_empty()).then_some(reason),
        is_json: body.is_json,
        data,
        data_base64,
        files: inline
            .map(|file| ContentFile {
                name: file.name,
                content_base64: pilot_local_api::Base64(file.content),
            })
            .collect(),
        attachments: all.attachments,
        attached: all.attached,
    }))
}
