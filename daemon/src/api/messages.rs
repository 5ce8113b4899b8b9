//! Messages of this node: send, broadcast, look how far they are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use pilot_identity::{Digest, NodeId, Scope};
use pilot_local_api::messages::{
    BroadcastRequest, BroadcastView, MessageQuery, MessageState, MessageView, MessagesQuery,
    SendMessageRequest,
};
use pilot_local_api::{ErrorCode, Time};
use pilot_messages::{MAX_TIME_TO_LIVE, SubmitError};
use pilot_proto::messages::MAX_MESSAGE_TEXT;
use pilot_proto::{MessageId, PeerRef, Tag};
use pilot_trust::TrustState;

use super::extract::{Body, Message, Params};
use super::failure::Failure;
use crate::clock;
use crate::node::Node;
use crate::services::messages::{Outgoing, SendError};
use crate::store::messages::SentRow;

/// How many messages a list shows, by default and at the most.
const LIST: (u32, u32) = (100, 1000);

/// How long a message may take to be delivered if nothing is said.
const TIME_TO_LIVE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The shortest time that a message may be given: less says nothing beside what
/// taking and sending it takes.
const MIN_TIME_TO_LIVE: Duration = Duration::from_secs(1);

/// How long a message may be without a tunnel to its peer before that counts as
/// trouble: the first one takes a few seconds where ports must be guessed.
const CONNECTING: Duration = Duration::from_secs(5);

/// The longest that a request may wait.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Takes a message; the answer is sent once it is safe on disk.
#[utoipa::path(post, path = "/v1/messages", tag = "messages", request_body = SendMessageRequest,
    responses((status = 200, body = MessageView)))]
pub(crate) async fn send(
    State(node): State<Arc<Node>>,
    Body(request): Body<SendMessageRequest>,
) -> Result<Json<MessageView>, Failure> {
    let time_to_live = checked(&request.text, request.expires_ms)?;
    let to = node.directory().find(&request.to).await?;
    check_trust(&node, &request.to, to)?;
    let id = request.id.map_or_else(new_id, Ok)?;
    let outgoing = Outgoing { id, to, text: request.text, time_to_live };
    let mut sent = node.messages().send(vec![outgoing]).await;
    let row = sent.pop().ok_or_else(|| Failure::invalid("there is no message"))??;
    Ok(Json(view(&node, &row)))
}

/// Sends the same to every trusted peer that takes messages.
#[utoipa::path(post, path = "/v1/messages/broadcast", tag = "messages",
    request_body = BroadcastRequest, responses((status = 200, body = Vec<BroadcastView>)))]
pub(crate) async fn broadcast(
    State(node): State<Arc<Node>>,
    Body(request): Body<BroadcastRequest>,
) -> Result<Json<Vec<BroadcastView>>, Failure> {
    let time_to_live = checked(&request.text, request.expires_ms)?;
    let tags = request.tags.iter().map(|tag| {
        tag.parse::<Tag>().map_err(|error| Failure::invalid(format!("{tag:?}: {error}")))
    });
    let tags: Vec<Tag> = tags.collect::<Result<_, _>>()?;
    let id = request.id.map_or_else(new_id, Ok)?;
    let mut peers = node.trust().mutual();
    peers.retain(|peer| {
        let card = node.overlay().card(peer).unwrap_or_default();
        let takes = node.trust().standing(*peer).received.contains(Scope::Messages);
        takes && tags.iter().all(|tag| card.tags.contains(tag))
    });
    if peers.is_empty() {
        let message = "there is no trusted peer that takes messages of this node";
        let only = if tags.is_empty() { "" } else { " and has these tags" };
        return Err(Failure::new(ErrorCode::UnknownPeer, format!("{message}{only}"))
            .hint("pilotctl trust list"));
    }
    let outgoing = peers.iter().map(|to| {
        let text = request.text.clone();
        Outgoing { id: one_of(id, *to), to: *to, text, time_to_live }
    });
    let sent = node.messages().send(outgoing.collect()).await;
    let views = peers.into_iter().zip(sent).map(|(to, sent)| {
        let (address, to_name) = called(&node, to);
        let (message, error) = match sent {
            Ok(row) => (Some(view(&node, &row)), None),
            Err(error) => (None, Some(Failure::from(error).into_error())),
        };
        BroadcastView { to: address, to_name, message, error }
    });
    Ok(Json(views.collect()))
}

