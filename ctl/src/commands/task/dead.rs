use clap::Subcommand;
use pilot_local_api::tasks::{ListQuery, Role, TaskView};

use super::{called, cell};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::table;

/// Characters of a reason in a row.
const WIDTH: usize = 80;

/// Submitted tasks that failed for good: after all of their attempts, for a
/// reason that another attempt would not mend, or because they killed their worker.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List them, the newest first; `task retry ID` begins another attempt.
    List {
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    let Command::List { limit } = command;
    let query = ListQuery {
        role: Some(Role::Submitted),
        dead: true,
        limit: Some(limit),
        ..ListQuery::default()
    };
    let tasks = ctl.client.tasks(&query).await?;
    if tasks.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no task has failed for good");
        return Ok(());
    }
    ctl.ui.answer(&tasks, |tasks| table("ID\tPEER\tATTEMPTS\tREASON", tasks.iter().map(row)))
}

fn row(task: &TaskView) -> String {
    let peer = cell(task.peer.as_ref().map(called));
    let reason = task.reason.as_deref().map(|reason| shown::short(reason, WIDTH));
    format!("{}\t{peer}\t{}\t{}", task.id, task.attempt, cell(reason))
}
