use std::path::PathBuf;

use pilot_local_api::proto::TaskId;

use super::ending::show_result;
use crate::Ctl;
use crate::failure::Failure;

/// Print the result of a task that has ended; exit code 24 if it has not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Write the files that came with it into this folder; nothing is overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    show_result(ctl, args.id, args.out.as_deref()).await
}
