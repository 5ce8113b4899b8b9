use pilot_local_api::messages::{MessageQuery, MessageView};
use pilot_local_api::proto::MessageId;

use super::{state, to};
use crate::Ctl;
use crate::failure::Failure;
use crate::shown;
use crate::ui::pairs;

/// Show messages of this node: how far each is, since when, and why no further.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true)]
    id: Vec<MessageId>,
}

pub(crate) async fn run(Args { id: ids }: Args, ctl: &Ctl) -> Result<(), Failure> {
    let mut views = Vec::with_capacity(ids.len());
    for id in ids {
        views.push(ctl.client.message(id, MessageQuery::default()).await?);
    }
    match views.as_slice() {
        [view] => ctl.ui.answer(view, text),
        _ => ctl.ui.answer(&views, |views| {
            let texts: Vec<String> = views.iter().map(text).collect();
            texts.join("\n")
        }),
    }
}

fn text(view: &MessageView) -> String {
    let time = |time: &Option<pilot_local_api::Time>| time.as_ref().map(ToString::to_string);
    let ended = view.delivered_at.is_some() || view.expired_at.is_some();
    pairs([
        ("id", Some(view.id.to_string())),
        ("to", Some(to(view))),
        ("state", Some(state(view))),
        ("text", Some(shown::line(&view.preview))),
        ("bytes", Some(view.bytes.to_string())),
        ("queued", Some(view.queued_at.to_string())),
        ("sent", time(&view.sent_at)),
        ("delivered", time(&view.delivered_at)),
        ("read", time(&view.read_at)),
        ("acked", time(&view.acked_at)),
        ("expired", time(&view.expired_at)),
        ("expires", (!ended).then(|| view.expires_at.to_string())),
    ])
}
