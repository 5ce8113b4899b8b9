//! One connection of a node: its requests, each on a stream, and its watch.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pilot_proto::close;
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, MAX_GRANT_BYTES, MAX_GRANTS, RefusalCode, Request};
use pilot_transport::{Connection, Framed, FramedError, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::keeper::{Keeper, Line, now};
use crate::registry::refusal;
use crate::signposts::Signposts;

/// How long a request may take to arrive, and an answer to be taken.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last without a registration.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one push may wait for a node that does not read.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request: the largest holds as many grants as are allowed. A
/// larger one is answered with `invalid`.
const MAX_REQUEST_BYTES: usize = (MAX_GRANTS + 1) * MAX_GRANT_BYTES;

/// Serves `connection` until it ends.
#[tracing::instrument(name = "line", skip_all, fields(node = %connection.peer().short()))]
pub(crate) async fn serve(
    connection: Connection,
    keeper: Arc<Keeper>,
    gate: Arc<Gate>,
    signposts: Arc<Signposts>,
) {
    let node = Arc::new(Served {
        line: keeper.attach(connection),
        keeper,
        gate,
        signposts,
        watch: Mutex::new(CancellationToken::new()),
    });
    let mut streams = JoinSet::new();
    let deadline = tokio::time::sleep(REGISTER_TIMEOUT);
    tokio::pin!(deadline);
    let mut may_idle = false;
    let reason = loop {
        tokio::select! {
            accepted = node.line.connection.accept_bi() => match accepted {
                Ok((send, recv)) => {
                    streams.spawn(Arc::clone(&node).exchange(send, recv));
                }
                Err(reason) => break reason,
            },
            Some(ended) = streams.join_next(), if !streams.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a request was not handled");
                }
            }
            () = &mut deadline, if !may_idle => {
                may_idle = true;
                if !node.keeper.is_registered(&node.line) {
                    node.line.connection.close(close::PROTOCOL, "no registration came");
                }
            }
        }
    };
    tracing::debug!(%reason, "connection ended");
    node.keeper.detach(&node.line);
    streams.shutdown().await;
}

struct Served {
    line: Arc<Line>,
    keeper: Arc<Keeper>,
    gate: Arc<Gate>,
    signposts: Arc<Signposts>,
    /// Ends the watch that is served now.
    watch: Mutex<CancellationToken>,
}

impl Served {
    async fn exchange(self: Arc<Self>, send: SendStream, recv: RecvStream) {
        let mut stream = Framed { send, recv };
        let request = match timeout(EXCHANGE_TIMEOUT, stream.expect(MAX_REQUEST_BYTES)).await {
            Ok(Ok(request)) => request,
            Ok(Err(FramedError::Frame(error))) => {
                tracing::debug!(%error, "a request that is none");
                let message = format!("not a request: {error}");
                let invalid = Answer::Refused(refusal(RefusalCode::Invalid, &message));
                return self.answer(stream, invalid).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "no request came");
                return stream.refuse(close::PROTOCOL);
            }
            Err(_) => return stream.refuse(close::PROTOCOL),
        };
        let from = self.line.connection.remote_addr().ip();
        if let Err(limited) = self.gate.admit(self.line.caller.id, from, &request, Instant::now()) {
            if matches!(request, Request::Watch) {
                return stream.refuse(close::RATE_LIMITED);
            }
            return self.answer(stream, Answer::Refused(limited)).await;
        }
        // The watch before ends first, so that it takes nothing from this one.
        let watch = matches!(request, Request::Watch).then(|| self.next_watch());
        match (self.keeper.ask(&self.line, request).await, watch) {
            (Some(answer), None) => self.answer(stream, answer).await,
            (None, None) => {
                let answer = self.signposts.answer(self.line.caller.id, now());
                self.answer(stream, answer).await;
            }
            (None, Some(replaced)) => {
                tokio::select! {
                    biased;
                    () = replaced.cancelled() => stream.refuse(close::REPLACED),
                    () = self.push(&mut stream) => {}
                }
            }
            // A stream of pushes has no frame that says why there are none.
            (Some(_), Some(_)) => stream.refuse(close::PROTOCOL),
        }
    }

    async fn answer(&self, mut stream: Framed, answer: Answer) {
        let sent = timeout(EXCHANGE_TIMEOUT, stream.send(&answer, MAX_SMALL_FRAME)).await;
        match sent.map(|sent| sent.and_then(|()| stream.finish())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an answer was not taken"),
            Err(_) => stream.refuse(close::TOO_SLOW),
        }
    }

    /// Sends what is due for as long as the node takes it.
    async fn push(&self, stream: &mut Framed) {
        loop {
            let pushes = self.keeper.pushes(&self.line).await;
            if pushes.is_empty() {
                self.line.wake.notified().await;
            }
            for push in pushes {
                match timeout(PUSH_TIMEOUT, stream.send(&push, MAX_SMALL_FRAME)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the watch has ended");
                        return;
                    }
                    Err(_) => {
                        self.line.connection.close(close::TOO_SLOW, "pushes are not taken");
                        return pending().await;
                    }
                }
            }
        }
    }

    fn next_watch(&self) -> CancellationToken {
        let next = CancellationToken::new();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *watch, next.clone()).cancel();
        next
    }
}
