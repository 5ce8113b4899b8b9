use pilot_local_api::proto::PeerRef;

use super::called;
use crate::Ctl;
use crate::failure::Failure;

/// End trust with a peer at once: tunnels are closed, its queued work is
/// refused, and it is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
}

pub(crate) async fn run(Args { peer }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = ctl.client.untrust(&peer).await?;
    ctl.ui.answer(&view, |view| format!("untrusted  {}", called(&view.identity)))
}
