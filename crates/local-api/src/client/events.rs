//! The routes of events.

use core::time::Duration;

use bytes::Bytes;
use hyper::Method;
use uuid::Uuid;

use super::{CallError, Client, Lines, lines, read, written};
use crate::events::{
    AckRequest, CursorView, EventLine, NewEvent, PublishedView, RelayRule, SubscribeRequest,
    TopicsView,
};
use crate::routes::{self, with_query};

/// Each method is one route of [`routes`]; the errors are the daemon's.
#[expect(
    clippy::missing_errors_doc,
    reason = "every method fails as CallError says, and no other way"
)]
impl Client {
    /// `POST events`: one or more, in this order and with nothing between. With
    /// a `request` id it may be sent again.
    pub async fn publish(
        &self,
        events: &[NewEvent],
        request: Option<Uuid>,
    ) -> Result<PublishedView, CallError> {
        let mut body = Vec::new();
        for event in events {
            body.extend_from_slice(&written(event)?);
            body.push(b'\n');
        }
        self.publish_lines(body.into(), request).await
    }

    /// `POST events` whose body is written already: a [`NewEvent`] a line.
    pub async fn publish_lines(
        &self,
        lines: Bytes,
        request: Option<Uuid>,
    ) -> Result<PublishedView, CallError> {
        let pairs = [("request", request.map(|id| id.to_string()))];
        let path = with_query(routes::EVENTS, &pairs);
        let body = self.answer_to(Method::POST, &path, lines, Duration::ZERO).await?;
        read(&body.unwrap_or_default())
    }

    /// `POST events/subscribe`: opens the stream; it has no time limit.
    pub async fn subscribe(
        &self,
        request: &SubscribeRequest,
    ) -> Result<Lines<EventLine>, CallError> {
        lines::post(&self.socket, routes::EVENTS_SUBSCRIBE, written(request)?).await
    }

    /// `POST events/cursors/{name}/ack`. It may be sent again.
    pub async fn acknowledge(&self, name: &str, request: &AckRequest) -> Result<(), CallError> {
        let path = routes::event_cursor(routes::EVENT_CURSOR_ACK, name);
        self.answer(Method::POST, &path, Some(request), Duration::ZERO).await.map(drop)
    }

    /// `GET events/cursors`.
    pub async fn event_cursors(&self) -> Result<Vec<CursorView>, CallError> {
        self.get(routes::EVENT_CURSORS).await
    }

    /// `DELETE events/cursors/{name}`.
    pub async fn remove_event_cursor(&self, name: &str) -> Result<(), CallError> {
        let path = routes::event_cursor(routes::EVENT_CURSOR, name);
        self.answer(Method::DELETE, &path, None::<&()>, Duration::ZERO).await.map(drop)
    }

    /// `GET events/topics`.
    pub async fn topics(&self) -> Result<TopicsView, CallError> {
        self.get(routes::EVENT_TOPICS).await
    }

    /// `GET events/relays`.
    pub async fn relays(&self) -> Result<Vec<RelayRule>, CallError> {
        self.get(routes::EVENT_RELAYS).await
    }

    /// `POST events/relays`. It may be sent again.
    pub async fn add_relay(&self, rule: &RelayRule) -> Result<RelayRule, CallError> {
        self.post(routes::EVENT_RELAYS, rule).await
    }

    /// `DELETE events/relays`.
    pub async fn remove_relay(&self, rule: &RelayRule) -> Result<(), CallError> {
        let answer = self.answer(Method::DELETE, routes::EVENT_RELAYS, Some(rule), Duration::ZERO);
        answer.await.map(drop)
    }
}
