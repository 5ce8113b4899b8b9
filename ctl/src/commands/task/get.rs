use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::{Role, TaskView};

use super::{called, content};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::pairs;

/// Show a task: state, peer, description, every change with its time and cause.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
}

pub(crate) async fn run(Args { id }: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.task(id).await?, text)
}

fn text(task: &TaskView) -> String {
    let peer = task.peer.as_ref().map(called);
    let (submitter, worker) = match task.role {
        Role::Submitted => (None, peer),
        Role::Received => (peer, None),
    };
    let line = |text: &Option<String>| text.as_deref().map(shown::line);
    let mut text = pairs([
        ("id", Some(task.id.to_string())),
        ("state", Some(state(task))),
        ("submitted by", submitter),
        ("submitted to", worker),
        ("attempt", (task.attempt > 1).then(|| task.attempt.to_string())),
        ("retries left", (task.retries_left > 0).then(|| task.retries_left.to_string())),
        ("group", line(&task.group)),
        ("after", ids(&task.after)),
        ("input from", ids(&task.input_from)),
        ("priority", (task.priority != 0).then(|| task.priority.to_string())),
        ("created", Some(task.created_at.to_string())),
        ("deadline", task.deadline_at.as_ref().map(ToString::to_string)),
        ("progress", task.percent.map(|percent| format!("{percent} %"))),
        ("note", line(&task.note)),
        ("reason", line(&task.reason)),
    ]);
    text.push_str(&content(
        &task.params,
        &task.attachments,
        task.attached.as_ref(),
        &task.description,
    ));
    for past in &task.attempts {
        let kept = if past.has_result { " (its result is kept)" } else { "" };
        let (peer, reason) = (called(&past.peer), past.reason.as_deref().unwrap_or_default());
        let (number, at, state) = (past.attempt, &past.at, past.state);
        let reason = shown::line(reason);
        text.push_str(&format!("attempt {number}: {peer} {state} {at}{kept} {reason}\n"));
    }
    for change in &task.history {
        let cause = shown::line(&change.cause);
        text.push_str(&format!("{}  {:9}  {cause}\n", change.at, change.state.word()));
    }
    text
}

fn ids(ids: &[TaskId]) -> Option<String> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

fn state(task: &TaskView) -> String {
    let mut state = task.state.to_string();
    if task.cancel_requested && !task.state.is_terminal() {
        state.push_str(" (cancel requested)");
    }
    if task.result_pending {
        state.push_str(" (result_pending: its submitter has not confirmed it yet)");
    }
    if task.dead {
        state.push_str(" (for good; `task retry` begins another attempt)");
    }
    if task.late_result {
        state.push_str(" (a result came too late; it is kept)");
    }
    state
}
