use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_flags::HumanDuration;
use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::messages::{MessageState, SendMessageRequest};
use pilot_local_api::proto::{MessageId, PeerRef};

use super::verdict::{reached, verdict};
use super::{line, text};
use crate::Ctl;
use crate::failure::Failure;
use crate::payload::Payload;
use crate::random::fresh_id;
use crate::waiting::{AtFirst, patiently, until_signal};

/// Send a message to a peer. Prints its id and state once it is safe on disk.
///
/// It goes to the peer by itself, also when that is away now. Ctrl-C stops
/// waiting, not the message.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// To whom.
    peer: PeerRef,
    /// What it says: text (after `--` if it looks like a flag), `-` for stdin or `@FILE`; 1 byte to
    /// 64 KiB.
    #[arg(allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(Payload::from))]
    text: Payload,
    /// It expires if it is not delivered within this time; at most 30d [default: 7d].
    #[arg(long, value_name = "DURATION")]
    expires: Option<HumanDuration>,
    /// Wait until it is delivered, or sent, read or acked (`--wait=read`).
    #[arg(long, value_name = "STATE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "delivered", value_parser = awaited)]
    wait: Option<MessageState>,
    /// How long to wait; the message goes on beyond it (exit code 24).
    #[arg(long, value_name = "DURATION", default_value = "30s", requires = "wait")]
    timeout: HumanDuration,
}

/// A state that can be waited for.
fn awaited(word: &str) -> Result<MessageState, &'static str> {
    match word.parse() {
        Ok(MessageState::Queued | MessageState::Expired) | Err(_) => {
            Err("it is one of sent, delivered, read, acked")
        }
        Ok(state) => Ok(state),
    }
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    // The id is made here, so that the same request may be sent again.
    let id = fresh_id(MessageId::new)?;
    let request = SendMessageRequest {
        id: Some(id),
        to: args.peer,
        text: text(&args.text)?,
        expires_ms: args.expires.map(HumanDuration::as_millis),
    };
    let send = async {
        let sent = patiently(ctl, AtFirst::Fail, || ctl.client.send_message(&request)).await;
        sent.map_err(|error| Failure::from(unsure(error.into(), id)))
    };
    let view = until_signal(send, || stopped(id)).await?;
    let Some(wanted) = args.wait else { return ctl.ui.answer(&view, line) };
    ctl.ui.say(&if ctl.ui.json() {
        format!("{{\"id\":\"{id}\"}}")
    } else {
        format!("message {id} is safe here")
    });
    let waited = async {
        let view = reached(ctl, id, wanted, args.timeout.0).await?;
        ctl.ui.answer(&view, line)?;
        Ok(verdict(&view, wanted)?)
    };
    until_signal(waited, || goes_on(id)).await
}

/// The connection was lost between request and answer, and stayed lost.
fn unsure(error: ApiError, id: MessageId) -> ApiError {
    if error.code != ErrorCode::DaemonNotRunning || error.hint.is_some() {
        return error;
    }
    let message = format!("{}; whether message {id} was taken is not known", error.message);
    ApiError { message, ..error }
        .with_hint(format!("pilotctl msg status {id}"))
        .with_detail("message", id.to_string())
}

/// A signal came before the daemon's answer.
fn stopped(id: MessageId) -> ApiError {
    let message =
        format!("stopped before the daemon answered; whether message {id} was taken is not known");
    ApiError::new(ErrorCode::StillRunning, message)
        .with_hint(format!("pilotctl msg status {id}"))
        .with_detail("message", id.to_string())
}

/// A signal ended the wait, not the message.
fn goes_on(id: MessageId) -> ApiError {
    let message = format!("stopped waiting; message {id} goes on: do not send it again");
    ApiError::new(ErrorCode::StillRunning, message)
        .with_hint(format!("pilotctl msg status {id}"))
        .with_detail("message", id.to_string())
}
