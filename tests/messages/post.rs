//! A node's messages, for tests that wait for each answer.

use std::path::Path;
use std::time::{Duration, Instant};

use pilot_local_api::client::CallError;
use pilot_local_api::messages::{
    AckRequest, InboxMessage, InboxQuery, MessageQuery, MessageState, MessageView, MessagesQuery,
    SendMessageRequest,
};
use pilot_local_api::{Client, ErrorCode};
use pilot_proto::{MessageId, PeerRef};
use pilot_tests::Node;
use tokio::runtime::{Builder, Runtime};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Post {
    runtime: Runtime,
    client: Client,
}

impl Post {
    pub(crate) fn of(node: &Node) -> Self {
        Self::at(node.home())
    }

    /// That of the node whose home this is.
    pub(crate) fn at(home: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, client: Client::keeping(home.join("pilot.sock")) }
    }

    pub(crate) fn try_send(&self, to: &PeerRef, text: &str) -> Result<MessageView, CallError> {
        self.send_as(&message_for(to, text))
    }

    pub(crate) fn send_as(&self, request: &SendMessageRequest) -> Result<MessageView, CallError> {
        self.runtime.block_on(self.client.send_message(request))
    }

    pub(crate) fn send(&self, to: &PeerRef, text: &str) -> MessageView {
        self.try_send(to, text).unwrap()
    }

    pub(crate) fn status(&self, id: MessageId) -> MessageView {
        self.runtime.block_on(self.client.message(id, MessageQuery::default())).unwrap()
    }

    pub(crate) fn list(&self) -> Vec<MessageView> {
        let query = MessagesQuery { limit: Some(1000), ..MessagesQuery::default() };
        self.runtime.block_on(self.client.messages(&query)).unwrap()
    }

    /// The message once it has come to `state`.
    pub(crate) fn until(&self, id: MessageId, state: MessageState) -> MessageView {
        let wait_ms = u64::try_from(PATIENCE.as_millis()).ok();
        let query = MessageQuery { wait_ms, until: Some(state) };
        let view = self.runtime.block_on(self.client.message(id, query)).unwrap();
        assert!(view.state.has_reached(state), "not {state}: {view:?}");
        view
    }

    /// The message once its peer has said that it does not take it.
    pub(crate) fn until_trouble(&self, id: MessageId, trouble: &str) -> MessageView {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let query = MessageQuery { wait_ms: Some(200), until: Some(MessageState::Acked) };
            let view = self.runtime.block_on(self.client.message(id, query)).unwrap();
            if view.trouble.as_deref() == Some(trouble) {
                return view;
            }
            assert!(Instant::now() < deadline, "no {trouble}: {view:?}");
        }
    }

    /// What is in the inbox; nothing if it stays empty for `wait`.
    pub(crate) fn look(&self, query: &InboxQuery) -> Vec<InboxMessage> {
        match self.runtime.block_on(self.client.inbox(query)) {
            Ok(messages) => messages,
            Err(CallError::Refused(error)) if error.code == ErrorCode::NoMessage => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn peek(&self) -> Vec<InboxMessage> {
        self.look(&InboxQuery { peek: true, limit: Some(1000), ..InboxQuery::default() })
    }

    /// The next unread messages, at least one.
    pub(crate) fn read(&self) -> Vec<InboxMessage> {
        let wait_ms = u64::try_from(PATIENCE.as_millis()).ok();
        let query = InboxQuery { unread: true, wait_ms, limit: Some(1000), ..Default::default() };
        let messages = self.look(&query);
        assert!(!messages.is_empty(), "no message came");
        messages
    }

    pub(crate) fn try_ack(&self, ids: &[MessageId]) -> Result<u64, CallError> {
        let request = AckRequest { ids: ids.to_vec(), ..AckRequest::default() };
        self.runtime.block_on(self.client.ack(&request)).map(|view| view.acked)
    }

    pub(crate) fn ack(&self, ids: &[MessageId]) {
        assert_eq!(self.try_ack(ids).unwrap(), u64::try_from(ids.len()).unwrap());
    }
}

pub(crate) fn message_for(to: &PeerRef, text: &str) -> SendMessageRequest {
    SendMessageRequest { id: None, to: to.clone(), text: text.to_owned(), expires_ms: None }
}
