use pilot_local_api::messages::AckRequest;
use pilot_local_api::proto::{MessageId, PeerRef};

use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// Say that you are done with messages: they leave the inbox, and their senders are told.
///
/// Either all of the ids are acknowledged or, if one is unknown, none.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Vec<MessageId>,
    /// Everything that is in the inbox now, read or not.
    #[arg(long)]
    all: bool,
    /// With --all, only those of this sender.
    #[arg(long, value_name = "PEER", requires = "all")]
    from: Option<PeerRef>,
}

pub(crate) async fn run(Args { id, all, from }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = AckRequest { ids: id, all, from: from.map(|from| from.to_string()) };
    let view = patiently(ctl, AtFirst::Fail, || ctl.client.ack(&request)).await?;
    ctl.ui.answer(&view, |view| format!("{} acknowledged", view.acked))
}
