use core::time::Duration;

use pilot_local_api::CallError;
use pilot_local_api::client::Lines;
use pilot_local_api::messages::{InboxMessage, WatchQuery};
use pilot_local_api::proto::{MessageId, PeerRef};

use super::text;
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// The pause after a stream that brought nothing: the daemon may be unable to
/// write down what it gave out.
const AGAIN: Duration = Duration::from_secs(1);

/// Show what nobody has read, then each message as it comes, until Ctrl-C.
///
/// Each counts as read once it was given out. A daemon that restarts is waited for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those of this sender.
    #[arg(long, value_name = "PEER")]
    from: Option<PeerRef>,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let query = WatchQuery { from: args.from.map(|from| from.to_string()) };
    let mut at_first = AtFirst::Fail;
    // If the daemon died between giving it out and noting that, it comes again.
    let mut last: Option<MessageId> = None;
    loop {
        let mut lines = patiently(ctl, at_first, || ctl.client.watch_inbox(&query)).await?;
        at_first = AtFirst::Wait;
        let before = last;
        while let Some(message) = next(&mut lines).await? {
            if last != Some(message.id) {
                ctl.ui.answer(&message, text)?;
            }
            last = Some(message.id);
        }
        if last == before {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// None once the stream has ended or was cut.
async fn next(lines: &mut Lines<InboxMessage>) -> Result<Option<InboxMessage>, Failure> {
    match lines.next().await {
        Ok(line) => Ok(line),
        Err(CallError::Lost(_)) => Ok(None),
        Err(error @ (CallError::Unsent(_) | CallError::Refused(_))) => Err(error.into()),
    }
}
