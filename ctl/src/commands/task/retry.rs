use pilot_local_api::proto::TaskId;

use crate::Ctl;
use crate::failure::Failure;

/// Begin another attempt at a submitted task that did not succeed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TaskId,
}

pub(crate) async fn run(Args { id }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = ctl.client.retry(id).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}  attempt {}", view.id, view.state, view.attempt))
}
