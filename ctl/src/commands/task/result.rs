use std::path::PathBuf;

use pilot_local_api::proto::TaskId;

use super::ending::show_result_of;
use crate::Ctl;
use crate::failure::Failure;

/// Print the result of a task that has ended; exit code 24 if it has not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Of this attempt, if not of the last: `task get` lists them.
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Write the files that came with it into this folder; nothing is overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    show_result_of(ctl, args.id, args.attempt, args.out.as_deref()).await
}
