//! A node, as a rendezvous sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot_identity::{Grant, NodeId, NodeKey, Scopes, SignedGrant, Timestamp};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{
    Answer, GrantAck, GrantAcks, Grants, Push, PutGrant, Refusal, Register, Registered, Request,
};
use pilot_proto::{BootId, Endpoints, NodeName, Tags};
use pilot_transport::{
    Alpn, CloseReason, ConnectError, Connection, Endpoint, Expect, Framed, FramedError, Priority,
    Settings,
};
use zeroize::Zeroizing;

/// After which a test that waits has failed.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("nothing happened before the deadline")
}

pub(crate) fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub(crate) fn grant(from: u8, to: u8, scopes: Scopes, serial: u64) -> SignedGrant {
    let grant = Grant {
        from: key(from).id(),
        to: key(to).id(),
        network: 1,
        scopes,
        issued_at: Timestamp::from_millis(1),
        expires_at: None,
        serial,
    };
    grant.sign(&key(from))
}

pub(crate) fn private() -> Register {
    Register {
        minor: 0,
        name: None,
        tags: Tags::default(),
        public: false,
        endpoints: Endpoints::default(),
        fixed: false,
        boot: BootId(1),
    }
}

pub(crate) fn named(name: &str) -> Register {
    Register { name: Some(name.parse::<NodeName>().unwrap()), ..private() }
}

/// A connection to the rendezvous. Its endpoint lives as long.
pub(crate) struct Node {
    pub(crate) connection: Connection,
    endpoint: Endpoint,
}

impl Node {
    pub(crate) async fn try_connect(
        seed: u8,
        server: SocketAddr,
        id: NodeId,
    ) -> Result<Self, ConnectError> {
        Self::try_connect_as(key(seed), server, id).await
    }

    pub(crate) async fn connect_as(key: NodeKey, server: SocketAddr, id: NodeId) -> Self {
        Self::try_connect_as(key, server, id).await.unwrap()
    }

    async fn try_connect_as(
        key: NodeKey,
        server: SocketAddr,
        id: NodeId,
    ) -> Result<Self, ConnectError> {
        let settings = Settings::new(([127, 0, 0, 1], 0).into(), Vec::new());
        let endpoint = Endpoint::bind(Arc::new(key), settings).unwrap();
        let connection = within(endpoint.connect(Expect::Key(id), server, Alpn::Registry)).await?;
        Ok(Self { connection, endpoint })
    }

    pub(crate) async fn connect(seed: u8, server: SocketAddr, id: NodeId) -> Self {
        Self::try_connect(seed, server, id).await.unwrap()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    pub(crate) async fn open(&self) -> Framed {
        let (send, recv) = within(self.connection.open_bi(Priority::Control)).await.unwrap();
        Framed { send, recv }
    }

    pub(crate) async fn try_ask(&self, request: &Request) -> Result<Answer, FramedError> {
        let mut stream = self.open().await;
        stream.send(request, MAX_SMALL_FRAME).await?;
        stream.finish()?;
        within(stream.expect(MAX_SMALL_FRAME)).await
    }

    pub(crate) async fn ask(&self, request: &Request) -> Answer {
        self.try_ask(request).await.unwrap()
    }

    /// The answer as it came, byte for byte.
    pub(crate) async fn ask_raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.open().await;
        stream.send.write_all(request).await.unwrap();
        stream.finish().unwrap();
        within(stream.recv.read_to_end(MAX_SMALL_FRAME)).await.unwrap()
    }

    pub(crate) async fn register(&self, wanted: Register) -> Registered {
        let answer = self.ask(&Request::Register(wanted)).await;
        let Answer::Registered(registered) = answer else { panic!("{answer:?}") };
        registered
    }

    pub(crate) async fn refusal(&self, request: &Request) -> Refusal {
        let answer = self.ask(request).await;
        let Answer::Refused(refusal) = answer else { panic!("{answer:?}") };
        refusal
    }

    pub(crate) async fn put(&self, grant: SignedGrant) -> PutGrant {
        let grants = Grants::batches([grant]).remove(0);
        let answer = self.ask(&Request::PutGrants(grants)).await;
        let Answer::GrantsPut(outcomes) = answer else { panic!("{answer:?}") };
        outcomes[0]
    }

    pub(crate) async fn acknowledge(&self, from: u8, serial: u64) {
        let acks = GrantAcks::batches([GrantAck { from: key(from).id(), serial }]).remove(0);
        assert_eq!(self.ask(&Request::AckGrants(acks)).await, Answer::GrantsAcked);
    }

    pub(crate) async fn watch(&self) -> Watch {
        let mut stream = self.open().await;
        stream.send(&Request::Watch, MAX_SMALL_FRAME).await.unwrap();
        stream.finish().unwrap();
        Watch(stream)
    }

    /// With which code the rendezvous closed the connection.
    pub(crate) async fn closed(&self) -> u32 {
        let reason = within(self.connection.closed()).await;
        let CloseReason::PeerClosed { code, .. } = reason else { panic!("{reason:?}") };
        code
    }
}

pub(crate) struct Watch(Framed);

impl Watch {
    pub(crate) async fn try_next(&mut self) -> Result<Push, FramedError> {
        within(self.0.expect(MAX_SMALL_FRAME)).await
    }

    pub(crate) async fn next(&mut self) -> Push {
        self.try_next().await.unwrap()
    }

    pub(crate) async fn until_caught_up(&mut self) -> Vec<Push> {
        let mut pushes = Vec::new();
        loop {
            match self.next().await {
                Push::CaughtUp => return pushes,
                push @ (Push::Grant { .. } | Push::Peer(_) | Push::Hidden(_)) => pushes.push(push),
            }
        }
    }
}
