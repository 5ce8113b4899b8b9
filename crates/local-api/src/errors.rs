//! What can go wrong, as a closed list.
//!
//! | code | exit | HTTP | meaning |
//! |---|---|---|---|
//! | `internal` | 1 | 500 | a fault of the program itself |
//! | `invalid_argument` | 2 | 400 | the request breaks a rule |
//! | `not_found` | 3 | 404 | no such thing (file, path of the API) |
//! | `unknown_peer` | 3 | 404 | nobody has this address, name or key |
//! | `unknown_task` | 3 | 404 | no task with this id here |
//! | `unknown_transfer` | 3 | 404 | no transfer with this id here |
//! | `unknown_cursor` | 3 | 404 | no named subscription of this name here |
//! | `unknown_message` | 3 | 404 | no message with this id here |
//! | `not_trusted` | 4 | 403 | there is no mutual trust with this peer |
//! | `not_allowed` | 4 | 403 | trusted, but not for this |
//! | `identity_changed` | 4 | 403 | the address now belongs to another key than the pinned one |
//! | `fingerprint_mismatch` | 4 | 403 | the key is not the one that was asked for |
//! | `peer_one_way_trust` | 4 | 403 | this node trusts the peer, the peer not this node |
//! | `no_task` | 5 | 404 | waited, and nothing came |
//! | `no_event` | 5 | 404 | waited, and no event came (made by the client) |
//! | `no_message` | 5 | 404 | looked or waited, and there is no message |
//! | `not_direct` | 5 | 504 | waited, and the peer is still reached through a relay (made by the client) |
//! | `daemon_not_running` | 6 | 503 | nobody listens on the socket (made by the client) |
//! | `peer_unreachable` | 7 | 503 | the peer does not answer |
//! | `rendezvous_unreachable` | 7 | 503 | the rendezvous does not answer |
//! | `conflict` | 8 | 409 | it is in a state that does not permit this |
//! | `name_taken` | 8 | 409 | another key has this name |
//! | `already_running` | 8 | 409 | another daemon has this home |
//! | `grant_replayed` | 8 | 409 | a grant that was seen before |
//! | `grant_stale` | 8 | 409 | a grant older than the one that is held |
//! | `version_mismatch` | 9 | 426 | the two sides have no version in common |
//! | `too_large` | 10 | 413 | over the limit of a message |
//! | `limit_exceeded` | 10 | 422 | over another limit |
//! | `queue_full` | 10 | 503 | the queue is full; later |
//! | `mailbox_full` | 10 | 503 | the peer's mailbox at the rendezvous is full; later |
//! | `inbox_full` | 10 | 503 | the peer's inbox is full; the message is kept and goes when there is room |
//! | `disk_full` | 10 | 507 | the disk is full; nothing was lost |
//! | `quota_exceeded` | 10 | 507 | more than the receiver keeps of this node's files; later |
//! | `rate_limited` | 10 | 429 | too often; later |
//! | `task_failed` | 20 | 409 | the task ended as failed |
//! | `transfer_failed` | 20 | 409 | the transfer ended as failed |
//! | `task_declined` | 21 | 409 | the worker did not want it |
//! | `task_cancelled` | 22 | 409 | the task was cancelled |
//! | `transfer_cancelled` | 22 | 409 | the transfer was cancelled |
//! | `task_expired` | 23 | 409 | a deadline or time-out of the task passed |
//! | `transfer_expired` | 23 | 409 | the transfer was not done in its time |
//! | `message_expired` | 23 | 409 | the message was not delivered in its time |
//! | `still_running` | 24 | 409 | the task or transfer has not ended, the message is not there yet: wait again, do not submit or send again |
//! | `input_required` | 25 | 409 | the worker needs something to go on |
//!
//! Whether a later try can help is in each error; [`ErrorCode::retryable`] is
//! the usual answer.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Declares the codes once: variant, word, exit code, HTTP status, retryable.
macro_rules! error_codes {
    ($($variant:ident $word:literal $exit:literal $status:literal $retryable:literal $doc:literal;)+) => {
        /// The kind of an error; the words, exit codes and statuses are in the
        /// table of this module.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(rename_all = "snake_case"))]
        pub enum ErrorCode {
            $(#[doc = $doc] $variant,)+
        }

        impl ErrorCode {
            /// Every code there is, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word in `error.code`.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The exit code of a command that ends with it.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit,)+ }
            }

            /// The HTTP status of an answer that carries it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Whether the same request may succeed later, unchanged.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }
        }
    };
}

