use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::DeclineRequest;

use crate::Ctl;
use crate::failure::Failure;

/// Refuse a task that was received; its submitter is told why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Why; at most 4096 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: String,
}

pub(crate) async fn run(Args { id, reason }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = ctl.client.decline(id, &DeclineRequest { reason }).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}", view.id, view.state))
}
