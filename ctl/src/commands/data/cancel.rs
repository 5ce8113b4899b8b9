use pilot_local_api::proto::TransferId;

use super::line;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// Stop a transfer, sent or received; the other side is told.
///
/// One that has ended stays as it is. Cancelling again is harmless.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    id: TransferId,
}

pub(crate) async fn run(Args { id }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let cancel = || ctl.client.cancel_transfer(id);
    let view = patiently(ctl, AtFirst::Fail, cancel).await?;
    ctl.ui.answer(&view, line)
}
