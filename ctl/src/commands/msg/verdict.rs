//! How a message that is waited for is: its exit code.

use core::time::Duration;
use std::time::Instant;

use pilot_local_api::errors::{ApiError, ErrorCode};
use pilot_local_api::messages::{MessageQuery, MessageState, MessageView};
use pilot_local_api::proto::MessageId;

use super::{state, to};
use crate::Ctl;
use crate::failure::Failure;
use crate::waiting::{AtFirst, patiently};

/// The longest single wait that is asked of the daemon.
const ONE_WAIT: Duration = Duration::from_secs(60);

/// Waits until a message has come to `wanted`, cannot come there for now, or
/// `limit` is over; the message as it then is. A daemon that restarts meanwhile is
/// waited for.
pub(super) async fn reached(
    ctl: &Ctl,
    id: MessageId,
    wanted: MessageState,
    limit: Duration,
) -> Result<MessageView, Failure> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed()).min(ONE_WAIT);
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let query = MessageQuery { wait_ms: Some(wait_ms), until: Some(wanted) };
        let view = patiently(ctl, AtFirst::Wait, || ctl.client.message(id, query)).await?;
        if began.elapsed() >= limit || verdict(&view, wanted).map_or_else(is_final, |()| true) {
            return Ok(view);
        }
    }
}

fn is_final(error: ApiError) -> bool {
    error.code != ErrorCode::StillRunning
}

/// Success if the message has come to `wanted`, else why it has not.
pub(super) fn verdict(view: &MessageView, wanted: MessageState) -> Result<(), ApiError> {
    if view.state.has_reached(wanted) {
        return Ok(());
    }
    let (id, to) = (view.id, to(view));
    let undelivered = !view.state.has_reached(MessageState::Delivered);
    let (code, message) = match view.trouble.as_deref() {
        _ if view.state == MessageState::Expired => (
            ErrorCode::MessageExpired,
            format!("message {id} to {to} was not delivered in its time: it is {}", state(view)),
        ),
        Some("inbox_full") if undelivered => (
            ErrorCode::InboxFull,
            format!(
                "the inbox of {to} is full: message {id} is kept here and goes when there is \
                 room; do not send it again"
            ),
        ),
        Some("not_allowed") if undelivered => (
            ErrorCode::NotAllowed,
            format!(
                "{to} takes no messages of this node: message {id} is kept here and goes if that \
                 changes"
            ),
        ),
        Some(_) | None => (
            ErrorCode::StillRunning,
            format!(
                "message {id} to {to} is still {}: it goes on; do not send it again",
                state(view)
            ),
        ),
    };
    Err(ApiError::new(code, message)
        .with_hint(format!("pilotctl msg status {id}"))
        .with_detail("message", id.to_string())
        .with_detail("state", view.state.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_exit_code() {
        let view = |state: MessageState, trouble: Option<&str>| -> MessageView {
            let text = format!(
                r#"{{"id":"01234567-89ab-7cde-8f01-23456789abcd","state":"{state}",
                    "to":"1:0001.0000.0002","to_name":"b","preview":"x","bytes":1,
                    "queued_at":"t","expires_at":"t"}}"#
            );
            let view: MessageView = serde_json::from_str(&text).unwrap();
            MessageView { trouble: trouble.map(str::to_owned), ..view }
        };
        let delivered = MessageState::Delivered;
        let table = [
            (MessageState::Queued, None, delivered, 24),
            (MessageState::Queued, Some("unreachable"), delivered, 24),
            (MessageState::Queued, Some("inbox_full"), delivered, 10),
            (MessageState::Queued, Some("not_allowed"), delivered, 4),
            (MessageState::Sent, None, delivered, 24),
            (delivered, None, delivered, 0),
            (delivered, None, MessageState::Read, 24),
            (MessageState::Acked, None, MessageState::Read, 0),
            (MessageState::Expired, None, delivered, 23),
            (MessageState::Expired, Some("unconfirmed"), MessageState::Queued, 23),
        ];
        for (state, trouble, wanted, exit) in table {
            let verdict = verdict(&view(state, trouble), wanted);
            let code = verdict.as_ref().map_or_else(|error| error.code.exit_code(), |()| 0);
            assert_eq!(code, exit, "{state} {trouble:?} {wanted}");
            if let Err(error) = verdict {
                assert!(error.hint.is_some_and(|hint| hint.starts_with("pilotctl msg status")));
            }
        }
    }
}
