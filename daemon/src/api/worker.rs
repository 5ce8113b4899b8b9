//! What a worker says: accept, results, progress, release, decline, fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use pilot_local_api::tasks::{
    AcceptRequest, AcceptedTask, ClaimQuery, DeclineRequest, FailRequest, Params, ProgressAnswer,
    ProgressRequest, ReleaseRequest, ResultStatus, SendResultsRequest, TaskView, read_data_fields,
};
use pilot_local_api::{ErrorCode, MAX_RESPONSE_BODY};
use pilot_proto::TaskId;
use pilot_proto::tasks::{InlineFile, ResultBody, ResultExtras};
use pilot_proto::text::Text;
use pilot_tasks::WorkOutcome;

use super::extract::{Body, Params as Query, Task};
use super::failure::Failure;
use super::inputs::inputs;
use super::submitted::check_note;
use super::task_files::{files, paths};
use super::task_views::whole;
use super::tasks::row;
use crate::node::Node;
use crate::services::tasks::{Accepted, WorkGiven};
use crate::store::bodies::Side;

/// The longest an accept may wait.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The longest that nobody gets a task which was put back.
const MAX_DELAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Bytes of a claim.
const MAX_CLAIM: usize = 64;

/// Accepts the next task, or answers 204 if none came in time.
#[utoipa::path(post, path = "/v1/tasks/accept", tag = "worker", request_body = AcceptRequest,
    responses((status = 200, body = AcceptedTask), (status = 204)))]
pub(crate) async fn accept(
    State(node): State<Arc<Node>>,
    Body(request): Body<AcceptRequest>,
) -> Result<Response, Failure> {
    let patience = Duration::from_millis(request.timeout_ms).min(MAX_WAIT);
    let from = match &request.from {
        Some(peer) => Some(node.directory().find(peer).await?),
        None => None,
    };
    if request.claim.as_ref().is_some_and(|claim| claim.is_empty() || claim.len() > MAX_CLAIM) {
        return Err(Failure::invalid(format!("a claim has 1 to {MAX_CLAIM} bytes")));
    }
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let claim = request.claim.as_deref();
        let Some(accepted) = node.tasks().accept(from, claim, request.bind, left).await? else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let view = view(&node, accepted).await?;
        let text = serde_json::to_vec(&view).map_err(|error| Failure::internal(&error))?;
        if text.len() <= MAX_RESPONSE_BODY {
            return Ok(([(CONTENT_TYPE, "application/json")], text).into_response());
        }
        // Nobody could read it: it would be in the way of all others.
        node.tasks().finish(view.id, unreadable()).await?;
    }
}

/// What comes of a task that is too large to be told.
fn unreadable() -> WorkGiven {
    let reason = "as JSON the task is larger than an answer of the local API may be";
    let extras = ResultExtras { no_retry: true, ..ResultExtras::default() };
    let body = ResultBody { reason: Text::clipped(reason), extras, ..ResultBody::default() };
    WorkGiven { outcome: WorkOutcome::Failed, body, attach: Vec::new() }
}

/// Until it is whole, the task may go back to the queue.
async fn view(node: &Node, accepted: Accepted) -> Result<AcceptedTask, Failure> {
    let (peer, body) = (accepted.task.peer, &accepted.body);
    let files = files(node, peer, &body.files, body.attached.as_ref()).await?;
    let inputs = inputs(node, accepted.task.terms.id).await?;
    let lease_expires_at = accepted.ends_at().map(Into::into);
    let (task, body) = accepted.keep();
    let submitter = node.peer_identity(task.peer);
    let address = submitter.address.map(|address| address.to_string());
    Ok(AcceptedTask {
        id: task.terms.id,
        description: body.description,
        params: Params(body.params),
        from: address.unwrap_or_else(|| submitter.public_key.to_string()),
        from_name: submitter.name.map(|name| name.to_string()),
        attempt: task.terms.attempt,
        lease_expires_at,
        deadline_at: task.terms.deadline.map(Into::into),
        attachments: files.attachments,
        attached: files.attached,
        inputs,
    })
}

/// Ends a task with its result; the answer is sent once that is on disk.
#[utoipa::path(post, path = "/v1/tasks/{id}/results", tag = "worker",
    params(("id" = String, Path)), request_body = SendResultsRequest,
    responses((status = 200, body = TaskView)))]
