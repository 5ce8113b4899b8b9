//! Tasks of either half: list, get, wait, watch.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pilot_local_api::ErrorCode;
use pilot_local_api::tasks::{ListQuery, Role, TaskView, WaitQuery};
use pilot_proto::TaskId;
use pilot_proto::tasks::ContentError;
use pilot_tasks::{CancelError, DeclineError, FinishError, NotAtWork, RetryError, SubmitError};
use tokio::time::timeout_at;

use super::extract::{Params, Task};
use super::failure::Failure;
use super::task_views::{brief, wanted, whole};
use super::views;
use crate::node::Node;
use crate::services::tasks::{AcceptError, CallError, NewTaskError, ProcessError, Row};
use crate::store::tasks::Wanted;

/// How many tasks a list shows, by default and at the most.
const LIST: (u32, u32) = (100, 10_000);

/// How long a wait lasts, by default and at the most.
const WAIT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// Lists tasks, the newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks",
    params(("role" = Option<Role>, Query), ("state" = Option<String>, Query),
        ("group" = Option<String>, Query), ("dead" = Option<bool>, Query),
        ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<TaskView>)))]
pub(crate) async fn list(
    State(node): State<Arc<Node>>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Vec<TaskView>>, Failure> {
    let limit = query.limit.unwrap_or(LIST.0).min(LIST.1);
    let mut rows = Vec::new();
    for role in [Role::Submitted, Role::Received] {
        let state = query.state.and_then(|state| wanted(role, state));
        let never = query.state.is_some() && state.is_none()
            || role == Role::Received && (query.group.is_some() || query.dead);
        if never || query.role.is_some_and(|only| only != role) {
            continue;
        }
        match role {
            Role::Submitted => {
                let wanted = Wanted { state, group: query.group.clone(), dead: query.dead };
                let found = node.tasks().list_submitted(wanted, limit).await?;
                rows.extend(found.into_iter().map(|task| Row::Submitted(Box::new(task))));
            }
            Role::Received => {
                let found = node.tasks().list_received(state, limit).await?;
                rows.extend(found.into_iter().map(|task| Row::Received(Box::new(task))));
            }
        }
    }
    let mut views: Vec<TaskView> = rows.iter().map(|row| brief(&node, row)).collect();
    views.sort_by_key(|view| Reverse(view.id));
    views.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(views))
}

/// Shows one task, whole.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskView)))]
pub(crate) async fn get(
    State(node): State<Arc<Node>>,
    Task(id): Task,
) -> Result<Json<TaskView>, Failure> {
    Ok(Json(whole(&node, &row(&node, id).await?).await?))
}

/// Waits until a task has ended, or has gone beyond a revision.
#[utoipa::path(get, path = "/v1/tasks/{id}/wait", tag = "tasks",
    params(("id" = String, Path), ("timeout_ms" = Option<u64>, Query),
        ("after_revision" = Option<u64>, Query)),
    responses((status = 200, body = TaskView)))]
pub(crate) async fn wait(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Params(query): Params<WaitQuery>,
) -> Result<Json<TaskView>, Failure> {
    let patience = query.timeout_ms.map_or(WAIT.0, Duration::from_millis).min(WAIT.1);
    let deadline = Instant::now() + patience;
    // Changes from here on are not missed.
    let mut watch = node.tasks().watch(id);
    loop {
        let row = row(&node, id).await?;
        let view = brief(&node, &row);
        let over = match query.after_revision {
            Some(revision) => view.revision > revision || view.state.is_terminal(),
            None => view.state.is_terminal(),
        };
        if over || timeout_at(deadline.into(), watch.changed()).await.is_err() {
            return Ok(Json(whole(&node, &row).await?));
        }
    }
}

/// Streams a task as it is, then each change, until it has ended.
#[utoipa::path(get, path = "/v1/tasks/{id}/watch", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskView, content_type = "application/x-ndjson")))]
pub(crate) async fn watch(
    State(node): State<Arc<Node>>,
    Task(id): Task,
) -> Result<Response, Failure> {
    let watch = node.tasks().watch(id);
    let first = brief(&node, &row(&node, id).await?);
    let seen = first.revision;
    let is_over = |view: &TaskView| view.state.is_terminal();
    Ok(views::stream(first, (watch, seen), is_over, move |(mut watch, seen)| {
        let node = Arc::clone(&node);
        async move {
            let view = change(&node, id, seen, &mut watch).await?;
            let seen = view.revision;
            Some((view, (watch, seen)))
        }
    }))
}

/// The next view with a revision after `seen`; none if the task cannot be read.
async fn change(
    node: &Node,
    id: TaskId,
    seen: u64,
    watch: &mut crate::services::Watch<TaskId>,
) -> Option<TaskView> {
    loop {
        let view = brief(node, &node.tasks().row(id).await.ok()??);
        if view.revision > seen {
            return Some(view);
        }
        watch.changed().await;
    }
}

