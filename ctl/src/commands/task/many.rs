//! Tasks that are submitted and waited for together.

use core::time::Duration;
use std::time::Instant;

use pilot_local_api::ApiError;
use pilot_local_api::errors::ErrorCode;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{ListQuery, Role, SubmitRequest, TaskView};
use serde::Serialize;

use super::ending::{ended, verdict};
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// Tasks of one request: each request is one commit of the daemon.
const TOGETHER: usize = 1_000;

/// Tasks of a group that are waited for.
pub(super) const MAX_GROUP: u32 = 10_000;

/// What came of one of several tasks.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// Which of them, from 1, as they were given.
    number: usize,
    id: TaskId,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<pilot_local_api::Base64>,
}

/// Submits all of them, at most [`TOGETHER`] in one commit; in their order.
/// Each has an id, so that the same request may be sent again.
pub(super) async fn submit(
    ctl: &Ctl,
    requests: &[SubmitRequest],
) -> Result<Vec<TaskView>, Failure> {
    let mut views: Vec<TaskView> = Vec::with_capacity(requests.len());
    for some in requests.chunks(TOGETHER) {
        let sent = patiently(ctl, AtFirst::Fail, || ctl.client.submit_all(some)).await;
        let taken = sent.map_err(|error| {
            let error = ApiError::from(error);
            let message = format!("{}; {} were submitted before", error.message, views.len());
            Failure::from(ApiError { message, ..error })
        })?;
        views.extend(taken);
    }
    Ok(views)
}

/// Waits for all of them, printing a line of JSON for each in their order; ends
/// as the first of them that did not succeed.
pub(super) async fn wait(ctl: &Ctl, ids: &[TaskId], limit: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    let mut first = None;
    for (number, id) in (1..).zip(ids) {
        let view = ended(ctl, *id, limit.saturating_sub(began.elapsed())).await?;
        let mut line = Line {
            number,
            id: *id,
            state: view.state.word(),
            reason: view.reason.as_deref(),
            data: None,
            data_base64: None,
        };
        if view.state.is_terminal() {
            let result = patiently(ctl, AtFirst::Wait, || ctl.client.result(*id)).await;
            if let Ok(result) = result {
                (line.data, line.data_base64) = (result.data, result.data_base64);
            }
        }
        let text = serde_json::to_string(&line).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("cannot write a line: {error}"))
        })?;
        ctl.ui.data((crate::shown::json(&text) + "\n").as_bytes())?;
        let judged = verdict(*id, view.state, view.reason.as_deref());
        first = first.or_else(|| judged.err());
    }
    first.map_or(Ok(()), |error| Err(error.into()))
}

/// The tasks of a group, oldest first.
pub(super) async fn of_group(ctl: &Ctl, group: &str) -> Result<Vec<TaskView>, Failure> {
    let query = ListQuery {
        role: Some(Role::Submitted),
        group: Some(group.to_owned()),
        limit: Some(MAX_GROUP),
        ..ListQuery::default()
    };
    let mut views = patiently(ctl, AtFirst::Wait, || ctl.client.tasks(&query)).await?;
    views.reverse();
    if views.is_empty() {
        let message = format!("no task was submitted here in the group {group}");
        let hint = "pilotctl task list --role submitted";
        return Err(ApiError::new(ErrorCode::NotFound, message).with_hint(hint).into());
    }
    Ok(views)
}