pub(crate) async fn results(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Query(claim): Query<ClaimQuery>,
    Body(request): Body<SendResultsRequest>,
) -> Result<Json<TaskView>, Failure> {
    node.tasks().check_claim(id, claim.claim.as_deref())?;
    let reason = request.reason.unwrap_or_default();
    check_note(&reason)?;
    if request.no_retry && request.status == ResultStatus::Ok {
        return Err(Failure::invalid("what succeeded is not tried again"));
    }
    let data = read_data_fields(request.data, request.data_base64)
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let files = request.files.into_iter();
    let files = files.map(|file| InlineFile { name: file.name, content: file.content_base64.0 });
    let outcome = match request.status {
        ResultStatus::Ok => WorkOutcome::Succeeded,
        ResultStatus::Failed => WorkOutcome::Failed,
    };
    let body = ResultBody {
        data,
        is_json: request.is_json,
        reason: Text::clipped(&reason),
        files: files.collect(),
        attached: None,
        extras: ResultExtras { no_retry: request.no_retry, ..ResultExtras::default() },
    };
    finish(&node, id, WorkGiven { outcome, body, attach: paths(request.attach)? }).await
}

/// Ends a task as failed.
#[utoipa::path(post, path = "/v1/tasks/{id}/fail", tag = "worker", params(("id" = String, Path)),
    request_body = FailRequest, responses((status = 200, body = TaskView)))]
pub(crate) async fn fail(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Query(claim): Query<ClaimQuery>,
    Body(request): Body<FailRequest>,
) -> Result<Json<TaskView>, Failure> {
    node.tasks().check_claim(id, claim.claim.as_deref())?;
    check_note(&request.reason)?;
    let body = ResultBody {
        reason: Text::clipped(&request.reason),
        extras: ResultExtras { no_retry: request.no_retry, ..ResultExtras::default() },
        ..ResultBody::default()
    };
    finish(&node, id, WorkGiven { outcome: WorkOutcome::Failed, body, attach: Vec::new() }).await
}

async fn finish(node: &Node, id: TaskId, given: WorkGiven) -> Result<Json<TaskView>, Failure> {
    node.tasks().finish(id, given).await?;
    Ok(Json(whole(node, &row(node, id).await?).await?))
}

/// Notes how far a task is, and learns whether to stop.
#[utoipa::path(post, path = "/v1/tasks/{id}/progress", tag = "worker",
    params(("id" = String, Path)), request_body = ProgressRequest,
    responses((status = 200, body = ProgressAnswer)))]
pub(crate) async fn progress(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Query(claim): Query<ClaimQuery>,
    Body(request): Body<ProgressRequest>,
) -> Result<Json<ProgressAnswer>, Failure> {
    node.tasks().check_claim(id, claim.claim.as_deref())?;
    if request.percent.is_some_and(|percent| percent > 100) {
        return Err(Failure::invalid("progress is 0 to 100 percent"));
    }
    check_note(request.note.as_deref().unwrap_or_default())?;
    let note = request.note.as_deref();
    let cancel_requested = node.tasks().progress(id, request.percent, note).await?;
    Ok(Json(ProgressAnswer { cancel_requested }))
}

/// Puts an accepted task back into the queue.
#[utoipa::path(post, path = "/v1/tasks/{id}/release", tag = "worker",
    params(("id" = String, Path)), request_body = ReleaseRequest,
    responses((status = 200, body = TaskView)))]
pub(crate) async fn release(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Query(claim): Query<ClaimQuery>,
    Body(request): Body<ReleaseRequest>,
) -> Result<Json<TaskView>, Failure> {
    node.tasks().check_claim(id, claim.claim.as_deref())?;
    let delay = Duration::from_millis(request.delay_ms);
    if delay > MAX_DELAY {
        return Err(Failure::invalid("a task is put back for 30 days at most"));
    }
    check_note(&request.reason)?;
    node.tasks().release(id, delay, &request.reason).await?;
    Ok(Json(whole(&node, &row(&node, id).await?).await?))
}

/// Declines a task.
#[utoipa::path(post, path = "/v1/tasks/{id}/decline", tag = "worker",
    params(("id" = String, Path)), request_body = DeclineRequest,
    responses((status = 200, body = TaskView)))]
pub(crate) async fn decline(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Body(request): Body<DeclineRequest>,
) -> Result<Json<TaskView>, Failure> {
    check_note(&request.reason)?;
    node.tasks().decline(id, &request.reason).await?;
    Ok(Json(whole(&node, &row(&node, id).await?).await?))
}

/// Gives the bytes of a file that came with a task.
#[utoipa::path(get, path = "/v1/tasks/{id}/attachments/{name}", tag = "worker",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream")))]
pub(crate) async fn attachment_bytes(
    State(node): State<Arc<Node>>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let id: TaskId = id.parse().map_err(|error| Failure::invalid(format!("{id:?}: {error}")))?;
    drop(row(&node, id).await?);
    for side in [Side::Received, Side::Submitted] {
        let files = node.tasks().task_body(side, id)?.map(|body| body.files);
        let file = files.into_iter().flatten().find(|file| file.name.as_str() == name);
        if let Some(file) = file {
            let headers = [(CONTENT_TYPE, "application/octet-stream")];
            return Ok((headers, file.content).into_response());
        }
    }
    Err(Failure::new(ErrorCode::NotFound, format!("task {id} has no file {name:?}"))
        .hint(format!("pilotctl task get {id}")))
}
