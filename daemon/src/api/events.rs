//! Events: publish, subscribe, and what is known about both.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use pilot_identity::{NodeId, Timestamp};
use pilot_journal::AppendError;
use pilot_local_api::events::{
    AckRequest, CursorView, InterestView, MAX_EVENTS, NewEvent, PublishQuery, PublishedView,
    RelayRule, Slow, SubscribeRequest, TopicView, TopicsView,
};
use pilot_local_api::{ErrorCode, Time};
use pilot_proto::events::{EventIds, Stream};
use pilot_proto::{PeerRef, TopicFilter, check_topic, is_reserved_topic};

use super::event_lines::{Lines, Token};
use super::extract::{Body, Params};
use super::failure::Failure;
use crate::node::Node;
use crate::services::events::{
    self, BeginAt, CursorError, MAX_LAST, OnLag, PublishError, RelayError, Subscribe,
};

/// Filters of one subscriber.
const MAX_TOPICS: usize = 64;

/// Publishes events; the answer comes once they are kept on disk.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    params(("request" = Option<String>, Query)), request_body = NewEvent,
    responses((status = 200, body = PublishedView)))]
pub(crate) async fn publish(
    State(node): State<Arc<Node>>,
    Params(query): Params<PublishQuery>,
    body: Bytes,
) -> Result<Json<PublishedView>, Failure> {
    let parsed: Result<Vec<NewEvent>, _> = serde_json::Deserializer::from_slice(&body)
        .into_iter::<NewEvent>()
        .take(MAX_EVENTS + 1)
        .collect();
    let parsed = parsed.map_err(|error| Failure::invalid(format!("no event: {error}")))?;
    if parsed.len() > MAX_EVENTS {
        let message = format!("a request has at most {MAX_EVENTS} events; nothing was published");
        return Err(Failure::new(ErrorCode::TooLarge, message));
    }
    let mut last = "";
    for event in &parsed {
        if event.topic != last {
            check(&event.topic)?;
            last = &event.topic;
        }
    }
    let lines: Vec<String> = parsed.iter().map(|event| one_line(event.data.get())).collect();
    let events: Vec<events::NewEvent<'_>> = parsed
        .iter()
        .zip(&lines)
        .map(|(event, data)| events::NewEvent::new(&event.topic, data, event.retain))
        .collect();
    let request = query.request.map(|id| *id.as_bytes());
    let (published, peers) = node.events().publish(&events, request).await?;
    Ok(Json(PublishedView {
        id: EventIds::of(&node.id(), Stream::Own).at(published.last),
        first_seq: published.first.seq,
        last_seq: published.last.seq,
        peers,
    }))
}

fn check(topic: &str) -> Result<(), Failure> {
    check_topic(topic)
        .map_err(|error| Failure::invalid(format!("{topic:?}: {error}; nothing was published")))?;
    if is_reserved_topic(topic) {
        let message = format!(
            "{topic:?}: only the daemon publishes about task, peer, team and sys; nothing was published"
        );
        return Err(Failure::new(ErrorCode::NotAllowed, message)
            .hint("pilotctl events subscribe --topic 'task.*'"));
    }
    Ok(())
}

/// JSON has line breaks between its tokens only.
fn one_line(data: &str) -> String {
    data.replace(['\n', '\r', '\t'], " ")
}

/// Streams events as they come, those first that are asked for of the past.
#[utoipa::path(post, path = "/v1/events/subscribe", tag = "events",
    request_body = SubscribeRequest, responses((status = 200,
    body = pilot_local_api::events::EventLine, content_type = "application/x-ndjson")))]
pub(crate) async fn subscribe(
    State(node): State<Arc<Node>>,
    Body(request): Body<SubscribeRequest>,
) -> Result<Response, Failure> {
    let subscribe = asked(&node, request).await?;
    let subscription = node.events().subscribe(subscribe).await?;
    let lines = Lines::new(subscription.sieve().clone(), subscription.cursor().is_some());
    let events = stream::unfold((node, subscription, lines), async |state| {
        let (node, mut subscription, mut lines) = state;
        loop {
            let delivery = subscription.next().await;
            let (text, count, lost) = lines.of(&node, &delivery);
            let counters = node.events().counters();
            counters.delivered(count);
            counters.lost(lost);
            if !text.is_empty() {
                return Some((Ok::<_, Infallible>(text), (node, subscription, lines)));
            }
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], HttpBody::from_stream(events)).into_response())
}

