//! Finding or opening a session with a peer.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pilot_identity::NodeId;
use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, Request, View};
use pilot_proto::{MINOR_VERSION, PeerRef, Service, close};
use pilot_transport::{Alpn, CloseReason, ConnectError, Connection, Expect, Priority};
use pilot_transport::{Framed, FramedError};
use tokio::time::timeout;

use crate::backoff::{Backoff, chance};
use crate::book::Card;
use crate::host::LinkEvent;
use crate::overlay::Inner;
use crate::peer::Peer;
use crate::session::Session;

/// How long one try to reach a peer may take, handshake and hello together.
///
/// Three of QUIC's first retransmissions (1 s apart at first) fit in.
const DIAL_TIMEOUT: Duration = Duration::from_secs(4);

/// Pause before a try dials once more beside the dials under way.
///
/// A dial asks again only after 1, 3 and 7 s, and a peer that has just
/// returned must be reached within 1 s. A handshake that takes longer than
/// this pause still wins over the later ones.
const DIAL_ANEW: Duration = Duration::from_millis(250);

/// Pause before a try dials once more although somebody has answered, and is
/// still to answer the hello.
///
/// A peer that has just started may learn in the midst of a handshake that the
/// packets are this node's: QUIC hears nothing more on that connection.
const GREET_ANEW: Duration = Duration::from_millis(500);

/// Dials of one try at once: one each quarter of a second, and one for each card
/// that comes meanwhile. Beyond it those under way must do.
const MAX_DIALS: usize = 16;

/// How long a peer that was knocked at may take to say that it does not trust
/// this node; it does so at once.
const KNOCK_PATIENCE: Duration = Duration::from_secs(2);

/// First and longest pause between tries.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Why there is no session with a peer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// This node does not trust the peer, or is not trusted by it.
    #[error("trust is not mutual")]
    NotTrusted,
    /// The peer refused: it does not hold this node's grant, or took its own back.
    #[error("the peer says that trust is not mutual")]
    NotTrustedThere,
    /// Nobody has said where it is.
    #[error("no endpoint of the peer is known")]
    NoEndpoint,
    /// None of its endpoints answers.
    #[error("the peer does not answer at any known endpoint")]
    Unreachable(#[source] Option<ConnectError>),
    /// Somebody answers there with another key.
    #[error("another key answers at the peer's endpoint")]
    WrongKey,
    /// It speaks another version of the protocol.
    #[error("the peer speaks another version of the protocol")]
    Version,
    /// It broke off during the hello.
    #[error("the peer broke off the hello")]
    Hello(#[source] FramedError),
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::WrongKey { .. } => Self::WrongKey,
            ConnectError::VersionMismatch => Self::Version,
            ConnectError::Refused { code, .. } if code == close::NOT_TRUSTED => {
                Self::NotTrustedThere
            }
            other @ (ConnectError::Unreachable
            | ConnectError::TimedOut
            | ConnectError::Refused { .. }
            | ConnectError::Busy
            | ConnectError::Handshake(_)
            | ConnectError::Closed
            | ConnectError::Local(_)) => Self::Unreachable(Some(other)),
        }
    }
}

impl Inner {
    /// The session in use, or a new one; one try.
    pub(crate) async fn session(self: &Arc<Self>, id: NodeId) -> Result<Session, DialError> {
        let peer = self.peer(id);
        if !self.host.admits(&id) {
            return Err(DialError::NotTrusted);
        }
        if let Some(session) = peer.session() {
            return Ok(session);
        }
        // Whoever waits for the turn of another waits no longer than that one.
        let reached = timeout(DIAL_TIMEOUT, async {
            let _turn = peer.dialling.lock().await;
            self.dial(id, &peer).await
        });
        reached.await.unwrap_or(Err(DialError::Unreachable(None)))
    }

