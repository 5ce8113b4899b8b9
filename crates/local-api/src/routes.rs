//! The paths of the API: patterns for the daemon's router, builders for the client.
//!
//! Segments and query values are percent-encoded by the builders (RFC 3986 §2.1).

use core::fmt::{self, Write as _};

use pilot_proto::{MessageId, PeerRef, TaskId, TransferId};

/// `GET` [`WhoAmI`](crate::identity::WhoAmI).
pub const WHOAMI: &str = "/v1/whoami";
/// `GET` [`StatusView`](crate::status::StatusView).
pub const STATUS: &str = "/v1/status";
/// `GET ?wait_ms=` [`NetcheckView`](crate::network::NetcheckView).
pub const NETCHECK: &str = "/v1/netcheck";
/// `GET ?peer=&wait_ms=&client=` [`DoctorView`](crate::doctor::DoctorView).
pub const DOCTOR: &str = "/v1/doctor";
/// `GET` counters and gauges in the text format of Prometheus.
pub const METRICS: &str = "/v1/metrics";
/// `GET ?tag=` a list of [`PeerView`](crate::peers::PeerView).
pub const PEERS: &str = "/v1/peers";
/// `GET` [`ResolveView`](crate::peers::ResolveView).
pub const RESOLVE: &str = "/v1/resolve/{peer}";
/// `GET ?timeout_ms=` [`PingView`](crate::peers::PingView).
pub const PING: &str = "/v1/ping/{peer}";
/// `GET` [`PoloView`](crate::polo::PoloView).
pub const POLO: &str = "/v1/polo/{peer}";
/// `POST` a [`TrustRequest`](crate::trust::TrustRequest); `GET` a list of
/// [`TrustView`](crate::trust::TrustView), of all peers that are trusted or asked.
pub const TRUST: &str = "/v1/trust";
/// `GET` a list of [`TrustView`](crate::trust::TrustView), of the peers that ask.
pub const TRUST_PENDING: &str = "/v1/trust/pending";
/// `GET` and `DELETE` [`TrustView`](crate::trust::TrustView).
pub const TRUST_PEER: &str = "/v1/trust/{peer}";
/// `GET` [`TrustView`](crate::trust::TrustView) if mutual, else an error.
pub const TRUST_CHECK: &str = "/v1/trust/{peer}/check";
/// `POST` a [`SubmitRequest`](crate::tasks::SubmitRequest), `GET`
/// `?role=&state=&group=&dead=&limit=` a list; both of [`TaskView`](crate::tasks::TaskView).
pub const TASKS: &str = "/v1/tasks";
/// `POST` a list of [`SubmitRequest`](crate::tasks::SubmitRequest), all of which are
/// taken or none; answers a list of [`TaskView`](crate::tasks::TaskView).
pub const TASKS_BATCH: &str = "/v1/tasks/batch";
/// `POST` an [`AcceptRequest`](crate::tasks::AcceptRequest); answers
/// [`AcceptedTask`](crate::tasks::AcceptedTask) or 204.
pub const TASK_ACCEPT: &str = "/v1/tasks/accept";
/// `GET` [`TaskView`](crate::tasks::TaskView).
pub const TASK: &str = "/v1/tasks/{id}";
/// `GET ?timeout_ms=&after_revision=` [`TaskView`](crate::tasks::TaskView):
/// once the task has ended or, if a revision was given, has gone beyond it;
/// at the time-out as it then is.
pub const TASK_WAIT: &str = "/v1/tasks/{id}/wait";
/// `GET` NDJSON of [`TaskView`](crate::tasks::TaskView): as it is, then one
/// line for each change, until the task has ended.
pub const TASK_WATCH: &str = "/v1/tasks/{id}/watch";
/// `GET ?attempt=` [`ResultView`](crate::tasks::ResultView); `still_running` before the end.
pub const TASK_RESULT: &str = "/v1/tasks/{id}/result";
/// `POST ?claim=` a [`SendResultsRequest`](crate::tasks::SendResultsRequest); answers
/// [`TaskView`](crate::tasks::TaskView).
pub const TASK_RESULTS: &str = "/v1/tasks/{id}/results";
/// `POST ?claim=` a [`ProgressRequest`](crate::tasks::ProgressRequest); answers
/// [`ProgressAnswer`](crate::tasks::ProgressAnswer).
pub const TASK_PROGRESS: &str = "/v1/tasks/{id}/progress";
/// `POST` a [`DeclineRequest`](crate::tasks::DeclineRequest); answers
/// [`TaskView`](crate::tasks::TaskView).
pub const TASK_DECLINE: &str = "/v1/tasks/{id}/decline";
/// `POST ?claim=` a [`FailRequest`](crate::tasks::FailRequest); answers
/// [`TaskView`](crate::tasks::TaskView).
pub const TASK_FAIL: &str = "/v1/tasks/{id}/fail";
/// `POST` without a body: another attempt at a task that has ended otherwise than
/// well; answers [`TaskView`](crate::tasks::TaskView).
pub const TASK_RETRY: &str = "/v1/tasks/{id}/retry";
/// `GET` [`ExplainView`](crate::tasks::ExplainView).
pub const TASK_EXPLAIN: &str = "/v1/tasks/{id}/explain";
/// `POST ?claim=` a [`ReleaseRequest`](crate::tasks::ReleaseRequest); answers
/// [`TaskView`](crate::tasks::TaskView).
pub const TASK_RELEASE: &str = "/v1/tasks/{id}/release";
/// `POST ?claim=` bytes that the task's command wrote; answers nothing. `GET
/// ?follow=&attempt=` NDJSON of [`LogPiece`](crate::tasks::LogPiece): what is kept,
/// then with `follow=true` what comes, until the task has ended.
pub const TASK_LOGS: &str = "/v1/tasks/{id}/logs";
/// `POST` a [`CancelRequest`](crate::tasks::CancelRequest); answers
/// [`TaskView`](crate::tasks::TaskView).
pub const TASK_CANCEL: &str = "/v1/tasks/{id}/cancel";
/// `GET` the bytes of a file that came with the task.
pub const TASK_ATTACHMENT: &str = "/v1/tasks/{id}/attachments/{name}";
/// `POST` a [`SendRequest`](crate::transfers::SendRequest), `GET`
/// `?direction=&peer=&state=&limit=` a list, the newest first; both of
/// [`TransferView`](crate::transfers::TransferView).
pub const TRANSFERS: &str = "/v1/transfers";
/// `GET` and `DELETE` [`TransferView`](crate::transfers::TransferView); what is
/// deleted must have ended, and its folder in the inbox goes with it.
pub const TRANSFER: &str = "/v1/transfers/{id}";
/// `GET` NDJSON of [`TransferView`](crate::transfers::TransferView): as it is,
/// then after changes, at most five a second, until the transfer has ended.
pub const TRANSFER_WATCH: &str = "/v1/transfers/{id}/watch";
/// `POST` without a body; answers [`TransferView`](crate::transfers::TransferView),
/// of one that has ended as it is.
pub const TRANSFER_CANCEL: &str = "/v1/transfers/{id}/cancel";
/// `POST ?request=` one or more values of [`NewEvent`](crate::events::NewEvent),
/// one after the other; answers [`PublishedView`](crate::events::PublishedView).
pub const EVENTS: &str = "/v1/events";
/// `POST` a [`SubscribeRequest`](crate::events::SubscribeRequest); answers NDJSON
/// of [`EventLine`](crate::events::EventLine) without an end.
pub const EVENTS_SUBSCRIBE: &str = "/v1/events/subscribe";
/// `GET` [`TopicsView`](crate::events::TopicsView).
pub const EVENT_TOPICS: &str = "/v1/events/topics";
/// `GET` a list of [`CursorView`](crate::events::CursorView).
pub const EVENT_CURSORS: &str = "/v1/events/cursors";
/// `DELETE` a named subscription that nobody reads by; answers nothing.
pub const EVENT_CURSOR: &str = "/v1/events/cursors/{name}";
/// `POST` an [`AckRequest`](crate::events::AckRequest); answers nothing.
pub const EVENT_CURSOR_ACK: &str = "/v1/events/cursors/{name}/ack";
/// `GET` a list of [`RelayRule`](crate::events::RelayRule), `POST` and `DELETE` one.
pub const EVENT_RELAYS: &str = "/v1/events/relays";
/// `POST` a [`SendMessageRequest`](crate::messages::SendMessageRequest), `GET`
/// `?state=&peer=&limit=` a list, the newest first; both of
/// [`MessageView`](crate::messages::MessageView).
pub const MESSAGES: &str = "/v1/messages";
/// `POST` a [`BroadcastRequest`](crate::messages::BroadcastRequest); answers a list of
/// [`BroadcastView`](crate::messages::BroadcastView), or `unknown_peer` if there is
/// nobody to send it to.
pub const MESSAGES_BROADCAST: &str = "/v1/messages/broadcast";
/// `GET ?wait_ms=&until=` [`MessageView`](crate::messages::MessageView).
pub const MESSAGE: &str = "/v1/messages/{id}";
/// `GET ?unread=&from=&wait_ms=&peek=&limit=` a list of
/// [`InboxMessage`](crate::messages::InboxMessage), oldest first; `no_message` if
/// there is none.
pub const INBOX: &str = "/v1/inbox";
/// `GET ?from=` NDJSON of [`InboxMessage`](crate::messages::InboxMessage): what
/// nobody has read, then each as it comes; each is marked as read once it was taken.
pub const INBOX_WATCH: &str = "/v1/inbox/watch";
/// `POST` an [`AckRequest`](crate::messages::AckRequest); answers
/// [`AckView`](crate::messages::AckView).
pub const INBOX_ACK: &str = "/v1/inbox/ack";
/// `GET` the OpenAPI document.
pub const OPENAPI: &str = "/v1/openapi.json";

