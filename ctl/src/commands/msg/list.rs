use pilot_local_api::messages::{MessageState, MessageView, MessagesQuery};
use pilot_local_api::proto::PeerRef;

use super::{state, to};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::table;

/// Characters of a text in a row.
const WIDTH: usize = 60;

/// List messages of this node, the newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those in this state: queued, sent, delivered, read, acked, expired.
    #[arg(long)]
    state: Option<MessageState>,
    /// Only those to this peer.
    #[arg(long, value_name = "PEER")]
    peer: Option<PeerRef>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(crate) async fn run(Args { state, peer, limit }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let peer = peer.map(|peer| peer.to_string());
    let views = ctl.client.messages(&MessagesQuery { state, peer, limit: Some(limit) }).await?;
    if views.is_empty() && !ctl.ui.json() {
        ctl.ui.say("no such messages");
        return Ok(());
    }
    ctl.ui.answer(&views, |views| table("ID\tTO\tSTATE\tQUEUED\tTEXT", views.iter().map(row)))
}

fn row(view: &MessageView) -> String {
    let (to, state, text) = (to(view), state(view), shown::short(&view.preview, WIDTH));
    format!("{}\t{to}\t{state}\t{}\t{text}", view.id, view.queued_at)
}
