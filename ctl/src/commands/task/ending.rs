//! How a task that is waited for ends: its exit code, and its result on stdout.

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::proto::TaskId;
use pilot_local_api::quoted;
use pilot_local_api::tasks::{Attachment, ResultView, TaskState, TaskView, WaitQuery};

use super::called;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};
use crate::{files, shown};

/// How long a task is waited for if nothing is said.
pub(super) const WAIT: &str = "1h";

/// Names of files that are told on one line.
const SHOWN_NAMES: usize = 20;

/// The longest single wait that is asked of the daemon.
const ONE_WAIT: Duration = Duration::from_secs(60);

/// Waits until a task has ended or `limit` is over; the task as it then is.
/// A daemon that restarts meanwhile is waited for.
pub(super) async fn ended(ctl: &Ctl, id: TaskId, limit: Duration) -> Result<TaskView, Failure> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        let millis = u64::try_from(left.min(ONE_WAIT).as_millis()).unwrap_or(u64::MAX);
        let query = WaitQuery { timeout_ms: Some(millis), after_revision: None };
        let view = patiently(ctl, AtFirst::Wait, || ctl.client.wait(id, query)).await;
        let view = view.map_err(|error| not_answered(error.into(), id))?;
        if view.state.is_terminal() || view.state == TaskState::InputRequired {
            return Ok(view);
        }
        if began.elapsed() >= limit {
            return Ok(view);
        }
    }
}

/// A wait that the daemon did not answer: the task itself is safe.
fn not_answered(mut error: ApiError, id: TaskId) -> ApiError {
    if error.code == ErrorCode::DaemonNotRunning {
        error.message =
            format!("{}; task {id} is on its disk: do not submit it again", error.message);
        error.hint = Some(format!("pilot-daemon …, then: pilotctl task wait {id}"));
        return error.with_detail("task", id.to_string());
    }
    error
}

/// Success if the task succeeded; else the error with the exit code of its state.
pub(super) fn verdict(id: TaskId, state: TaskState, reason: Option<&str>) -> Result<(), ApiError> {
    let (code, what) = match state {
        TaskState::Succeeded => return Ok(()),
        TaskState::Failed => (ErrorCode::TaskFailed, "failed"),
        TaskState::Declined => (ErrorCode::TaskDeclined, "was declined"),
        TaskState::Cancelled => (ErrorCode::TaskCancelled, "was cancelled"),
        TaskState::Expired => (ErrorCode::TaskExpired, "expired"),
        TaskState::InputRequired => (ErrorCode::InputRequired, "needs input to go on"),
        TaskState::Queued | TaskState::Delivered | TaskState::Accepted | TaskState::Running => {
            return Err(still_running(id, state));
        }
    };
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(ApiError::new(code, format!("task {id} {what}{why}"))
        .with_hint(format!("pilotctl task get {id}"))
        .with_detail("task", id.to_string())
        .with_detail("state", state.word()))
}

/// The time is over and the task is not.
pub(super) fn still_running(id: TaskId, state: TaskState) -> ApiError {
    ApiError::new(
        ErrorCode::StillRunning,
        format!("task {id} is still {state}: it goes on; do not submit it again"),
    )
    .with_hint(format!("pilotctl task wait {id}"))
    .with_detail("task", id.to_string())
    .with_detail("state", state.word())
}

/// A signal ended the wait, not the task.
pub(super) fn goes_on(id: TaskId) -> ApiError {
    ApiError::new(
        ErrorCode::StillRunning,
        format!("stopped waiting; task {id} goes on: do not submit it again"),
    )
    .with_hint(format!("pilotctl task wait {id}"))
    .with_detail("task", id.to_string())
}

/// A signal ended the wait for a group.
pub(super) fn group_goes_on(group: &str) -> ApiError {
    ApiError::new(
        ErrorCode::StillRunning,
        format!("stopped waiting; the tasks of the group {group} go on: do not submit them again"),
    )
    .with_hint(format!("pilotctl task wait --group {}", quoted(group)))
}

/// Prints the result of a task that has ended, and judges it: the data on
/// stdout as the worker gave it, files into `out`.
pub(super) async fn show_result(ctl: &Ctl, id: TaskId, out: Option<&Path>) -> Result<(), Failure> {
    show_result_of(ctl, id, None, out).await
}

/// The same of one attempt.
pub(super) async fn show_result_of(
    ctl: &Ctl,
    id: TaskId,
    attempt: Option<u32>,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let view = patiently(ctl, AtFirst::Wait, || ctl.client.result_of(id, attempt)).await;
    let mut view = view.map_err(|error| not_answered(error.into(), id))?;
    if let Some(out) = out {
        files::write(out, view.files.clone(), view.attached.as_ref()).await?;
        if !ctl.ui.json() && !view.attachments.is_empty() {
            ctl.ui.say(&format!("{} written to {}", names(&view.attachments), out.display()));
        }
    }
    if ctl.ui.json() {
        ctl.ui.answer(&view, |_| String::new())?;
    } else {
        print(ctl, &mut view, out.is_none())?;
    }
    Ok(verdict(id, view.state, view.reason.as_deref())?)
}

fn print(ctl: &Ctl, view: &mut ResultView, tell_files: bool) -> Result<(), Failure> {
    let data = view.take_data().map_err(|error| {
        ApiError::new(ErrorCode::VersionMismatch, format!("the daemon's answer: {error}"))
    })?;
    ctl.ui.peer_data(&data)?;
    if tell_files && !view.attachments.is_empty() {
        let from = view.from.as_ref().map(called).unwrap_or_default();
        let (names, id) = (names(&view.attachments), view.id);
        ctl.ui.say(&format!("files of {from}: {names}"));
        ctl.ui.say(&format!("to write them: pilotctl task result {id} --out DIR"));
    }
    Ok(())
}

/// The first files by their names, and how many more there are.
fn names(files: &[Attachment]) -> String {
    let name =
        |file: &Attachment| format!("{} ({} bytes)", shown::path(file.name.as_bytes()), file.size);
    let mut names: Vec<String> = files.iter().take(SHOWN_NAMES).map(name).collect();
    if let Some(more @ 1..) = files.len().checked_sub(SHOWN_NAMES) {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_exit_code() {
        let id: TaskId = "01234567-89ab-7cde-8f01-23456789abcd".parse().unwrap();
        let wanted = [24, 24, 24, 24, 25, 0, 20, 21, 22, 23];
        for (state, exit) in TaskState::ALL.into_iter().zip(wanted) {
            let verdict = verdict(id, state, Some("why"));
            assert_eq!(verdict.as_ref().map_or_else(|error| error.code.exit_code(), |()| 0), exit);
            if let Err(error) = verdict {
                assert!(error.message.contains(&id.to_string()), "{}", error.message);
                assert!(error.hint.is_some());
            }
        }
    }
}
