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
    for change in &task.history {
        let cause = shown::line(&change.cause);
        text.push_str(&format!("{}  {:9}  {cause}\n", change.at, change.state.word()));
    }
    text
}

fn state(task: &TaskView) -> String {
    let mut state = task.state.to_string();
    if task.cancel_requested && !task.state.is_terminal() {
        state.push_str(" (cancel requested)");
    }
    if task.result_pending {
        state.push_str(" (result_pending: its submitter has not confirmed it yet)");
    }
    if task.late_result {
        state.push_str(" (a result came too late; it is kept)");
    }
    state
}
