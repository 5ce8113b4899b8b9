use pilot_local_api::proto::TaskId;
use pilot_local_api::tasks::FailRequest;

use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// End an accepted task as failed; its submitter is told why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
    /// Why; at most 4096 bytes.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: String,
}

pub(crate) async fn run(Args { id, reason }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = FailRequest { reason, no_retry: false };
    let view = patiently(ctl, AtFirst::Wait, || ctl.client.fail(id, &request)).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}", view.id, view.state))
}
