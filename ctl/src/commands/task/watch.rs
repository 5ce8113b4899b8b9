use core::time::Duration;

use pilot_flags::HumanDuration;
use pilot_local_api::CallError;
use pilot_local_api::client::Lines;
use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::TaskView;

use super::ending::{goes_on, still_running};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Print a task as it is, then a line for each change, until it has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// How long to watch; exit code 24 if the task goes on [default: until it has ended].
    #[arg(long, value_name = "DURATION")]
    timeout: Option<HumanDuration>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let id = args.id;
    let limit = args.timeout.map_or(Duration::MAX, |limit| limit.0);
    let mut seen: Option<TaskView> = None;
    let watched = async {
        let ended = tokio::time::timeout(limit, follow(ctl, id, &mut seen)).await;
        match (ended, seen) {
            (Ok(ended), _) => ended,
            (Err(_elapsed), Some(view)) => Err(still_running(id, view.state).into()),
            (Err(_elapsed), None) => Err(goes_on(id).into()),
        }
    };
    until_signal(watched, || goes_on(id)).await
}

/// Prints every revision once, also when the daemon restarts in between.
async fn follow(ctl: &Ctl, id: TaskId, seen: &mut Option<TaskView>) -> Result<(), Failure> {
    loop {
        let mut lines = patiently(ctl, AtFirst::Wait, || ctl.client.watch(id)).await?;
        while let Some(view) = next(&mut lines).await? {
            if seen.as_ref().is_none_or(|seen| view.revision > seen.revision) {
                ctl.ui.answer(&view, text)?;
            }
            let ended = view.state.is_terminal();
            *seen = Some(view);
            if ended {
                return Ok(());
            }
        }
    }
}

/// None once the stream has ended or was cut.
async fn next(lines: &mut Lines<TaskView>) -> Result<Option<TaskView>, Failure> {
    match lines.next().await {
        Ok(line) => Ok(line),
        Err(CallError::Lost(_)) => Ok(None),
        Err(error @ (CallError::Unsent(_) | CallError::Refused(_))) => Err(error.into()),
    }
}

fn text(view: &TaskView) -> String {
    let percent = view.percent.map(|percent| format!("  {percent} %")).unwrap_or_default();
    let said = view.reason.as_ref().or(view.note.as_ref());
    let said = said.map(|said| format!("  {}", shown::line(said))).unwrap_or_default();
    let cancel = if view.cancel_requested && !view.state.is_terminal() {
        "  (cancel requested)"
    } else {
        ""
    };
    format!("{}  {}{cancel}{percent}{said}", view.id, view.state)
}