async fn asked(node: &Node, request: SubscribeRequest) -> Result<Subscribe, Failure> {
    let SubscribeRequest { topics, from, since_ms, after, last, durable, slow } = request;
    if topics.is_empty() || topics.len() > MAX_TOPICS {
        return Err(Failure::invalid(format!("1 to {MAX_TOPICS} topics are wanted")));
    }
    let from = match from {
        Some(from) => Some(named(node, &from).await?),
        None => None,
    };
    let on_lag = match (slow, &durable) {
        (Some(Slow::Gap), _) | (None, None) => OnLag::Gap,
        (Some(Slow::CatchUp), _) | (None, Some(_)) => OnLag::CatchUp,
    };
    let mut begins = Vec::new();
    begins.extend(since_ms.map(BeginAt::Within));
    begins.extend(after.map(BeginAt::After));
    if let Some(last) = last {
        if last > MAX_LAST {
            return Err(Failure::invalid(format!("the last {MAX_LAST} are the most")));
        }
        begins.push(BeginAt::Last(last));
    }
    if let Some(name) = durable {
        own(&name)?;
        begins.push(BeginAt::Cursor(name));
    }
    if begins.len() > 1 {
        return Err(Failure::invalid("one of since_ms, after, last and durable at the most"));
    }
    let begin = begins.pop().unwrap_or(BeginAt::Values);
    Ok(Subscribe { filters: topics, from, begin, on_lag })
}

/// Refuses the names of the daemon itself.
fn own(name: &str) -> Result<(), Failure> {
    if events::is_relays(name) {
        return Err(Failure::invalid("names that begin with `relay.` are the daemon's own"));
    }
    Ok(())
}

async fn named(node: &Node, peer: &str) -> Result<NodeId, Failure> {
    let wanted: PeerRef =
        peer.parse().map_err(|error| Failure::invalid(format!("{peer:?}: {error}")))?;
    let me = node.registration().get();
    let is_me = match &wanted {
        PeerRef::Key(id) => *id == node.id(),
        PeerRef::Address(address) => me.address == Some(*address),
        PeerRef::Name(name) => me.name.as_ref() == Some(name),
    };
    if is_me { Ok(node.id()) } else { Ok(node.directory().find(&wanted).await?) }
}

/// What is published about, and who listens.
#[utoipa::path(get, path = "/v1/events/topics", tag = "events",
    responses((status = 200, body = TopicsView)))]
pub(crate) async fn topics(State(node): State<Arc<Node>>) -> Json<TopicsView> {
    let service = node.events();
    let called = |id| {
        let known = node.peer_identity(id);
        (known.label(), known.name.map(|name| name.to_string()))
    };
    let me = node.id();
    let mut topics: BTreeMap<(String, NodeId), (u64, u64, bool)> = BTreeMap::new();
    for (topic, at) in service.values() {
        topics.insert((topic, me), (0, at, true));
    }
    for (topic, publisher, traffic) in service.all_topics() {
        let entry = topics.entry((topic, publisher)).or_default();
        *entry = (traffic.count, traffic.last_at, entry.2);
    }
    let view = |((topic, id), (count, at, retained))| {
        let (from, from_name) = called(id);
        let last_at = Time::from(Timestamp::from_millis(at));
        TopicView { topic, from, from_name, count, last_at, retained }
    };
    let trusted = |peer: &NodeId| node.trust().is_mutual(peer);
    let peers = service.listening_peers().into_iter().filter(|(id, ..)| trusted(id));
    let peers = peers.map(|(id, topics, listening)| {
        let (peer, peer_name) = called(id);
        InterestView { peer, peer_name, topics: texts(&topics), listening }
    });
    Json(TopicsView {
        topics: topics.into_iter().map(view).collect(),
        peers: peers.collect(),
        subscribers: service.listeners(),
    })
}

fn texts(filters: &[TopicFilter]) -> Vec<String> {
    filters.iter().map(ToString::to_string).collect()
}

/// Lists the named subscriptions.
#[utoipa::path(get, path = "/v1/events/cursors", tag = "events",
    responses((status = 200, body = Vec<CursorView>)))]
pub(crate) async fn cursors(State(node): State<Arc<Node>>) -> Json<Vec<CursorView>> {
    let all = node.events().all_cursors().into_iter();
    let all = all.filter(|(name, _)| !events::is_relays(name));
    let views = all.map(|(name, cursor)| CursorView {
        name,
        topics: texts(&cursor.filters),
        from: cursor.from.map(|from| node.peer_identity(from).label()),
        in_use: cursor.is_used,
        behind: node.events().behind(&cursor),
    });
    Json(views.collect())
}

/// Acknowledges what was read by a name.
#[utoipa::path(post, path = "/v1/events/cursors/{name}/ack", tag = "events",
    params(("name" = String, Path)), request_body = AckRequest,
    responses((status = 204)))]
