use pilot_local_api::messages::AckRequest;
use pilot_local_api::proto::{MessageId, PeerRef};
use pilot_local_api::{ApiError, CallError};

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
    let view = if all {
        // Asked again it would be done with what came meanwhile, which nobody saw.
        ctl.client.ack(&request).await.map_err(unsure)?
    } else {
        patiently(ctl, AtFirst::Fail, || ctl.client.ack(&request)).await?
    };
    ctl.ui.answer(&view, |view| format!("{} acknowledged", view.acked))
}

/// The connection was lost between request and answer.
fn unsure(error: CallError) -> ApiError {
    let lost = matches!(error, CallError::Lost(_));
    let error = ApiError::from(error);
    if !lost {
        return error;
    }
    let message = format!("{}; whether the messages were acknowledged is not known", error.message);
    ApiError { message, ..error }.with_hint("pilotctl inbox read --peek")
}
