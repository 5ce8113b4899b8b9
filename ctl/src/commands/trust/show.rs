use pilot_local_api::proto::PeerRef;

use super::whole;
use crate::Ctl;
use crate::failure::Failure;

/// Show trust with one peer: state, key, what each may use, expiry.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    peer: PeerRef,
}

pub(crate) async fn run(Args { peer }: Args, ctl: &Ctl) -> Result<(), Failure> {
    ctl.ui.answer(&ctl.client.trust_show(&peer).await?, whole)
}
