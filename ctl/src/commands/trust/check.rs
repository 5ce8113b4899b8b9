use pilot_local_api::proto::PeerRef;

use super::super::called;
use crate::Ctl;
use crate::failure::Failure;

/// Exit with 0 if trust with a peer is mutual now, with 4 if it is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
}

pub(crate) async fn run(Args { peer }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let view = ctl.client.trust_check(&peer).await?;
    ctl.ui.answer(&view, |view| format!("{}  {}", view.state.word(), called(&view.identity)))
}