/// The row of a task that must be there.
pub(super) async fn row(node: &Node, id: TaskId) -> Result<Row, Failure> {
    node.tasks().row(id).await?.ok_or_else(|| unknown(id))
}

pub(super) fn unknown(id: TaskId) -> Failure {
    Failure::new(ErrorCode::UnknownTask, format!("there is no task {id} on this node"))
        .hint("pilotctl task list")
        .detail("task", id.to_string())
}

impl From<ContentError> for Failure {
    fn from(error: ContentError) -> Self {
        let message = error.to_string();
        match error {
            ContentError::RepeatedParam | ContentError::Exclusive(_) => Self::invalid(message),
            ContentError::Params(_)
            | ContentError::Files(_)
            | ContentError::Inputs(_)
            | ContentError::Pass(_) => Self::new(ErrorCode::LimitExceeded, message),
            ContentError::Description(_) | ContentError::Inline(_) => {
                Self::new(ErrorCode::TooLarge, message)
            }
        }
    }
}

impl From<NewTaskError> for Failure {
    fn from(error: NewTaskError) -> Self {
        let message = error.to_string();
        match error {
            NewTaskError::Content(error) => error.into(),
            NewTaskError::Load(error) => error.into(),
            NewTaskError::Submit(SubmitError::Conflict { id }) => {
                Self::new(ErrorCode::Conflict, message).hint(format!("pilotctl task get {id}"))
            }
            NewTaskError::Submit(SubmitError::Full { .. }) => {
                Self::new(ErrorCode::QueueFull, message).hint("pilotctl task list --state queued")
            }
            NewTaskError::Submit(SubmitError::NoSuchTask { id }) => {
                Self::new(ErrorCode::UnknownTask, format!("{message}; nothing was submitted"))
                    .hint("pilotctl task list --role submitted")
                    .detail("task", id.to_string())
            }
            NewTaskError::Submit(SubmitError::Cycle(cycle)) => {
                let ids: Vec<String> = cycle.0.iter().map(ToString::to_string).collect();
                Self::invalid(format!("{message}; nothing was submitted")).detail("cycle", ids)
            }
            NewTaskError::Keep(error) => error.into(),
            NewTaskError::Commit(error) => error.into(),
            NewTaskError::Read(error) => error.into(),
        }
    }
}

impl From<AcceptError> for Failure {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Commit(error) => error.into(),
            AcceptError::Read(error) => error.into(),
            AcceptError::NoBody(_) | AcceptError::Process(ProcessError::Unreadable { .. }) => {
                Self::internal(&error)
            }
            AcceptError::Process(ProcessError::NoSuch { .. } | ProcessError::Another { .. }) => {
                Self::invalid(error.to_string())
            }
            AcceptError::Process(ProcessError::TooMany) => {
                Self::new(ErrorCode::LimitExceeded, error.to_string())
                    .hint("pilotctl task list --state running")
            }
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Content(error) => error.into(),
            CallError::Load(error) => error.into(),
            CallError::Keep(error) => error.into(),
            CallError::Cancel(CancelError::Unknown)
            | CallError::Retry(RetryError::Unknown)
            | CallError::Finish(FinishError::Unknown)
            | CallError::Decline(DeclineError::Unknown)
            | CallError::NotAtWork(NotAtWork::Unknown) => {
                Self::new(ErrorCode::UnknownTask, message).hint("pilotctl task list")
            }
            CallError::Finish(FinishError::NotAccepted)
            | CallError::NotAtWork(NotAtWork::NotAccepted) => {
                Self::new(ErrorCode::Conflict, message).hint("pilotctl task accept --json")
            }
            CallError::Cancel(CancelError::Ended { .. })
            | CallError::Finish(FinishError::Ended { .. } | FinishError::Conflict { .. })
            | CallError::Decline(DeclineError::Ended { .. } | DeclineError::Running)
            | CallError::NotAtWork(NotAtWork::Ended { .. }) => {
                Self::new(ErrorCode::Conflict, message).hint("pilotctl task list")
            }
            CallError::NotHeld => {
                Self::new(ErrorCode::Conflict, message).hint("pilotctl task accept --json")
            }
            CallError::Retry(
                RetryError::NoInput { .. }
                | RetryError::NotFailed { .. }
                | RetryError::Stopping
                | RetryError::TooLate
                | RetryError::NoFiles,
            ) => Self::new(ErrorCode::Conflict, message).hint("pilotctl task list"),
            CallError::Commit(error) => error.into(),
            CallError::Read(error) => error.into(),
        }
    }
}
