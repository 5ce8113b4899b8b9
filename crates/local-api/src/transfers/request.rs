//! What is asked of the daemon.

use pilot_proto::{TaskId, TransferId};
use serde::{Deserialize, Serialize};

use super::{Direction, PathText, TransferState};

/// `POST transfers`. The answer is sent once the list of what is sent, and the
/// transfer itself, are safe on disk; the content is read from where it lies
/// while it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SendRequest {
    /// An id that whoever asks has made, a UUIDv7: asked again with the same
    /// one, it is the same transfer, and nothing is sent twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub id: Option<TransferId>,
    /// The receiver's node: its address, name or key.
    pub to: String,
    /// Files, folders and symbolic links, each by its absolute path; at least one.
    pub paths: Vec<PathText>,
    /// What the receiver reads beside the names; at most 255 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The task that it belongs to, for whoever reads both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = "uuid"))]
    pub task: Option<TaskId>,
    /// Patterns of what is left out, such as `*.o`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether what the `.gitignore` files in the folders name is left out.
    #[serde(default)]
    pub gitignore: bool,
    /// Time until it expires if it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Bytes a second that it takes of the line at most; [`LEAST_LIMIT`] or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where the content is read from while it is sent.
    #[serde(default)]
    pub keep: Keep,
}

/// Bytes a second of the smallest [`SendRequest::limit`].
pub const LEAST_LIMIT: u64 = 1000;

/// Where the content of a transfer is read from while it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Keep {
    /// From where it lies: it has to stay there as it is.
    #[default]
    InPlace,
    /// From a copy in the daemon's home, which is made before the answer.
    Copy,
    /// From the daemon's home, to which the paths are moved before the answer:
    /// they are on the same file system.
    Take,
}

/// The query of `GET transfers`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransfersQuery {
    /// Only those that were sent, or received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Only those to or from this node: its address, name or key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TransferState>,
    /// At most so many, the newest first; the daemon's default is 100 and its most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_request_is_a_peer_and_a_path_and_nothing_unknown_is_let_in() {
        let least = r#"{"to":"backend","paths":["/a"]}"#;

        let request: SendRequest = serde_json::from_str(least).unwrap();

        assert_eq!(request.paths, [PathText::Text("/a".to_owned())]);
        assert_eq!((request.label, request.exclude, request.expires_ms), (None, vec![], None));
        assert!(!request.gitignore);
        assert_eq!((request.limit, request.keep), (None, Keep::InPlace));
        let unknown = r#"{"to":"backend","paths":["/a"],"follow":true}"#;
        assert!(serde_json::from_str::<SendRequest>(unknown).is_err());
    }

    #[test]
    fn the_query_reads_the_words_of_the_route() {
        let text = r#"{"direction":"received","state":"done","limit":7}"#;

        let query: TransfersQuery = serde_json::from_str(text).unwrap();

        assert_eq!(query.direction, Some(Direction::Received));
        assert_eq!(query.state, Some(TransferState::Done));
        assert_eq!(serde_json::to_string(&query).unwrap(), text);
        assert!(serde_json::from_str::<TransfersQuery>(r#"{"from":"x"}"#).is_err());
    }
}
