//! What the overlay asks of the program it runs in.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use pilot_identity::{NodeId, SignedGrant};
use pilot_proto::registry::{Push, Registered};
use pilot_proto::trust::{TrustAnswer, TrustOffer};

use crate::session::PeerStream;

/// A future behind a pointer.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The decisions and the services above the overlay.
///
/// Methods that answer at once are called on the hot path and must not block.
pub trait Host: Send + Sync + 'static {
    /// Whether trust with `peer` is mutual at this moment.
    fn admits(&self, peer: &NodeId) -> bool;

    /// Whether there is trust with `peer`, or one half of it.
    fn knows(&self, peer: &NodeId) -> bool;

    /// Serves one stream that an admitted peer opened.
    fn serve(self: Arc<Self>, stream: PeerStream) -> BoxFuture<()>;

    /// Answers a grant that came over a trust connection from any key.
    /// `source` is the one socket of its node, as seen from here.
    fn trust_offer(
        self: Arc<Self>,
        from: NodeId,
        source: SocketAddr,
        offer: TrustOffer,
    ) -> BoxFuture<TrustAnswer>;

    /// Takes a grant that an admitted peer sent; false if it is not believed.
    fn grant(self: Arc<Self>, from: NodeId, grant: SignedGrant) -> BoxFuture<bool>;

    /// Hears of the rendezvous. Pushes wait for the future, in order.
    fn registry(self: Arc<Self>, event: RegistryEvent) -> BoxFuture<()>;

    /// Hears of sessions. Called without locks held.
    fn link(&self, peer: NodeId, event: LinkEvent);
}

/// What happened on the line to the rendezvous.
#[derive(Debug)]
pub enum RegistryEvent {
    /// This node is registered.
    Connected {
        /// The key of the rendezvous, for pinning.
        key: NodeId,
        /// What it said.
        registered: Registered,
    },
    /// It told something.
    Push(Push),
    /// The line broke; it is being mended.
    Lost,
}

/// What happened to a peer's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// There is a session now.
    Up,
    /// Its card is newer than what the rendezvous has pushed: it dialled from
    /// elsewhere, or was looked up.
    Found,
    /// There is none any more.
    Down,
    /// The peer refused: it does not hold our grant, or took its own back.
    NotTrusted,
}
