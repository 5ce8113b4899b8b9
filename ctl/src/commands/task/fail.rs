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
    /// Another attempt would fail, too: the submitter makes none by itself.
    #[arg(long)]
    no_retry: bool,
}

pub(crate) async fn run(Args { id, reason, no_retry }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = FailRequest { reason, no_retry };
    let view = patiently(ctl, AtFirst::Wait, || ctl.client.fail(id, &request)).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}", view.id, view.state))
}
