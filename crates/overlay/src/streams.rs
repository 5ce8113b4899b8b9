//! The life of an installed session: its streams, its end, its replacement.

use core::time::Duration;
use std::sync::Arc;

use pilot_identity::NodeId;
use pilot_proto::control::{ControlAnswer, ControlRequest};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::{Service, close};
use pilot_transport::CloseReason;
use pilot_transport::{Framed, FramedError};
use tokio::time::timeout;

use crate::host::LinkEvent;
use crate::overlay::Inner;
use crate::peer::Installed;
use crate::session::{PeerStream, Session};

/// How long a peer may take to say what a stream is for.
const OPENING: Duration = Duration::from_secs(10);

/// How long a session that another took over may finish its streams.
const RETIREMENT: Duration = Duration::from_secs(5);

/// Bytes an echo gives back at the most.
const MAX_ECHO: usize = 1024 * 1024;

impl Inner {
    /// Puts a new session to use and starts serving its streams. Gives the
    /// session that is in use afterwards.
    pub(crate) fn install(self: &Arc<Self>, session: &Session) -> Session {
        let id = session.peer();
        let peer = self.peer(id);
        let inner = Arc::clone(self);
        let served = session.clone();
        self.tasks.spawn(async move { inner.serve_session(served).await });
        let connection = session.connection();
        if !session.dialled_here()
            && connection.is_at_udp_address()
            && peer.found_at(connection.remote_addr())
        {
            self.endpoint.reach().learn(&id, peer.card().endpoints.as_slice());
            self.host.link(id, LinkEvent::Found);
        }
        match peer.install(session, &self.me) {
            Installed::First => self.host.link(id, LinkEvent::Up),
            Installed::Buried(old) => {
                old.connection().close(close::REPLACED, "the peer restarted");
                self.host.link(id, LinkEvent::Up);
            }
            Installed::Retired(old) => {
                for excess in peer.retire(old.clone()) {
                    excess.connection().close(close::REPLACED, "too many connections");
                }
                self.retire(old);
            }
        }
        // Trust may have ended since the hello began, when there was no
        // session yet to be closed.
        if !self.host.admits(&id) {
            self.part(&id, close::NOT_TRUSTED, "trust has ended");
        }
        peer.session().unwrap_or_else(|| session.clone())
    }

    /// Lets a doubled session finish; its dialler closes it.
    fn retire(self: &Arc<Self>, session: Session) {
        if !session.dialled_here() {
            return;
        }
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RETIREMENT) => {}
                _ = session.connection().closed() => {}
            }
            session.connection().close(close::REPLACED, "another connection took over");
        });
    }

    async fn serve_session(self: Arc<Self>, session: Session) {
        let id = session.peer();
        while let Ok((send, recv)) = session.connection().accept_bi().await {
            let inner = Arc::clone(&self);
            self.tasks.spawn(async move { inner.serve_stream(id, Framed { send, recv }).await });
        }
        let reason = session.connection().closed().await;
        if !self.peer(id).remove(&session) {
            return;
        }
        tracing::info!(peer = %id.short(), ?reason, "peer disconnected");
        self.host.link(id, LinkEvent::Down);
        let orderly = match reason {
            CloseReason::LocallyClosed => true,
            CloseReason::PeerClosed { code, .. } => {
                if code == close::NOT_TRUSTED {
                    self.host.link(id, LinkEvent::NotTrusted);
                }
                true
            }
            CloseReason::TimedOut | CloseReason::Reset | CloseReason::Other(_) => false,
        };
        if !orderly && !self.stop.is_cancelled() {
            self.keep_trying(id);
        }
    }

    async fn serve_stream(self: Arc<Self>, peer: NodeId, mut framed: Framed) {
        // Trust may have ended since the session was admitted.
        if !self.host.admits(&peer) {
            framed.refuse(close::NOT_TRUSTED);
            return;
        }
        let mut number = [0; 2];
        match timeout(OPENING, framed.recv.read_exact(&mut number)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return framed.refuse(close::PROTOCOL),
        }
        let served = match Service::from_number(u16::from_be_bytes(number)) {
            None => Err(close::UNKNOWN_SERVICE),
            Some(Service::Control) => timeout(OPENING, self.control(peer, &mut framed))
                .await
                .unwrap_or(Err(close::PROTOCOL)),
            Some(Service::Echo) => echo(&mut framed).await.map_err(|_| close::PROTOCOL),
            Some(service) => {
                let stream = PeerStream { peer, service, framed };
                return Arc::clone(&self.host).serve(stream).await;
            }
        };
        if let Err(code) = served {
            tracing::debug!(peer = %peer.short(), code, "stream refused");
            framed.refuse(code);
        }
    }

    async fn control(self: &Arc<Self>, peer: NodeId, framed: &mut Framed) -> Result<(), u32> {
        let request = framed.expect(MAX_SMALL_FRAME).await.map_err(|_| close::PROTOCOL)?;
        let answer = match request {
            ControlRequest::Hello(_) => ControlAnswer::Hello(self.own_hello()),
            ControlRequest::Grant(grant) => {
                if Arc::clone(&self.host).grant(peer, grant).await {
                    ControlAnswer::GrantStored
                } else {
                    ControlAnswer::GrantRefused
                }
            }
        };
        framed.send(&answer, MAX_SMALL_FRAME).await.map_err(|_| close::PROTOCOL)?;
        framed.finish().map_err(|_| close::PROTOCOL)
    }
}

/// Sends back what comes, up to [`MAX_ECHO`] bytes.
async fn echo(framed: &mut Framed) -> Result<(), FramedError> {
    let mut left = MAX_ECHO;
    while let Some(chunk) = framed.recv.read_chunk(left, true).await? {
        left = left.saturating_sub(chunk.bytes.len());
        framed.send.write_all(&chunk.bytes).await?;
        if left == 0 {
            break;
        }
    }
    framed.finish()
}