pub(crate) async fn acknowledge(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Body(request): Body<AckRequest>,
) -> Result<StatusCode, Failure> {
    let mut places = Vec::new();
    for text in request.cursors {
        let Ok(Token { of, position }) = text.parse::<Token>() else {
            return Err(Failure::invalid(format!("{text:?} is no cursor of an event")));
        };
        places.push((of, position));
    }
    own(&name)?;
    node.events().acknowledge(&name, &places).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets a named subscription.
#[utoipa::path(delete, path = "/v1/events/cursors/{name}", tag = "events",
    params(("name" = String, Path)), responses((status = 204)))]
pub(crate) async fn remove_cursor(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    own(&name)?;
    node.events().remove_cursor(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the rules by which events of peers are handed on to other peers.
#[utoipa::path(get, path = "/v1/events/relays", tag = "events",
    responses((status = 200, body = Vec<RelayRule>)))]
pub(crate) async fn relays(State(node): State<Arc<Node>>) -> Json<Vec<RelayRule>> {
    let rules = node.events().relay_rules();
    Json(rules.iter().map(|rule| rule_view(&node, rule)).collect())
}

fn rule_view(node: &Node, rule: &events::RelayRule) -> RelayRule {
    let label = |id| node.peer_identity(id).label();
    let (from, to) = (label(rule.from), label(rule.to));
    RelayRule { from, to, topic: rule.filter.clone() }
}

async fn rule(node: &Node, rule: RelayRule) -> Result<events::RelayRule, Failure> {
    let (from, to) = (named(node, &rule.from).await?, named(node, &rule.to).await?);
    Ok(events::RelayRule { from, to, filter: rule.topic })
}

/// Lets one peer hear what another publishes.
#[utoipa::path(post, path = "/v1/events/relays", tag = "events", request_body = RelayRule,
    responses((status = 200, body = RelayRule)))]
pub(crate) async fn add_relay(
    State(node): State<Arc<Node>>,
    Body(request): Body<RelayRule>,
) -> Result<Json<RelayRule>, Failure> {
    let rule = rule(&node, request).await?;
    node.events().add_relay(rule.clone()).await?;
    Ok(Json(rule_view(&node, &rule)))
}

/// Ends that.
#[utoipa::path(delete, path = "/v1/events/relays", tag = "events", request_body = RelayRule,
    responses((status = 204)))]
pub(crate) async fn remove_relay(
    State(node): State<Arc<Node>>,
    Body(request): Body<RelayRule>,
) -> Result<StatusCode, Failure> {
    let rule = rule(&node, request).await?;
    if node.events().remove_relay(&rule).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let message = "there is no such rule; nothing was changed";
    Err(Failure::new(ErrorCode::NotFound, message).hint("pilotctl events relay list"))
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let message = format!("{error}; nothing was published");
        match error {
            PublishError::Nothing => Self::invalid(message),
            PublishError::TooMuch { .. } => Self::new(ErrorCode::TooLarge, message),
            PublishError::TooLong { .. } => Self::new(ErrorCode::TooLarge, message)
                .hint("pilotctl data send PEER FILE  # for what is large"),
            PublishError::TooManyRetained => Self::new(ErrorCode::LimitExceeded, message)
                .hint("pilotctl events publish --topic TOPIC --data null --retain  # ends one"),
            PublishError::NoRoom(error) => error.into(),
            // They went out.
            PublishError::NotKept(AppendError::Full) => {
                let message = "the disk is full: the events went to those who listen now, but are \
                               not kept for others";
                Self::new(ErrorCode::DiskFull, message).hint("pilotctl doctor")
            }
            PublishError::NotRetained(error) => {
                let message =
                    format!("the events were published, but the value is not kept: {error}");
                Self::new(ErrorCode::DiskFull, message).hint("pilotctl doctor")
            }
            PublishError::NotKept(_) => Self::internal(&error),
        }
    }
}

impl From<CursorError> for Failure {
    fn from(error: CursorError) -> Self {
        let message = error.to_string();
        match error {
            CursorError::Used(_) => {
                Self::new(ErrorCode::Conflict, message).hint("pilotctl events cursors")
            }
            CursorError::TooMany => Self::new(ErrorCode::LimitExceeded, message)
                .hint("pilotctl events cursors  # then: pilotctl events cursors rm NAME"),
            CursorError::Name(_) => Self::invalid(message),
            CursorError::Unknown(_) => {
                Self::new(ErrorCode::UnknownCursor, message).hint("pilotctl events cursors")
            }
            CursorError::Commit(error) => error.into(),
        }
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Same => Self::invalid(error.to_string()),
            RelayError::TooMany => Self::new(ErrorCode::LimitExceeded, error.to_string())
                .hint("pilotctl events relay list"),
            RelayError::Commit(error) => error.into(),
        }
    }
}
