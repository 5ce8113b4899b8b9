//! What came out of tasks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pilot_identity::NodeId;
use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::{ContentFile, ResultQuery, ResultView, Role, TaskState, data_fields};
use pilot_proto::TaskId;
use pilot_proto::tasks::{Attached, ResultBody};
use pilot_tasks::SubmittedTask;

use super::extract::{Params, Task};
use super::failure::Failure;
use super::task_files::files;
use super::task_views::state;
use super::tasks::row;
use crate::node::Node;
use crate::services::tasks::Row;
use crate::store::bodies::Side;

/// Gives the result of a task that has ended.
#[utoipa::path(get, path = "/v1/tasks/{id}/result", tag = "tasks", params(("id" = String, Path),
    ("attempt" = Option<u32>, Query)),
    responses((status = 200, body = ResultView)))]
pub(crate) async fn result(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Params(query): Params<ResultQuery>,
) -> Result<Json<ResultView>, Failure> {
    let (role, peer, now, reason, has_result) = match row(&node, id).await? {
        Row::Submitted(task) => {
            match query.attempt.filter(|wanted| *wanted != task.terms.attempt) {
                Some(wanted) => return attempt(&node, &task, wanted).await,
                None => {
                    let reason = task.reason().into_owned();
                    (
                        Role::Submitted,
                        task.worker(),
                        task.state(),
                        reason,
                        task.delivery().is_some(),
                    )
                }
            }
        }
        Row::Received(task) => {
            let reason = task.ending().map(|ending| ending.reason.clone()).unwrap_or_default();
            (Role::Received, Some(task.peer), task.state(), reason, true)
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
    let body = body.filter(|_| has_result);
    let body = match (body, role) {
        (Some(body), Role::Submitted) if body.extras.left => {
            let Some((body, attached)) = left(&node, id).await? else {
                return Err(not_reached(&node, id, peer));
            };
            ResultBody { attached, ..body }
        }
        (body, _) => body.unwrap_or_default(),
    };
    view(&node, Shown { id, state: state(role, now), peer, reason, body }).await
}

/// The result of an attempt that was not the last.
async fn attempt(
    node: &Node,
    task: &SubmittedTask,
    wanted: u32,
) -> Result<Json<ResultView>, Failure> {
    let id = task.terms.id;
    let past = task.extras.past.iter().find(|past| past.attempt == wanted);
    let body = match past.and_then(|past| past.delivery.as_ref()) {
        Some(_) => node.tasks().attempt_body(id, wanted)?,
        None => None,
    };
    let (Some(past), Some(body)) = (past, body) else {
        let message = format!("no result of attempt {wanted} at task {id} is here");
        return Err(
            Failure::new(ErrorCode::NotFound, message).hint(format!("pilotctl task get {id}"))
        );
    };
    let outcome = past.delivery.as_ref().map_or(past.outcome, |delivery| delivery.outcome);
    let shown = Shown {
        id,
        state: state(Role::Submitted, outcome.into()),
        peer: Some(past.peer),
        reason: body.reason.as_str().to_owned(),
        body,
    };
    view(node, shown).await
}

/// A result that stays with its worker, fetched from there.
async fn left(node: &Node, id: TaskId) -> Result<Option<(ResultBody, Option<Attached>)>, Failure> {
    let Some(given) = node.tasks().left_result(id).await? else { return Ok(None) };
    let body = ResultBody::decode(&given.body).map_err(|error| Failure::internal(&error))?;
    Ok(Some((body, given.attached)))
}

fn not_reached(node: &Node, id: TaskId, worker: Option<NodeId>) -> Failure {
    let worker = worker.map(|worker| node.peer_identity(worker).label()).unwrap_or_default();
    let message = format!(
        "the result of task {id} stays with {worker}, which does not give it now; it keeps \
         results for 7 days"
    );
    Failure::new(ErrorCode::PeerUnreachable, message).hint(format!("pilotctl doctor {worker}"))
}

/// A result to be shown.
struct Shown {
    id: TaskId,
    state: TaskState,
    peer: Option<NodeId>,
    reason: String,
    body: ResultBody,
}

async fn view(node: &Node, shown: Shown) -> Result<Json<ResultView>, Failure> {
    let Shown { id, state, peer, reason, body } = shown;
    let all = match peer {
        Some(peer) => files(node, peer, &body.files, body.attached.as_ref()).await?,
        None => files(node, node.id(), &body.files, None).await?,
    };
    let (data, data_base64) = data_fields(body.data);
    let inline = body.files.into_iter();
    Ok(Json(ResultView {
        id,
        state,
        from: peer.map(|peer| node.peer_identity(peer)),
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
