use core::time::Duration;

use pilot_flags::HumanDuration;
use pilot_local_api::messages::InboxQuery;
use pilot_local_api::proto::PeerRef;

use super::text;
use crate::Ctl;
use crate::failure::Failure;

/// Show the messages that are not acknowledged, oldest first; exit code 5 if there is none.
///
/// They count as read then, unless --peek.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those that nobody has read.
    #[arg(long)]
    unread: bool,
    /// If there is none, wait for one so long: 30, 30s, 5m.
    #[arg(long, value_name = "DURATION", default_value = "0", hide_default_value = true)]
    wait: HumanDuration,
    /// Leave them unread.
    #[arg(long)]
    peek: bool,
    /// Only those of this sender.
    #[arg(long, value_name = "PEER")]
    from: Option<PeerRef>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let query = InboxQuery {
        unread: args.unread,
        from: args.from.map(|from| from.to_string()),
        wait_ms: (args.wait.0 > Duration::ZERO).then(|| args.wait.as_millis()),
        peek: args.peek,
        limit: Some(args.limit),
    };
    let messages = ctl.client.inbox(&query).await?;
    ctl.ui.answer(&messages, |messages| messages.iter().map(text).collect())
}
