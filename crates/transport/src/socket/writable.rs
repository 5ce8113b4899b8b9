//! Waiting for room in the send buffer, for QUIC.

use core::fmt;
use std::io as std_io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::UdpPoller;

use super::io::Io;

/// Waits for room in the send buffer; each has its own place in the queue of wakers.
pub(super) struct Writable {
    pub(super) io: Arc<Io>,
    pub(super) waiting: Option<Waiting>,
}

pub(super) type Waiting = Pin<Box<dyn Future<Output = std_io::Result<()>> + Send + Sync>>;

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std_io::Result<()>> {
        let Self { io, waiting } = &mut *self;
        let future = waiting.get_or_insert_with(|| {
            let io = Arc::clone(io);
            Box::pin(async move { io.writable().await })
        });
        let result = ready!(future.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").field("waiting", &self.waiting.is_some()).finish()
    }
}
