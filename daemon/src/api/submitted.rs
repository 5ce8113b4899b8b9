//! What a submitter says: submit, cancel, retry; and why a task is where it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use pilot_local_api::ErrorCode;
use pilot_local_api::identity::PeerIdentity;
use pilot_local_api::tasks::{
    CancelRequest, CandidateView, ExplainView, Role, SubmitRequest, TaskView,
};
use pilot_proto::tasks::MAX_NOTE;
use pilot_tasks::SubmittedTask;

use super::extract::{Body, Task};
use super::failure::Failure;
use super::new_task::new_task;
use super::task_views::{brief, state, whole};
use super::tasks::row;
use crate::node::Node;
use crate::services::tasks::Row;

/// How long a running worker may take to stop if nothing is said.
const GRACE: Duration = Duration::from_secs(30);

/// Tasks that one request submits together.
const MAX_BATCH: usize = 10_000;

/// Takes a task; the answer is sent once it is safe on disk.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = SubmitRequest,
    responses((status = 200, body = TaskView)))]
pub(crate) async fn submit(
    State(node): State<Arc<Node>>,
    Body(request): Body<SubmitRequest>,
) -> Result<Json<TaskView>, Failure> {
    let new = new_task(&node, request).await?;
    let submitted = node.tasks().submit(new).await?;
    Ok(Json(whole(&node, &row(&node, submitted.id).await?).await?))
}

/// Takes all of some tasks, which may come after each other, or none of them.
#[utoipa::path(post, path = "/v1/tasks/batch", tag = "tasks", request_body = Vec<SubmitRequest>,
    responses((status = 200, body = Vec<TaskView>)))]
pub(crate) async fn submit_all(
    State(node): State<Arc<Node>>,
    Body(requests): Body<Vec<SubmitRequest>>,
) -> Result<Json<Vec<TaskView>>, Failure> {
    if requests.len() > MAX_BATCH {
        let message = format!("{} tasks at once, {MAX_BATCH} are allowed", requests.len());
        return Err(Failure::new(ErrorCode::LimitExceeded, message));
    }
    let mut news = Vec::with_capacity(requests.len());
    for request in requests {
        news.push(new_task(&node, request).await?);
    }
    let submitted = node.tasks().submit_all(news).await?;
    let mut views = Vec::with_capacity(submitted.len());
    for task in submitted {
        views.push(brief(&node, &row(&node, task.id).await?));
    }
    Ok(Json(views))
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

/// Begins another attempt at a task that has ended otherwise than well.
#[utoipa::path(post, path = "/v1/tasks/{id}/retry", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskView)))]
pub(crate) async fn retry(
    State(node): State<Arc<Node>>,
    Task(id): Task,
) -> Result<Json<TaskView>, Failure> {
    node.tasks().retry(id).await?;
    Ok(Json(whole(&node, &row(&node, id).await?).await?))
}

/// Says who does a task, and why not the others.
#[utoipa::path(get, path = "/v1/tasks/{id}/explain", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = ExplainView)))]
pub(crate) async fn explain(
    State(node): State<Arc<Node>>,
    Task(id): Task,
) -> Result<Json<ExplainView>, Failure> {
    match row(&node, id).await? {
        Row::Submitted(task) => Ok(Json(explained(&node, &task))),
        Row::Received(_) => {
            let message = format!("task {id} was given to this node; its submitter chose it");
            Err(Failure::new(ErrorCode::NotFound, message)
                .hint(format!("pilotctl task explain {id}  # on the submitter's node")))
        }
    }
}

fn explained(node: &Node, task: &SubmittedTask) -> ExplainView {
    let chosen = task.worker().map(|worker| node.peer_identity(worker));
    let named = || chosen.as_ref().map(PeerIdentity::label).unwrap_or_default();
    let to = match &task.extras.plan.pool {
        None => named(),
        Some(pool) if pool.tags.is_empty() => "any".to_owned(),
        Some(pool) => {
            let tags: Vec<String> = pool.tags.iter().map(|tag| format!("tag:{tag}")).collect();
            tags.join(" ")
        }
    };
    let reason = task.reason();
    let why = match (&task.extras.plan.pool, task.extras.verdicts.iter().find(|one| one.chosen)) {
        _ if !reason.is_empty() => reason.into_owned(),
        (Some(_), Some(best)) => format!("{} was the best: {}", named(), best.why),
        (Some(_), None) => "a worker is looked for".to_owned(),
        (None, _) => format!("it was submitted to {}", named()),
    };
    let candidates = task.extras.verdicts.iter().map(|verdict| CandidateView {
        peer: node.peer_identity(verdict.peer),
        chosen: verdict.chosen,
        why: verdict.why.clone(),
    });
    ExplainView {
        id: task.terms.id,
        state: state(Role::Submitted, task.state()),
        to,
        chosen,
        why,
        candidates: candidates.collect(),
    }
}
