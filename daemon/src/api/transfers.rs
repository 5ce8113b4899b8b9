//! Transfers of files: send, list, get, watch, cancel, remove.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pilot_files::Transfer;
use pilot_local_api::ErrorCode;
use pilot_local_api::transfers::{
    Direction, Keep as Kept, LEAST_LIMIT, SendRequest, TransferState, TransferView, TransfersQuery,
};
use pilot_proto::data::MAX_LABEL;
use pilot_proto::{PeerRef, TransferId};
use pilot_tree::{DiskError, KeepError, ScanOptions};
use pilot_trust::TrustState;
use tokio::time::timeout_at;

use super::extract::{Body, Params, TransferOf};
use super::failure::Failure;
use super::transfer_views::view;
use super::views;
use crate::node::Node;
use crate::services::Watch;
use crate::services::data::{ChangeError, Keep, NewTransfer, SendError};

/// How many transfers a list shows, by default and at the most.
const LIST: (u32, u32) = (100, 1000);

/// Pause between two lines of a watch.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// Sends files and folders; the answer comes once the list of what is sent is
/// safe on disk.
#[utoipa::path(post, path = "/v1/transfers", tag = "transfers", request_body = SendRequest,
    responses((status = 200, body = TransferView)))]
pub(crate) async fn send(
    State(node): State<Arc<Node>>,
    Body(request): Body<SendRequest>,
) -> Result<Json<TransferView>, Failure> {
    let peer = named(&request.to)?;
    let to = node.directory().find(&peer).await?;
    let paths: Vec<PathBuf> = request.paths.into_iter().map(PathBuf::from).collect();
    if paths.is_empty() {
        return Err(Failure::invalid("there is nothing to send"));
    }
    if let Some(relative) = paths.iter().find(|path| !path.is_absolute()) {
        return Err(Failure::invalid(format!("{relative:?} is no absolute path")));
    }
    if request.label.as_ref().is_some_and(|label| label.len() > MAX_LABEL) {
        return Err(Failure::invalid(format!("a label has at most {MAX_LABEL} bytes")));
    }
    if request.limit.is_some_and(|limit| limit < LEAST_LIMIT) {
        return Err(Failure::invalid(format!("a limit is {LEAST_LIMIT} bytes a second or more")));
    }
    let new = NewTransfer {
        id: request.id,
        to,
        paths,
        label: request.label,
        task: request.task,
        limit: request.limit,
        keep: match request.keep {
            Kept::InPlace => Keep::InPlace,
            Kept::Copy => Keep::Copy,
            Kept::Take => Keep::Take,
        },
        options: ScanOptions { exclude: request.exclude, gitignore: request.gitignore },
        expires: request.expires_ms.map(Duration::from_millis),
    };
    let transfer = node.data().send(new).await.map_err(|error| not_sent(&peer, error))?;
    Ok(Json(view(&node, &transfer)))
}

fn named(peer: &str) -> Result<PeerRef, Failure> {
    peer.parse().map_err(|error| Failure::invalid(format!("{peer:?}: {error}")))
}

fn not_sent(peer: &PeerRef, error: SendError) -> Failure {
    if let SendError::NotTrusted(standing) = error {
        if standing.state != TrustState::Requested {
            return Failure::not_trusted(peer);
        }
        let message = format!("{peer} has not answered this node's trust yet; nothing was sent");
        return Failure::new(ErrorCode::NotTrusted, message)
            .hint("pilotctl whoami  # then, on the peer: pilotctl trust ADDRESS")
            .detail("peer", peer.to_string());
    }
    let is_not_allowed = matches!(error, SendError::NotAllowed);
    let failure = Failure::from(error);
    if !is_not_allowed {
        return failure;
    }
    failure.hint(format!("pilotctl trust show {peer}")).detail("peer", peer.to_string())
}

/// Lists transfers, the newest first.
#[utoipa::path(get, path = "/v1/transfers", tag = "transfers",
    params(("direction" = Option<Direction>, Query), ("peer" = Option<String>, Query),
        ("state" = Option<TransferState>, Query), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<TransferView>)))]
pub(crate) async fn list(
    State(node): State<Arc<Node>>,
    Params(query): Params<TransfersQuery>,
) -> Result<Json<Vec<TransferView>>, Failure> {
    let limit = query.limit.unwrap_or(LIST.0).min(LIST.1);
    let direction = query.direction.map(|direction| match direction {
        Direction::Sent => pilot_files::Direction::Sent,
        Direction::Received => pilot_files::Direction::Received,
    });
    let peer = match query.peer {
        Some(peer) => Some(node.directory().find(&named(&peer)?).await?),
        None => None,
    };
    let found = node.data().list(direction, peer, LIST.1).await?;
    let views = found.iter().map(|transfer| view(&node, transfer));
    let wanted = views.filter(|view| query.state.is_none_or(|state| state == view.state));
    Ok(Json(wanted.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()))
}

/// Shows one transfer.
#[utoipa::path(get, path = "/v1/transfers/{id}", tag = "transfers", params(("id" = String, Path)),
    responses((status = 200, body = TransferView)))]
pub(crate) async fn get(
    State(node): State<Arc<Node>>,
    TransferOf(id): TransferOf,
) -> Result<Json<TransferView>, Failure> {
    Ok(Json(view(&node, &found(&node, id)?)))
}

