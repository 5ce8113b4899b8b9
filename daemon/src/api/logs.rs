//! What the commands of tasks write, on either node.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use pilot_local_api::tasks::{ClaimQuery, LogPiece, data_fields};
use pilot_proto::TaskId;
use pilot_proto::tasks::MAX_LOG_PIECE;
use serde::Deserialize;

use super::extract::{Params, Task};
use super::failure::Failure;
use super::tasks::row;
use crate::node::Node;
use crate::services::Watch;
use crate::services::tasks::{LogReader, Row};
use crate::store::logs::Kept;

/// How long the last of what a worker's command wrote may come after its result.
const LATE: Duration = Duration::from_secs(1);

/// The query of `GET tasks/{id}/logs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogsQuery {
    #[serde(default)]
    follow: bool,
    attempt: Option<u32>,
}

/// Takes what the command of an accepted task wrote.
#[utoipa::path(post, path = "/v1/tasks/{id}/logs", tag = "worker", params(("id" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204)))]
pub(crate) async fn write(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Params(claim): Params<ClaimQuery>,
    bytes: Bytes,
) -> Result<StatusCode, Failure> {
    if bytes.len() > MAX_LOG_PIECE {
        let message = format!("{} bytes, {MAX_LOG_PIECE} are taken at once", bytes.len());
        return Err(Failure::new(pilot_local_api::ErrorCode::TooLarge, message));
    }
    node.tasks().check_claim(id, claim.claim.as_deref())?;
    node.tasks().write_log(id, &bytes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Streams what a task's command wrote: what is kept, then what comes.
#[utoipa::path(get, path = "/v1/tasks/{id}/logs", tag = "tasks",
    params(("id" = String, Path), ("follow" = Option<bool>, Query),
        ("attempt" = Option<u32>, Query)),
    responses((status = 200, body = LogPiece, content_type = "application/x-ndjson")))]
pub(crate) async fn read(
    State(node): State<Arc<Node>>,
    Task(id): Task,
    Params(query): Params<LogsQuery>,
) -> Result<Response, Failure> {
    // Changes from here on are not missed.
    let task = node.tasks().watch(id);
    let reader = node.tasks().log_reader(&row(&node, id).await?, query.attempt);
    let following = Following { node, id, reader, task, query, is_late: false };
    let lines = stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        let lines = following.next().await?;
        Some((Ok::<_, Infallible>(lines), Some(following)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// Somebody who reads a task's logs.
struct Following {
    node: Arc<Node>,
    id: TaskId,
    reader: LogReader,
    task: Watch<TaskId>,
    query: LogsQuery,
    /// That the task had ended when there was nothing more the last time.
    is_late: bool,
}

impl Following {
    /// The next lines; none if there will be no more.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Before it is read, so that what was written before the end is.
            let end = if self.query.follow { self.end().await? } else { End::Over };
            let pieces = self.node.tasks().read_log(&mut self.reader).await.ok()?;
            if !pieces.is_empty() {
                self.is_late = false;
                return Some(lines(pieces));
            }
            match end {
                End::Over => return None,
                End::MayBeLate if self.is_late => return None,
                End::MayBeLate => {
                    let waited = tokio::time::timeout(LATE, self.reader.changed()).await;
                    self.is_late = waited.is_err();
                }
                End::GoesOn => tokio::select! {
                    () = self.reader.changed() => {}
                    () = self.task.changed() => {}
                },
            }
        }
    }

    async fn end(&self) -> Option<End> {
        let (ended, attempt, is_worker) = match self.node.tasks().row(self.id).await.ok()?? {
            Row::Submitted(task) => (task.state().is_terminal(), task.terms.attempt, false),
            Row::Received(task) => (task.state().is_terminal(), task.terms.attempt, true),
        };
        let is_past = self.query.attempt.is_some_and(|only| only < attempt);
        Some(match ended || is_past {
            false => End::GoesOn,
            true if is_worker => End::Over,
            true => End::MayBeLate,
        })
    }
}

/// Whether more may come.
enum End {
    GoesOn,
    /// Its result came ahead of what was written last.
    MayBeLate,
    Over,
}

fn lines(pieces: Vec<Kept>) -> Bytes {
    let mut out = Vec::new();
    for Kept { attempt, offset, bytes } in pieces {
        let (data, data_base64) = data_fields(bytes.into());
        let piece = LogPiece { attempt, offset, data, data_base64 };
        out.extend(serde_json::to_vec(&piece).unwrap_or_default());
        out.push(b'\n');
    }
    out.into()
}
