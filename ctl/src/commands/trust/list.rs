use super::rows;
use crate::Ctl;
use crate::failure::Failure;

/// List the peers that are trusted or asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(Args {}: Args, ctl: &Ctl) -> Result<(), Failure> {
    let views = ctl.client.trust_list().await?;
    if views.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no peer is trusted; to trust one: pilotctl trust PEER");
        return Ok(());
    }
    ctl.ui.answer(&views, |views| rows(views))
}