/// [`RESOLVE`] of a peer.
#[must_use]
pub fn resolve(peer: &PeerRef) -> String {
    filled(RESOLVE, &[&peer.to_string()])
}

/// [`PING`] of a peer.
#[must_use]
pub fn ping(peer: &PeerRef) -> String {
    filled(PING, &[&peer.to_string()])
}

/// [`POLO`] of a peer.
#[must_use]
pub fn polo(peer: &PeerRef) -> String {
    filled(POLO, &[&peer.to_string()])
}

/// [`TRUST_PEER`] of a peer.
#[must_use]
pub fn trust_peer(peer: &PeerRef) -> String {
    filled(TRUST_PEER, &[&peer.to_string()])
}

/// [`TRUST_CHECK`] of a peer.
#[must_use]
pub fn trust_check(peer: &PeerRef) -> String {
    filled(TRUST_CHECK, &[&peer.to_string()])
}

/// One of the `TASK…` patterns with the id filled in.
#[must_use]
pub fn task(pattern: &str, id: TaskId) -> String {
    filled(pattern, &[&id.to_string()])
}

/// [`TASK_ATTACHMENT`] of a task and a file name.
#[must_use]
pub fn task_attachment(id: TaskId, name: &str) -> String {
    filled(TASK_ATTACHMENT, &[&id.to_string(), name])
}