/// Lists messages of this node, the newest first.
#[utoipa::path(get, path = "/v1/messages", tag = "messages",
    params(("state" = Option<MessageState>, Query), ("peer" = Option<String>, Query),
        ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<MessageView>)))]
pub(crate) async fn list(
    State(node): State<Arc<Node>>,
    Params(query): Params<MessagesQuery>,
) -> Result<Json<Vec<MessageView>>, Failure> {
    let limit = query.limit.unwrap_or(LIST.0).min(LIST.1);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let peer = sender(&node, query.peer.as_deref()).await?;
    let found = node.messages().list_sent(query.state.map(inner), peer, limit).await?;
    Ok(Json(found.iter().map(|row| view(&node, row)).collect()))
}

/// Shows one message of this node; waits until it has come somewhere.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages",
    params(("id" = String, Path), ("wait_ms" = Option<u64>, Query),
        ("until" = Option<MessageState>, Query)),
    responses((status = 200, body = MessageView)))]
pub(crate) async fn get(
    State(node): State<Arc<Node>>,
    Message(id): Message,
    Params(query): Params<MessageQuery>,
) -> Result<Json<MessageView>, Failure> {
    let patience = Duration::from_millis(query.wait_ms.unwrap_or_default()).min(MAX_WAIT);
    let until = inner(query.until.unwrap_or(MessageState::Delivered));
    let row = node.messages().sent_until(id, until, patience).await?;
    let row = row.ok_or_else(|| {
        let message = format!("there is no message {id} of this node");
        Failure::new(ErrorCode::UnknownMessage, message)
            .hint("pilotctl msg list")
            .detail("message", id.to_string())
    })?;
    Ok(Json(view(&node, &row)))
}

/// How long a message may take.
fn checked(text: &str, expires_ms: Option<u64>) -> Result<Duration, Failure> {
    match text.len() {
        0 => return Err(Failure::invalid("a message is not empty; nothing was sent")),
        1..=MAX_MESSAGE_TEXT => {}
        len => {
            let message = format!(
                "the message has {len} bytes, {MAX_MESSAGE_TEXT} are allowed; nothing was sent"
            );
            return Err(Failure::new(ErrorCode::TooLarge, message)
                .hint("pilotctl data send PEER FILE")
                .detail("limit", MAX_MESSAGE_TEXT));
        }
    }
    let time_to_live = expires_ms.map_or(TIME_TO_LIVE, Duration::from_millis);
    if time_to_live < MIN_TIME_TO_LIVE || time_to_live > MAX_TIME_TO_LIVE {
        return Err(Failure::invalid("a message expires after 1 s to 30 days; nothing was sent"));
    }
    Ok(time_to_live)
}

fn check_trust(node: &Node, peer: &PeerRef, id: NodeId) -> Result<(), Failure> {
    let standing = node.trust().standing(id);
    if standing.state == TrustState::Requested {
        let message = format!("{peer} has not answered this node's trust yet; nothing was sent");
        return Err(Failure::new(ErrorCode::NotTrusted, message)
            .hint("pilotctl whoami  # then, on the peer: pilotctl trust ADDRESS")
            .detail("peer", peer.to_string()));
    }
    if !standing.is_mutual() {
        return Err(Failure::not_trusted(peer));
    }
    if !standing.received.contains(Scope::Messages) {
        let message = format!("{peer} takes no messages of this node; nothing was sent");
        return Err(Failure::new(ErrorCode::NotAllowed, message)
            .hint(format!("pilotctl trust show {peer}"))
            .detail("peer", peer.to_string()));
    }
    Ok(())
}

fn new_id() -> Result<MessageId, Failure> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| Failure::internal(&error))?;
    Ok(MessageId::new(clock::now(), random))
}

/// The id of a broadcast's message to one peer: the same each time it is asked for,
/// of the time of the broadcast, and the peer cannot tell those of others from it.
fn one_of(broadcast: MessageId, to: NodeId) -> MessageId {
    let mix = [broadcast.as_bytes().as_slice(), to.as_bytes().as_slice()].concat();
    let digest = Digest::of(&mix);
    let mut millis = [0; 8];
    let mut random = [0; 10];
    for (to, from) in millis.iter_mut().skip(2).zip(broadcast.as_bytes()) {
        *to = *from;
    }
    for (to, from) in random.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    let at = pilot_identity::Timestamp::from_millis(u64::from_be_bytes(millis));
    MessageId::new(at, random)
}