    /// Dials until somebody answers, says hello, and puts the session to use.
    async fn dial(self: &Arc<Self>, id: NodeId, peer: &Arc<Peer>) -> Result<Session, DialError> {
        if !self.host.admits(&id) {
            // It was when this try began: the peer told another one meanwhile.
            return Err(DialError::NotTrustedThere);
        }
        // The host may be about to say so; whoever trusts a peer uses it at once.
        self.admit(id);
        if peer.card().endpoints.as_slice().is_empty() {
            self.look_up(id).await;
        }
        let reached = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(DialError::Stopping),
            reached = self.reach(id, peer) => reached,
        };
        if matches!(reached, Err(DialError::NotTrustedThere)) {
            self.host.link(id, LinkEvent::NotTrusted);
        }
        reached
    }

    /// Dials again and again by the best path to the peer until somebody
    /// answers in whatever way and, if it is the peer, says hello; or until
    /// there is a session otherwise.
    ///
    /// While there is no path, also knocks at the endpoints on its card: who
    /// answers there says more than silence, namely that it has another key,
    /// speaks another version, or does not trust this node.
    async fn reach(self: &Arc<Self>, id: NodeId, peer: &Peer) -> Result<Session, DialError> {
        let mut news = peer.news();
        let mut dials = FuturesUnordered::new();
        let mut greetings = FuturesUnordered::new();
        let mut answered = None;
        let mut knocks = FuturesUnordered::new();
        loop {
            news.mark_unchanged();
            if let Some(session) = peer.session() {
                return Ok(session);
            }
            let card = peer.card();
            let path = self.endpoint.reach().path(&id);
            let has_path = path.is_some_and(|path| path.way.is_some());
            let tries = dials.len() + greetings.len();
            if !has_path && tries > 0 && knocks.is_empty() {
                knocks.push(self.knock(id, card));
            }
            let is_greeting = answered.is_some_and(|at: Instant| at.elapsed() < GREET_ANEW);
            if tries == 0 || (has_path && !is_greeting && tries < MAX_DIALS) {
                dials.push(self.endpoint.connect_peer(id, Alpn::Peer));
            }
            tokio::select! {
                Some(dialled) = dials.next() => match dialled {
                    // Its paths are gone, because it said so to another try.
                    Err(_) if !self.host.admits(&id) => return Err(DialError::NotTrustedThere),
                    Err(error) => return Err(error.into()),
                    Ok(connection) => {
                        answered = Some(Instant::now());
                        // Once the peer has heard the hello it may count on this
                        // connection: it is not given up if the caller is, or if
                        // another one is ready.
                        greetings.push(self.tasks.spawn(Arc::clone(self).greet(connection)));
                    }
                },
                Some(greeted) = greetings.next() => {
                    return greeted.unwrap_or(Err(DialError::Stopping));
                }
                Some(knocked) = knocks.next() => knocked?,
                _ = news.changed() => {}
                () = tokio::time::sleep(DIAL_ANEW) => {}
            }
        }
    }

    /// Asks at the endpoints on a card why there is no path. Says nothing
    /// there; if the peer would listen, a path is on its way.
    async fn knock(&self, id: NodeId, card: Card) -> Result<(), DialError> {
        let endpoints = card.endpoints.as_slice();
        match self.endpoint.connect_any(Expect::Key(id), endpoints, Alpn::Peer).await {
            Ok(connection) => {
                let refused = timeout(KNOCK_PATIENCE, connection.closed()).await;
                connection.close(close::GOODBYE, "only asking");
                match refused {
                    Ok(CloseReason::PeerClosed { code, .. }) if code == close::NOT_TRUSTED => {
                        Err(DialError::NotTrustedThere)
                    }
                    Ok(_) | Err(_) => Ok(()),
                }
            }
            Err(ConnectError::Unreachable | ConnectError::TimedOut) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the rendezvous where a peer is: trust may be so new that it has
    /// not told yet.
    async fn look_up(&self, id: NodeId) {
        let Some(registry) = &self.registry else { return };
        let request = Request::Resolve(PeerRef::Key(id));
        if let Ok(Answer::Record(View::Known(record))) = registry.ask(&request).await {
            self.learn(id, record.into());
            self.host.link(id, LinkEvent::Found);
        }
    }

    /// Says hello on a new connection; the session in use afterwards.
    async fn greet(self: Arc<Self>, connection: Connection) -> Result<Session, DialError> {
        let connection = Arc::new(connection);
        let hello = timeout(DIAL_TIMEOUT, self.hello(&connection)).await;
        match hello.unwrap_or(Err(FramedError::Ended)) {
            Ok(hello) => Ok(self.install(&Session::new(connection, hello.boot, true))),
            Err(error) if connection.is_closed() => match connection.closed().await {
                CloseReason::PeerClosed { code, .. } if code == close::NOT_TRUSTED => {
                    Err(DialError::NotTrustedThere)
                }
                CloseReason::LocallyClosed
                | CloseReason::PeerClosed { .. }
                | CloseReason::TimedOut
                | CloseReason::Reset
                | CloseReason::Other(_) => Err(DialError::Hello(error)),
            },
            Err(error) => Err(DialError::Hello(error)),
        }
    }

    async fn hello(&self, connection: &Connection) -> Result<Hello, FramedError> {
        let (send, recv) = connection.open_bi(Priority::Control).await?;
        let mut framed = Framed { send, recv };
        framed.send.write_all(&Service::Control.number().to_be_bytes()).await?;
        framed.send(&ControlRequest::Hello(self.own_hello()), MAX_SMALL_FRAME).await?;
        framed.finish()?;
        match framed.expect(MAX_SMALL_FRAME).await? {
            ControlAnswer::Hello(hello) => Ok(hello),
            ControlAnswer::GrantStored | ControlAnswer::GrantRefused => Err(FramedError::Ended),
        }
    }

    pub(crate) const fn own_hello(&self) -> Hello {
        Hello { minor: MINOR_VERSION, boot: self.boot, capabilities: 0 }
    }

    /// Waits until there is a session, trying again and again: 0.2 s doubling
    /// to 30 s apart, and at once when something new is known of the peer.
    pub(crate) async fn connected(self: &Arc<Self>, id: NodeId) -> Result<Session, DialError> {
        let peer = self.peer(id);
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut news = peer.news();
        loop {
            news.mark_unchanged();
            match self.session(id).await {
                Ok(session) => return Ok(session),
                Err(error @ (DialError::NotTrusted | DialError::Stopping)) => return Err(error),
                Err(error) => {
                    tracing::debug!(peer = %id.short(), %error, "peer not reached");
                }
            }
            let pause = backoff.pause(chance());
            tokio::select! {
                () = self.stop.cancelled() => return Err(DialError::Stopping),
                () = tokio::time::sleep(pause) => {}
                _ = news.changed() => backoff.reset(),
            }
        }
    }

    /// Keeps trying in the background until there is a session again.
    pub(crate) fn keep_trying(self: &Arc<Self>, id: NodeId) {
        let peer = self.peer(id);
        if !peer.want() {
            return;
        }
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = inner.connected(id).await {
                tracing::debug!(peer = %id.short(), %error, "gave up reaching a peer");
            }
            peer.unwant();
        });
    }
}
