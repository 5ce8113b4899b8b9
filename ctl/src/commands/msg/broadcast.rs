use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_flags::HumanDuration;
use pilot_local_api::messages::{BroadcastRequest, BroadcastView};
use pilot_local_api::proto::{MessageId, Tag};

use super::{state, text};
use crate::Ctl;
use crate::failure::Failure;
use crate::payload::Payload;
use crate::random::fresh_id;
use crate::ui::table;
use crate::waiting::{AtFirst, patiently};
use crate::{commands::cell, shown};

/// Send a message to every trusted peer that takes messages of this node.
///
/// Prints a line for each; each is a message of its own. Exit code 3 if there is nobody.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it says: text (after `--` if it looks like a flag), `-` for stdin or `@FILE`; 1 byte to
    /// 64 KiB.
    #[arg(allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(Payload::from))]
    text: Payload,
    /// Only to peers with this tag; repeatable, all must be there.
    #[arg(long, value_name = "K=V")]
    tag: Vec<Tag>,
    /// It expires if it is not delivered within this time; at most 30d [default: 7d].
    #[arg(long, value_name = "DURATION")]
    expires: Option<HumanDuration>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let request = BroadcastRequest {
        id: Some(fresh_id(MessageId::new)?),
        text: text(&args.text)?,
        tags: args.tag.iter().map(ToString::to_string).collect(),
        expires_ms: args.expires.map(HumanDuration::as_millis),
    };
    let views = patiently(ctl, AtFirst::Fail, || ctl.client.broadcast(&request)).await?;
    ctl.ui.answer(&views, |views| table("ID\tPEER\tNAME\tSTATE", views.iter().map(row)))?;
    match views.into_iter().find_map(|view| view.error) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn row(view: &BroadcastView) -> String {
    let name = cell(view.to_name.as_deref().map(shown::line));
    let (id, what) = match (&view.message, &view.error) {
        (Some(message), _) => (message.id.to_string(), state(message)),
        (None, Some(error)) => ("-".to_owned(), format!("not sent ({})", error.code)),
        (None, None) => ("-".to_owned(), "not sent".to_owned()),
    };
    format!("{id}\t{}\t{name}\t{what}", shown::line(&view.to))
}