/// Who is meant, if somebody is.
pub(super) async fn sender(node: &Node, peer: Option<&str>) -> Result<Option<NodeId>, Failure> {
    let Some(text) = peer else { return Ok(None) };
    let wanted: PeerRef =
        text.parse().map_err(|error| Failure::invalid(format!("{text:?}: {error}")))?;
    Ok(Some(node.directory().find(&wanted).await?))
}

/// A peer's address or key, and its name.
pub(super) fn called(node: &Node, peer: NodeId) -> (String, Option<String>) {
    let known = node.peer_identity(peer);
    let address = known.address.map(|address| address.to_string());
    (address.unwrap_or_else(|| known.public_key.to_string()), known.name.map(|n| n.to_string()))
}

fn view(node: &Node, row: &SentRow) -> MessageView {
    let (to, to_name) = called(node, row.to);
    let state = row.times.state();
    MessageView {
        id: row.id,
        state: outer(state),
        to,
        to_name,
        trouble: trouble(node, row).map(str::to_owned),
        preview: row.preview.clone(),
        bytes: row.bytes,
        queued_at: row.created.into(),
        expires_at: row.expires.into(),
        sent_at: row.times.sent.map(Time::from),
        delivered_at: row.times.delivered.map(Time::from),
        read_at: row.times.read.map(Time::from),
        acked_at: row.times.acked.map(Time::from),
        expired_at: row.times.expired.map(Time::from),
    }
}

/// Why it is not delivered.
fn trouble(node: &Node, row: &SentRow) -> Option<&'static str> {
    match row.times.state() {
        pilot_messages::MessageState::Queued | pilot_messages::MessageState::Sent => {
            let standing = node.trust().standing(row.to);
            if !standing.is_mutual() {
                return Some("not_trusted");
            }
            if !standing.received.contains(Scope::Messages) {
                return Some("not_allowed");
            }
            if let Some(trouble) = node.messages().trouble(&row.to) {
                return Some(trouble.word());
            }
            let away = node.overlay().current(&row.to).is_none();
            let waited = clock::now().since(row.created) >= CONNECTING;
            (away && waited).then_some("unreachable")
        }
        pilot_messages::MessageState::Expired => row.times.sent.map(|_| "unconfirmed"),
        pilot_messages::MessageState::Delivered
        | pilot_messages::MessageState::Read
        | pilot_messages::MessageState::Acked => None,
    }
}

const fn outer(state: pilot_messages::MessageState) -> MessageState {
    match state {
        pilot_messages::MessageState::Queued => MessageState::Queued,
        pilot_messages::MessageState::Sent => MessageState::Sent,
        pilot_messages::MessageState::Delivered => MessageState::Delivered,
        pilot_messages::MessageState::Read => MessageState::Read,
        pilot_messages::MessageState::Acked => MessageState::Acked,
        pilot_messages::MessageState::Expired => MessageState::Expired,
    }
}

const fn inner(state: MessageState) -> pilot_messages::MessageState {
    match state {
        MessageState::Queued => pilot_messages::MessageState::Queued,
        MessageState::Sent => pilot_messages::MessageState::Sent,
        MessageState::Delivered => pilot_messages::MessageState::Delivered,
        MessageState::Read => pilot_messages::MessageState::Read,
        MessageState::Acked => pilot_messages::MessageState::Acked,
        MessageState::Expired => pilot_messages::MessageState::Expired,
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let message = error.to_string();
        match error {
            SendError::Full(SubmitError::PeerFull { peer, .. }) => {
                Self::new(ErrorCode::QueueFull, message)
                    .hint(format!("pilotctl msg list --state queued --peer {peer}"))
                    .detail("peer", peer.to_string())
            }
            SendError::Full(_) => {
                Self::new(ErrorCode::QueueFull, message).hint("pilotctl msg list --state queued")
            }
            SendError::Conflict(id) => {
                Self::new(ErrorCode::Conflict, message).hint(format!("pilotctl msg status {id}"))
            }
            SendError::Commit(error) => error.into(),
            SendError::Read(error) => error.into(),
        }
    }
}
