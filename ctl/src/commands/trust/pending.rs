use super::rows;
use crate::Ctl;
use crate::failure::Failure;

/// List the peers that ask for trust and have no answer yet.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(Args {}: Args, ctl: &Ctl) -> Result<(), Failure> {
    let views = ctl.client.trust_pending().await?;
    if views.is_empty() && !ctl.ui.json() {
        ctl.ui.say("nobody asks for trust");
        return Ok(());
    }
    ctl.ui.answer(&views, |views| rows(views))?;
    if !ctl.ui.json() {
        ctl.ui.say("compare the fingerprint with the peer's own, then: pilotctl trust ADDRESS");
    }
    Ok(())
}
