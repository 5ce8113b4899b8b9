use clap::ValueEnum;
use pilot_local_api::tasks::{ListQuery, Role, TaskState, TaskView};

use super::{called, cell};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::table;

/// Characters of a description in a row.
const WIDTH: usize = 60;

/// List tasks, the newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those that were submitted here, or received here.
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// Only those in this state: queued, delivered, accepted, running, succeeded, failed, …
    #[arg(long)]
    state: Option<TaskState>,
    /// Only those that were submitted in this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Submitted,
    Received,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let role = args.role.map(|role| match role {
        RoleArg::Submitted => Role::Submitted,
        RoleArg::Received => Role::Received,
    });
    let query = ListQuery {
        role,
        state: args.state,
        group: args.group,
        limit: Some(args.limit),
        ..ListQuery::default()
    };
    let tasks = ctl.client.tasks(&query).await?;
    if tasks.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no such tasks");
        return Ok(());
    }
    ctl.ui.answer(&tasks, |tasks| {
        table("ID\tROLE\tSTATE\tPEER\tCREATED\tDONE\tDESCRIPTION", tasks.iter().map(row))
    })
}

fn row(task: &TaskView) -> String {
    let (id, role, state) = (task.id, task.role.word(), task.state);
    let pending = if task.result_pending { " (result_pending)" } else { "" };
    let done = cell(task.percent.map(|percent| format!("{percent} %")));
    let description = shown::short(&task.description, WIDTH);
    let (peer, created) = (cell(task.peer.as_ref().map(called)), &task.created_at);
    format!("{id}\t{role}\t{state}{pending}\t{peer}\t{created}\t{done}\t{description}")
}
