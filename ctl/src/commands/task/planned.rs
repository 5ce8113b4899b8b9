//! Options about who does a task, when, and how often it is tried.

use clap::ValueEnum;
use pilot_local_api::proto::{Tag, TaskId};
use pilot_local_api::tasks::{OnDepFailure, Preference, SubmitRequest};

/// See the module.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Planned {
    /// A tag that a worker must have, with --to any or tag:…; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    require: Vec<Tag>,
    /// What counts first, second, … among those that could do it [default: idle,latency,polo].
    #[arg(long, value_name = "polo,idle,latency", value_delimiter = ',')]
    prefer: Vec<Preference>,
    /// Further attempts if it fails, each after a longer pause (1 s to 5 min).
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
    /// A name under which tasks are listed and waited for together.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A task of this node that has to be over first; repeatable.
    #[arg(long, value_name = "ID")]
    after: Vec<TaskId>,
    /// What becomes of it if one of those does not succeed.
    #[arg(long, value_enum, default_value = "cancel")]
    on_dep_failure: OnFailure,
    /// A task of this node whose result its worker is given; it comes after it. Repeatable.
    #[arg(long, value_name = "ID")]
    input_from: Vec<TaskId>,
    /// Of the tasks with the same key only one at a time is worked on.
    #[arg(long, value_name = "KEY")]
    exclusive: Option<String>,
    /// The result stays at the worker, where --input-from and `task result` take it from.
    #[arg(long)]
    leave_result: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnFailure {
    Cancel,
    Run,
}

impl Planned {
    /// The request with all of that in it.
    pub(super) fn of(self, request: SubmitRequest) -> SubmitRequest {
        SubmitRequest {
            require: self.require,
            prefer: self.prefer,
            retries: self.retries,
            group: self.group,
            after: self.after,
            on_dep_failure: match self.on_dep_failure {
                OnFailure::Cancel => OnDepFailure::Cancel,
                OnFailure::Run => OnDepFailure::Run,
            },
            input_from: self.input_from,
            exclusive: self.exclusive,
            leave_result: self.leave_result,
            ..request
        }
    }

    /// The group, or a fresh one for tasks that are submitted together.
    pub(super) fn in_group(self, fresh: impl FnOnce() -> String) -> Self {
        let group = Some(self.group.unwrap_or_else(fresh));
        Self { group, ..self }
    }
}