error_codes! {
    Internal "internal" 1 500 false "A fault of the program itself.";
    InvalidArgument "invalid_argument" 2 400 false "The request breaks a rule.";
    NotFound "not_found" 3 404 false "No such thing.";
    UnknownPeer "unknown_peer" 3 404 false "Nobody has this address, name or key.";
    UnknownTask "unknown_task" 3 404 false "No task with this id here.";
    UnknownTransfer "unknown_transfer" 3 404 false "No transfer with this id here.";
    UnknownCursor "unknown_cursor" 3 404 false "No named subscription of this name here.";
    UnknownMessage "unknown_message" 3 404 false "No message with this id here.";
    NotTrusted "not_trusted" 4 403 false "There is no mutual trust with this peer.";
    NotAllowed "not_allowed" 4 403 false "Trusted, but not for this.";
    IdentityChanged "identity_changed" 4 403 false "The address belongs to another key than the pinned one.";
    FingerprintMismatch "fingerprint_mismatch" 4 403 false "The key is not the one that was asked for.";
    PeerOneWayTrust "peer_one_way_trust" 4 403 false "This node trusts the peer, the peer not this node.";
    NoTask "no_task" 5 404 true "Waited, and nothing came.";
    NoEvent "no_event" 5 404 true "Waited, and no event came.";
    NoMessage "no_message" 5 404 true "Looked or waited, and there is no message.";
    NotDirect "not_direct" 5 504 true "Waited, and the peer is still reached through a relay.";
    DaemonNotRunning "daemon_not_running" 6 503 true "Nobody listens on the socket.";
    PeerUnreachable "peer_unreachable" 7 503 true "The peer does not answer.";
    RendezvousUnreachable "rendezvous_unreachable" 7 503 true "The rendezvous does not answer.";
    Conflict "conflict" 8 409 false "It is in a state that does not permit this.";
    NameTaken "name_taken" 8 409 false "Another key has this name.";
    AlreadyRunning "already_running" 8 409 false "Another daemon has this home.";
    GrantReplayed "grant_replayed" 8 409 false "A grant that was seen before.";
    GrantStale "grant_stale" 8 409 false "A grant older than the one that is held.";
    VersionMismatch "version_mismatch" 9 426 false "The two sides have no version in common.";
    TooLarge "too_large" 10 413 false "Over the limit of a message.";
    LimitExceeded "limit_exceeded" 10 422 false "Over another limit.";
    QueueFull "queue_full" 10 503 true "The queue is full.";
    MailboxFull "mailbox_full" 10 503 true "The peer's mailbox at the rendezvous is full.";
    InboxFull "inbox_full" 10 503 true "The peer's inbox is full.";
    DiskFull "disk_full" 10 507 true "The disk is full.";
    QuotaExceeded "quota_exceeded" 10 507 true "More than the receiver keeps of this node's files.";
    RateLimited "rate_limited" 10 429 true "Too often.";
    TaskFailed "task_failed" 20 409 false "The task ended as failed.";
    TransferFailed "transfer_failed" 20 409 false "The transfer ended as failed.";
    TaskDeclined "task_declined" 21 409 false "The worker did not want the task.";
    TaskCancelled "task_cancelled" 22 409 false "The task was cancelled.";
    TransferCancelled "transfer_cancelled" 22 409 false "The transfer was cancelled.";
    TaskExpired "task_expired" 23 409 false "A deadline or time-out of the task passed.";
    TransferExpired "transfer_expired" 23 409 false "The transfer was not done in its time.";
    MessageExpired "message_expired" 23 409 false "The message was not delivered in its time.";
    StillRunning "still_running" 24 409 true "The task, transfer or message is not there yet.";
    InputRequired "input_required" 25 409 false "The worker needs something to go on.";
}

/// A word that is no [`ErrorCode`] of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown error code")]
pub struct UnknownErrorCode;

impl FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    fn from_str(word: &str) -> Result<Self, UnknownErrorCode> {
        Self::ALL.iter().copied().find(|code| code.word() == word).ok_or(UnknownErrorCode)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// A code of a newer daemon reads as [`ErrorCode::Internal`]; its message says the rest.
impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.parse().unwrap_or(Self::Internal))
    }
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ApiError,
}

/// What went wrong, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiError {
    /// Which kind.
    pub code: ErrorCode,
    /// One sentence, lower case, without a period.
    pub message: String,
    /// A command that can be pasted and is likely to help.
    #[serde(default)]
    pub hint: Option<String>,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// Values for programs, by name: `peer`, `task`, `transfer`, `message`, `nearest`, `limit`, `retry_after_ms`, …
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: Box<Map<String, Value>>,
}

impl ApiError {
    /// An error without hint and details.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retryable: code.retryable(),
            details: Box::default(),
        }
    }

    /// Adds the command that is likely to help.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a value for programs.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_words_are_unique_and_read_back() {
        let words: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.word()).collect();

        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(code.word().parse(), Ok(*code));
            assert!(code.word().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_')));
            assert!(!matches!(code.http_status(), 0..400));
        }
    }

    #[test]
    fn the_table_of_the_module_is_this_one() {
        let source = include_str!("errors.rs");
        let wanted: Vec<String> = ErrorCode::ALL
            .iter()
            .map(|code| format!("//! | `{code}` | {} | {}", code.exit_code(), code.http_status()))
            .collect();

        let table: Vec<String> = source
            .lines()
            .filter(|line| line.starts_with("//! | `"))
            .map(|line| line.splitn(5, " | ").take(4).collect::<Vec<_>>().join(" | "))
            .collect();

        assert_eq!(table, wanted);
    }

    #[test]
    fn a_code_of_a_newer_daemon_is_still_an_error() {
        let text = r#"{"error":{"code":"moon_phase","message":"not today","new":1}}"#;

        let body: ErrorBody = serde_json::from_str(text).unwrap();

        assert_eq!(body.error.code, ErrorCode::Internal);
        assert_eq!(body.error.message, "not today");
    }
}
