//! Messages: what is asked of the daemon, and what it shows.

mod inbox;
mod sent;

pub use inbox::{AckRequest, AckView, InboxMessage, InboxQuery, WatchQuery};
pub use sent::{
    BroadcastRequest, BroadcastView, MessageQuery, MessageState, MessageStateError, MessageView,
    MessagesQuery, SendMessageRequest,
};
