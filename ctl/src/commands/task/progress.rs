use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::ProgressRequest;

use crate::Ctl;
use crate::failure::Failure;

/// Tell how far an accepted task is, and learn whether to stop.
///
/// Prints `cancel requested` if its submitter wants it stopped, else `go on`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// How much of it is done, 0 to 100.
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100), required_unless_present = "note")]
    percent: Option<u8>,
    /// What there is to say; at most 4096 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    note: Option<String>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = ProgressRequest { percent: args.percent, note: args.note };
    let answer = ctl.client.progress(args.id, &request).await?;
    ctl.ui.answer(&answer, |answer| {
        if answer.cancel_requested { "cancel requested" } else { "go on" }.to_owned()
    })
}