/// One of the `TRANSFER…` patterns with the id filled in.
#[must_use]
pub fn transfer(pattern: &str, id: TransferId) -> String {
    filled(pattern, &[&id.to_string()])
}

/// One of the `EVENT_CURSOR…` patterns with the name filled in.
#[must_use]
pub fn event_cursor(pattern: &str, name: &str) -> String {
    filled(pattern, &[name])
}

/// [`MESSAGE`] with the id filled in.
#[must_use]
pub fn message(id: MessageId) -> String {
    filled(MESSAGE, &[&id.to_string()])
}

/// `path` with the given `(name, value)` pairs as its query; a pair without
/// a value is left out.
#[must_use]
pub fn with_query(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut out = path.to_owned();
    let mut separator = '?';
    for (name, value) in pairs {
        if let Some(value) = value {
            out.push(separator);
            out.push_str(name);
            out.push('=');
            push(&mut out, Encoded(value));
            separator = '&';
        }
    }
    out
}

/// The pattern with each `{…}` segment replaced, in order.
fn filled(pattern: &str, values: &[&str]) -> String {
    let mut values = values.iter();
    let mut out = String::with_capacity(pattern.len() + 64);
    for segment in pattern.split('/').skip(1) {
        out.push('/');
        match segment.strip_prefix('{').and_then(|_| values.next()) {
            Some(value) => push(&mut out, Encoded(value)),
            None => out.push_str(segment),
        }
    }
    out
}

fn push(out: &mut String, encoded: Encoded<'_>) {
    // Writing to a string cannot fail.
    let _: fmt::Result = write!(out, "{encoded}");
}

/// Text in which every byte but the unreserved ones and `:` is percent-encoded.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                    f.write_char(char::from(byte))?;
                }
                other => write!(f, "%{other:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pilot_identity::Timestamp;

    use super::*;

    #[test]
    fn segments_are_filled_in_and_encoded() {
        let id = TaskId::new(Timestamp::from_millis(0), [0; 10]);

        assert_eq!(resolve(&"1:0001.0000.0002".parse().unwrap()), "/v1/resolve/1:0001.0000.0002");
        assert_eq!(task(TASK_WAIT, id), format!("/v1/tasks/{id}/wait"));
        assert_eq!(
            task_attachment(id, "a b?é%"),
            format!("/v1/tasks/{id}/attachments/a%20b%3F%C3%A9%25")
        );
        let id = TransferId::new(Timestamp::from_millis(0), [0; 10]);
        assert_eq!(transfer(TRANSFER_CANCEL, id), format!("/v1/transfers/{id}/cancel"));
    }

    #[test]
    fn a_query_holds_what_was_given() {
        let pairs = [("tag", Some("gpu=a100".to_owned())), ("x", None), ("y", Some(String::new()))];

        assert_eq!(with_query(PEERS, &pairs), "/v1/peers?tag=gpu%3Da100&y=");
        assert_eq!(with_query(PEERS, &[]), "/v1/peers");
    }
}
