//! The routes of the messages.

use core::time::Duration;

use hyper::Method;
use pilot_proto::MessageId;

use super::{CallError, Client, Lines, lines};
use crate::messages::{
    AckRequest, AckView, BroadcastRequest, BroadcastView, InboxMessage, InboxQuery, MessageQuery,
    MessageView, MessagesQuery, SendMessageRequest, WatchQuery,
};
use crate::routes::{self, with_query};

/// Each method is one route of [`routes`]; the errors are the daemon's.
#[expect(
    clippy::missing_errors_doc,
    reason = "every method fails as CallError says, and no other way"
)]
impl Client {
    /// `POST messages`. With an id in the request it may be sent again.
    pub async fn send_message(
        &self,
        request: &SendMessageRequest,
    ) -> Result<MessageView, CallError> {
        self.post(routes::MESSAGES, request).await
    }

    /// `POST messages/broadcast`. With an id in the request it may be sent again.
    pub async fn broadcast(
        &self,
        request: &BroadcastRequest,
    ) -> Result<Vec<BroadcastView>, CallError> {
        self.post(routes::MESSAGES_BROADCAST, request).await
    }

    /// `GET messages`.
    pub async fn messages(&self, query: &MessagesQuery) -> Result<Vec<MessageView>, CallError> {
        let pairs = [
            ("state", query.state.map(|state| state.word().to_owned())),
            ("peer", query.peer.clone()),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        self.get(&with_query(routes::MESSAGES, &pairs)).await
    }

    /// `GET messages/{id}`.
    pub async fn message(
        &self,
        id: MessageId,
        query: MessageQuery,
    ) -> Result<MessageView, CallError> {
        let pairs = [
            ("wait_ms", query.wait_ms.map(|wait| wait.to_string())),
            ("until", query.until.map(|state| state.word().to_owned())),
        ];
        let path = with_query(&routes::message(id), &pairs);
        let asked = Duration::from_millis(query.wait_ms.unwrap_or_default());
        self.call(Method::GET, &path, None::<&()>, asked).await
    }

    /// `GET inbox`. What it answers is marked as read unless the query says otherwise.
    pub async fn inbox(&self, query: &InboxQuery) -> Result<Vec<InboxMessage>, CallError> {
        let flag = |given: bool| given.then(|| "true".to_owned());
        let pairs = [
            ("unread", flag(query.unread)),
            ("from", query.from.clone()),
            ("wait_ms", query.wait_ms.map(|wait| wait.to_string())),
            ("peek", flag(query.peek)),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        let asked = Duration::from_millis(query.wait_ms.unwrap_or_default());
        let path = with_query(routes::INBOX, &pairs);
        self.call(Method::GET, &path, None::<&()>, asked).await
    }

    /// `GET inbox/watch`: opens the stream; it has no time limit.
    pub async fn watch_inbox(&self, query: &WatchQuery) -> Result<Lines<InboxMessage>, CallError> {
        let path = with_query(routes::INBOX_WATCH, &[("from", query.from.clone())]);
        lines::open(&self.socket, &path).await
    }

    /// `POST inbox/ack`. It may be sent again.
    pub async fn ack(&self, request: &AckRequest) -> Result<AckView, CallError> {
        self.post(routes::INBOX_ACK, request).await
    }
}
