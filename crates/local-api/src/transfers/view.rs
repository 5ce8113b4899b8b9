//! A transfer as the daemon shows it.

use core::fmt;
use core::str::FromStr;

use pilot_proto::{TaskId, TransferId};
use serde::{Deserialize, Serialize};

use super::PathText;
use crate::Time;

/// Names in [`TransferView::names`]; the others are left out.
pub const TOP_NAMES: usize = 10;

/// Which end of a transfer this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Direction {
    /// It goes out from here.
    Sent,
    /// It comes in here.
    Received,
}

impl Direction {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// Where a transfer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TransferState {
    /// At the sender; the peer was not reached yet.
    Waiting,
    /// At the sender, under way.
    Sending,
    /// At the receiver, under way.
    Receiving,
    /// Whole, verified, and safe on the receiver's disk.
    Done,
    /// Given up.
    Failed,
    /// Ended by one of the two sides.
    Cancelled,
    /// Not done in its time.
    Expired,
}

/// A word that is no transfer state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transfer state is one of waiting, sending, receiving, done, failed, cancelled, expired")]
pub struct TransferStateError;

impl TransferState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Sending,
        Self::Receiving,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Receiving => "receiving",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Waiting | Self::Sending | Self::Receiving => false,
            Self::Done | Self::Failed | Self::Cancelled | Self::Expired => true,
        }
    }
}

impl fmt::Display for TransferState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for TransferState {
    type Err = TransferStateError;

    fn from_str(word: &str) -> Result<Self, TransferStateError> {
        Self::ALL.into_iter().find(|state| state.word() == word).ok_or(TransferStateError)
    }
}

/// Why a transfer ended without being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransferProblem {
    /// Which kind, in a word: `disk_full`, `quota_exceeded`, …
    pub code: String,
    /// One sentence, lower case, without a period; a peer may have written it.
    pub message: String,
}

/// A transfer as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransferView {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: TransferId,
    /// Which end of it is here.
    pub direction: Direction,
    /// The other node's address, or its key in short as long as no address is known.
    pub peer: String,
    /// The other node's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// Where it is in its life.
    pub state: TransferState,
    /// What the sender said about it; may be empty.
    pub label: String,
    /// The task that it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub task: Option<TaskId>,
    /// How many files it has.
    pub files: u64,
    /// How many folders it has.
    pub folders: u64,
    /// How many symbolic links it has.
    pub links: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes of them that have arrived and are verified.
    pub bytes_done: u64,
    /// Files of which all bytes are.
    #[serde(default)]
    pub files_done: u64,
    /// Bytes a second that its sender gives it at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The first [`TOP_NAMES`] names at its top.
    #[serde(default)]
    pub names: Vec<PathText>,
    /// Of one that was received and is done: the absolute path of its folder in the inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathText>,
    /// When it was sent (or first heard of), by this node's clock.
    pub created_at: Time,
    /// When it ended, by this node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Why it ended without being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TransferProblem>,
    /// Why it does not go on just now; it does by itself once that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TransferProblem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_states_read_back() {
        for state in TransferState::ALL {
            assert_eq!(state.word().parse(), Ok(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
            assert!(TransferStateError.to_string().contains(state.word()));
        }
        assert_eq!("gone".parse::<TransferState>(), Err(TransferStateError));
        let ended: Vec<&str> = TransferState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
            .map(TransferState::word)
            .collect();
        assert_eq!(ended, ["done", "failed", "cancelled", "expired"]);
    }

    #[test]
    fn a_view_of_a_newer_daemon_is_read_and_written_without_what_is_not_there() {
        let text = r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","direction":"received","peer":"1:0001.0000.0002","state":"receiving","label":"","files":2,"folders":1,"links":0,"bytes":7,"bytes_done":3,"files_done":1,"names":["src",{"base64":"/w=="}],"created_at":"2026-02-09T12:00:00.000Z"}"#;
        let newer = text.replace("{\"id\"", "{\"of_a_newer_daemon\":true,\"id\"");

        let view: TransferView = serde_json::from_str(&newer).unwrap();

        assert_eq!(view.state, TransferState::Receiving);
        assert_eq!(view.names[1].as_bytes(), b"\xff");
        assert_eq!((&view.folder, &view.ended_at, &view.error), (&None, &None, &None));
        assert_eq!(serde_json::to_string(&view).unwrap(), text);
    }
}