/// Streams a transfer as it is, then as it changes, until it has ended.
#[utoipa::path(get, path = "/v1/transfers/{id}/watch", tag = "transfers",
    params(("id" = String, Path)),
    responses((status = 200, body = TransferView, content_type = "application/x-ndjson")))]
pub(crate) async fn watch(
    State(node): State<Arc<Node>>,
    TransferOf(id): TransferOf,
) -> Result<Response, Failure> {
    let watch = node.data().watch(id);
    let first = view(&node, &found(&node, id)?);
    let is_over = |view: &TransferView| view.state.is_terminal();
    Ok(views::stream(first, watch, is_over, move |mut watch| {
        let node = Arc::clone(&node);
        async move { Some((change(&node, id, &mut watch).await?, watch)) }
    }))
}

/// The transfer once it has changed: at once if it has ended, otherwise not
/// sooner than [`WATCH_EVERY`] from now. None if it is gone.
async fn change(
    node: &Node,
    id: TransferId,
    watch: &mut Watch<TransferId>,
) -> Option<TransferView> {
    let soonest = Instant::now() + WATCH_EVERY;
    watch.changed().await;
    loop {
        let shown = view(node, &found(node, id).ok()?);
        let wait = timeout_at(soonest.into(), watch.changed());
        if shown.state.is_terminal() || wait.await.is_err() {
            return found(node, id).ok().map(|transfer| view(node, &transfer));
        }
    }
}

/// Ends a transfer that goes on.
#[utoipa::path(post, path = "/v1/transfers/{id}/cancel", tag = "transfers",
    params(("id" = String, Path)), responses((status = 200, body = TransferView)))]
pub(crate) async fn cancel(
    State(node): State<Arc<Node>>,
    TransferOf(id): TransferOf,
) -> Result<Json<TransferView>, Failure> {
    let cancelled = node.data().cancel(id).await?.ok_or_else(|| unknown(id))?;
    Ok(Json(view(&node, &cancelled)))
}

/// Forgets a transfer that has ended and that no task needs; what is in the
/// inbox of it goes too.
#[utoipa::path(delete, path = "/v1/transfers/{id}", tag = "transfers",
    params(("id" = String, Path)), responses((status = 200, body = TransferView)))]
pub(crate) async fn remove(
    State(node): State<Arc<Node>>,
    TransferOf(id): TransferOf,
) -> Result<Json<TransferView>, Failure> {
    let transfer = found(&node, id)?;
    if let Some(task) = transfer.task
        && node.tasks().needs(&transfer).await?
    {
        let message = format!("task {task} needs these files; nothing was removed");
        return Err(Failure::new(ErrorCode::Conflict, message)
            .hint(format!("pilotctl task get {task}"))
            .detail("transfer", id.to_string())
            .detail("task", task.to_string()));
    }
    let last = view(&node, &transfer);
    if node.data().remove(&transfer).await? {
        return Ok(Json(last));
    }
    let (message, hint) = if transfer.is_live() {
        ("it goes on; nothing was removed", format!("pilotctl data cancel {id}"))
    } else {
        (
            "the peer is still to be told that it ended; nothing was removed",
            format!("pilotctl ping {}", last.peer),
        )
    };
    Err(Failure::new(ErrorCode::Conflict, message).hint(hint).detail("transfer", id.to_string()))
}

fn found(node: &Node, id: TransferId) -> Result<Transfer, Failure> {
    node.data().find(id)?.ok_or_else(|| unknown(id))
}

fn unknown(id: TransferId) -> Failure {
    Failure::new(ErrorCode::UnknownTransfer, format!("there is no transfer {id} on this node"))
        .hint("pilotctl data list")
        .detail("transfer", id.to_string())
}

/// As far as it does not matter who the peer is.
impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        let message = format!("{error}{cause}; nothing was sent");
        match error {
            SendError::NotTrusted(_) => Self::new(ErrorCode::NotTrusted, message)
                .hint("pilotctl trust list  # files go to peers that trust this node"),
            SendError::NotAllowed => {
                Self::new(ErrorCode::NotAllowed, message).hint("pilotctl trust list")
            }
            SendError::Scan(_) | SendError::Keep(KeepError::Scan(_) | KeepError::Read(_)) => {
                Self::invalid(message)
            }
            SendError::Keep(KeepError::Disk(DiskError::Full { .. })) => {
                Self::new(ErrorCode::DiskFull, message).hint("pilotctl doctor")
            }
            SendError::Manifest(_) | SendError::Layout(_) => {
                Self::new(ErrorCode::LimitExceeded, message)
            }
            SendError::Change(ChangeError::Exists) => {
                Self::new(ErrorCode::Conflict, message).hint("pilotctl data list")
            }
            SendError::Change(error) => error.into(),
            SendError::Keep(KeepError::Exists { .. } | KeepError::Disk(_))
            | SendError::Home(_)
            | SendError::Source(_)
            | SendError::Rest(_)
            | SendError::Read(_)
            | SendError::Random => Self::internal(&error),
        }
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Commit(error) => error.into(),
            ChangeError::Read(error) => error.into(),
            ChangeError::TooMany => {
                Self::new(ErrorCode::QueueFull, error.to_string()).hint("pilotctl data list")
            }
            ChangeError::Exists | ChangeError::Stopping => Self::internal(&error),
        }
    }
}
