mod broadcast;
mod list;
mod send;
mod status;
mod verdict;

use clap::Subcommand;
use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::messages::MessageView;
use pilot_local_api::proto::messages::MAX_MESSAGE_TEXT;

use crate::Ctl;
use crate::failure::Failure;
use crate::payload::{Payload, Payloads};
use crate::shown;

/// Send messages to peers, and look how far they are.
///
/// A message is safe on this node's disk when `send` returns, reaches a peer that
/// is away when it returns, and in the order in which messages were sent. Its states
/// are queued, sent (handed to the peer's stream), delivered (safe on the peer's
/// disk), read, acked; or expired.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Send(send::Args),
    Broadcast(broadcast::Args),
    Status(status::Args),
    List(list::Args),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        Command::Send(args) => Box::pin(send::run(args, ctl)).await,
        Command::Broadcast(args) => broadcast::run(args, ctl).await,
        Command::Status(args) => status::run(args, ctl).await,
        Command::List(args) => list::run(args, ctl).await,
    }
}

/// What a message is to say; one that is too long is not sent to the daemon.
fn text(payload: &Payload) -> Result<String, Failure> {
    let text = Payloads::default().text(payload, "TEXT")?;
    if text.len() > MAX_MESSAGE_TEXT {
        let message = format!(
            "the message has {} bytes, {MAX_MESSAGE_TEXT} are allowed; nothing was sent",
            text.len()
        );
        return Err(ApiError::new(ErrorCode::TooLarge, message)
            .with_hint("pilotctl data send PEER FILE")
            .with_detail("limit", MAX_MESSAGE_TEXT)
            .into());
    }
    Ok(text)
}

/// To whom: name and address.
fn to(view: &MessageView) -> String {
    match &view.to_name {
        Some(name) => format!("{} ({})", shown::line(name), shown::line(&view.to)),
        None => shown::line(&view.to),
    }
}

/// Where it is, and why it is no further: `queued (inbox_full)`.
fn state(view: &MessageView) -> String {
    match &view.trouble {
        Some(trouble) => format!("{} ({})", view.state, shown::line(trouble)),
        None => view.state.to_string(),
    }
}

fn line(view: &MessageView) -> String {
    format!("{}  {}", view.id, state(view))
}
