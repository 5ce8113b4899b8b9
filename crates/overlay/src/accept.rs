//! Incoming connections: admitted peers, and the trust exchange for everybody else.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{Service, close};
use pilot_transport::{Alpn, Connection, Incoming, Knock};
use pilot_transport::{Framed, FramedError};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::gate::Gate;
use crate::overlay::Inner;
use crate::session::Session;

/// How long a connection may take until it has said hello.
const GREETING: Duration = Duration::from_secs(5);

/// Trust exchanges with strangers at once; further ones are closed.
const MAX_TRUST_EXCHANGES: usize = 64;

/// What strangers have to share.
struct Strangers {
    gate: Gate,
    exchanges: Semaphore,
}

impl Inner {
    /// Serves the socket until the node stops.
    pub(crate) async fn accept_all(self: Arc<Self>) {
        let strangers = Arc::new(Strangers {
            gate: Gate::new(),
            exchanges: Semaphore::new(MAX_TRUST_EXCHANGES),
        });
        loop {
            let incoming = tokio::select! {
                () = self.stop.cancelled() => return,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => incoming,
                    None => return,
                },
            };
            let from = incoming.remote_addr();
            match strangers.gate.knock(from.ip(), incoming.is_validated(), Instant::now()) {
                Knock::Accept => {}
                Knock::Prove => {
                    incoming.retry();
                    continue;
                }
                Knock::Refuse => {
                    tracing::debug!(%from, "refused a connection: too many from there");
                    incoming.refuse();
                    continue;
                }
            }
            let (inner, strangers) = (Arc::clone(&self), Arc::clone(&strangers));
            self.tasks.spawn(async move { inner.greet_incoming(incoming, &strangers).await });
        }
    }

    async fn greet_incoming(self: &Arc<Self>, incoming: Incoming, strangers: &Strangers) {
        let source = incoming.remote_addr();
        let connection = match timeout(GREETING, incoming.accept()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%error, "handshake failed"),
            Err(_) => return tracing::debug!("handshake timed out"),
        };
        match connection.alpn() {
            Alpn::Peer => self.welcome(connection).await,
            Alpn::Trust => match strangers.exchanges.try_acquire() {
                Ok(_slot) if strangers.gate.may_exchange(source.ip(), Instant::now()) => {
                    self.trust_exchange(&connection, source).await;
                }
                Ok(_) | Err(_) => connection.close(close::RATE_LIMITED, "too many trust requests"),
            },
            Alpn::Registry => connection.close(close::PROTOCOL, "this is no rendezvous"),
        }
    }

    /// Lets a mutually trusted key in once its daemon has said hello.
    async fn welcome(self: &Arc<Self>, connection: Connection) {
        if !self.host.admits(&connection.peer()) {
            connection.close(close::NOT_TRUSTED, "trust is not mutual");
            return;
        }
        let connection = Arc::new(connection);
        match timeout(GREETING, self.answer_hello(&connection)).await {
            Ok(Ok(hello)) => {
                drop(self.install(&Session::new(connection, hello.boot, false)));
            }
            Ok(Err(_)) | Err(_) => connection.close(close::PROTOCOL, "no hello"),
        }
    }

    async fn answer_hello(&self, connection: &Connection) -> Result<Hello, FramedError> {
        let (send, recv) = connection.accept_bi().await?;
        let mut framed = Framed { send, recv };
        let mut number = [0; 2];
        framed.recv.read_exact(&mut number).await?;
        if Service::from_number(u16::from_be_bytes(number)) != Some(Service::Control) {
            return Err(FramedError::Ended);
        }
        let ControlRequest::Hello(hello) = framed.expect(MAX_SMALL_FRAME).await? else {
            return Err(FramedError::Ended);
        };
        framed.send(&ControlAnswer::Hello(self.own_hello()), MAX_SMALL_FRAME).await?;
        framed.finish()?;
        Ok(hello)
    }

    /// The one thing a stranger can say: "here is my grant to you".
    async fn trust_exchange(&self, connection: &Connection, source: SocketAddr) {
        let exchange = async {
            let (send, recv) = connection.accept_bi().await?;
            let mut framed = Framed { send, recv };
            let offer: TrustOffer = framed.expect(MAX_SMALL_FRAME).await?;
            let host = Arc::clone(&self.host);
            let answer: TrustAnswer = host.trust_offer(connection.peer(), source, offer).await;
            framed.send(&answer, MAX_SMALL_FRAME).await?;
            framed.finish()?;
            // The dialler closes when it has read the answer.
            drop(connection.closed().await);
            Ok::<(), FramedError>(())
        };
        if !matches!(timeout(GREETING, exchange).await, Ok(Ok(()))) {
            connection.close(close::PROTOCOL, "no trust exchange");
        }
    }
}
