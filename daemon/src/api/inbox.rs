//! Messages to this node: read, watch, acknowledge.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body as Stream, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use pilot_local_api::messages::{AckRequest, AckView, InboxMessage, InboxQuery, WatchQuery};
use pilot_local_api::{ErrorCode, Time};
use pilot_messages::Filter;

use super::extract::{Body, Params};
use super::failure::Failure;
use super::messages::{called, sender};
use crate::node::Node;
use crate::services::messages::{AckError, Wanted};
use crate::store::inbox::InboxRow;

/// How many messages are given out, by default and at the most.
const LIMIT: (u32, u32) = (100, 1000);

/// The longest that a request may wait.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Messages that a watch reads from disk at once.
const AT_ONCE: usize = 100;

/// Ids in one acknowledgement.
const MAX_IDS: usize = 10_000;

/// Gives the messages that are not acknowledged, oldest first.
#[utoipa::path(get, path = "/v1/inbox", tag = "messages",
    params(("unread" = Option<bool>, Query), ("from" = Option<String>, Query),
        ("wait_ms" = Option<u64>, Query), ("peek" = Option<bool>, Query),
        ("limit" = Option<u32>, Query)),
    responses((status = 200, body = Vec<InboxMessage>)))]
pub(crate) async fn read(
    State(node): State<Arc<Node>>,
    Params(query): Params<InboxQuery>,
) -> Result<Json<Vec<InboxMessage>>, Failure> {
    let from = sender(&node, query.from.as_deref()).await?;
    let limit = query.limit.unwrap_or(LIMIT.0).min(LIMIT.1);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let patience = Duration::from_millis(query.wait_ms.unwrap_or_default()).min(MAX_WAIT);
    let wanted = Wanted { filter: Filter { unread: query.unread, from }, limit };
    let mut rows = node.messages().look(wanted, patience).await?;
    if rows.is_empty() {
        let what = if query.unread { "no unread message" } else { "no message" };
        return Err(Failure::new(ErrorCode::NoMessage, format!("there is {what}"))
            .hint("pilotctl inbox read --wait 30"));
    }
    if !query.peek {
        node.messages().mark_read(&mut rows).await?;
    }
    Ok(Json(rows.into_iter().map(|row| view(&node, row)).collect()))
}

/// Streams what nobody has read, then each message as it comes.
#[utoipa::path(get, path = "/v1/inbox/watch", tag = "messages",
    params(("from" = Option<String>, Query)),
    responses((status = 200, body = InboxMessage, content_type = "application/x-ndjson")))]
pub(crate) async fn watch(
    State(node): State<Arc<Node>>,
    Params(query): Params<WatchQuery>,
) -> Result<Response, Failure> {
    let from = sender(&node, query.from.as_deref()).await?;
    let wanted = Wanted { filter: Filter { unread: true, from }, limit: AT_ONCE };
    let watch = Watch { node, wanted, ready: VecDeque::new(), given: None };
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, Infallible>(line), watch))
    });
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Stream::from_stream(lines)).into_response())
}

/// Somebody who watches the inbox.
struct Watch {
    node: Arc<Node>,
    wanted: Wanted,
    ready: VecDeque<InboxRow>,
    /// What was given out last: it was taken when the next one is asked for.
    given: Option<InboxRow>,
}

impl Watch {
    /// The next line; none once the daemon stops, or messages cannot be read.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(mut given) = self.given.take() {
            let marked = self.node.messages().mark_read(std::slice::from_mut(&mut given)).await;
            marked.inspect_err(|error| ended(error)).ok()?;
        }
        while self.ready.is_empty() {
            let found = self.node.messages().look(self.wanted, MAX_WAIT).await;
            self.ready = found.inspect_err(|error| ended(error)).ok()?.into();
            if self.ready.is_empty() && self.node.messages().is_stopping() {
                return None;
            }
        }
        let row = self.ready.pop_front()?;
        self.given = Some(row.clone());
        let mut line = serde_json::to_vec(&view(&self.node, row)).unwrap_or_default();
        line.push(b'\n');
        Some(Bytes::from(line))
    }
}

fn ended(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "a watch of the inbox ended");
}

/// Says that somebody is done with messages.
#[utoipa::path(post, path = "/v1/inbox/ack", tag = "messages", request_body = AckRequest,
    responses((status = 200, body = AckView)))]
pub(crate) async fn ack(
    State(node): State<Arc<Node>>,
    Body(request): Body<AckRequest>,
) -> Result<Json<AckView>, Failure> {
    let acked = match (request.all, request.ids.as_slice()) {
        (true, []) => {
            let from = sender(&node, request.from.as_deref()).await?;
            node.messages().ack_all(Filter { unread: false, from }).await?
        }
        (false, []) | (true, [_, ..]) => {
            return Err(Failure::invalid("either ids or all of them are acknowledged"));
        }
        (false, [_, ..]) if request.from.is_some() => {
            return Err(Failure::invalid("a sender goes with all, not with ids"));
        }
        (false, ids) if ids.len() > MAX_IDS => {
            let message = format!("{} ids, {MAX_IDS} are allowed at once", ids.len());
            return Err(Failure::new(ErrorCode::LimitExceeded, message).detail("limit", MAX_IDS));
        }
        (false, ids) => node.messages().ack(ids).await?,
    };
    Ok(Json(AckView { acked: u64::try_from(acked).unwrap_or(u64::MAX) }))
}

fn view(node: &Node, row: InboxRow) -> InboxMessage {
    let (from, from_name) = called(node, row.from);
    InboxMessage {
        id: row.id,
        from,
        from_name,
        text: row.text,
        sent_at: row.written.into(),
        received_at: row.received.into(),
        read_at: row.read.map(Time::from),
        acked_at: row.acked.map(Time::from),
    }
}

impl From<AckError> for Failure {
    fn from(error: AckError) -> Self {
        let message = error.to_string();
        match error {
            AckError::Unknown(id) => Self::new(ErrorCode::UnknownMessage, message)
                .hint("pilotctl inbox read --peek")
                .detail("message", id.to_string()),
            AckError::Commit(error) => error.into(),
            AckError::Read(error) => error.into(),
        }
    }
}
