//! A node played by the test: it holds a key and says whatever it likes.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use pilot_identity::{Grant, NodeId, NodeKey, Scopes, SignedGrant, Timestamp};
use pilot_local_api::trust::TrustState;
use pilot_proto::control::{ControlAnswer, ControlRequest, Hello};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, Grants, PutGrant, Register, Registered, Request};
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{Address, BootId, Endpoints, PeerRef, Service, Tags};
use pilot_tests::{Node, Team, eventually};
use pilot_transport::{
    Alpn, CloseReason, ConnectError, Connection, Endpoint, Expect, Framed, Priority, Settings,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// After which a test that waits has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// See the module.
pub(super) struct Puppet {
    pub(super) key: Arc<NodeKey>,
    pub(super) endpoint: Endpoint,
    line: Option<Connection>,
    accepts: bool,
    runtime: Handle,
    _alive: oneshot::Sender<()>,
}

impl Puppet {
    /// A node with the key of `seed` that answers those who speak one of `accept`.
    pub(super) fn start(seed: u8, accept: &[Alpn]) -> anyhow::Result<Self> {
        let key = Arc::new(NodeKey::from_seed(&Zeroizing::new([seed; 32])));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, dropped) = oneshot::channel::<()>();
        thread::spawn(move || runtime.block_on(dropped));
        let settings = Settings::new(([127, 0, 0, 1], 0).into(), accept.to_vec());
        let endpoint = {
            let _inside = handle.enter();
            Endpoint::bind(Arc::clone(&key), settings)?
        };
        let accepts = !accept.is_empty();
        Ok(Self { key, endpoint, line: None, accepts, runtime: handle, _alive: alive })
    }

    /// Its key as a peer.
    pub(super) fn peer(&self) -> PeerRef {
        PeerRef::Key(self.key.id())
    }

    /// Does something as this node, within the deadline.
    pub(super) fn play<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let limited = async { tokio::time::timeout(DEADLINE, work).await };
        self.runtime.block_on(limited).context("nothing happened before the deadline")
    }

    /// Lets something go on by itself.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Registers at the team's rendezvous, at its own endpoint.
    pub(super) fn register(&mut self, team: &Team, name: &str) -> anyhow::Result<Registered> {
        let at = team.rendezvous.addr();
        let line = self.play(self.endpoint.connect(Expect::Any, at, Alpn::Registry))??;
        self.line = Some(line);
        let register = Register {
            minor: 0,
            name: Some(name.parse()?),
            tags: Tags::default(),
            public: false,
            endpoints: Endpoints::new([self.endpoint.local_addr()]),
            fixed: true,
            boot: BootId(1),
        };
        let answer = self.ask(&Request::Register(register))?;
        let Answer::Registered(registered) = answer else { bail!("not registered: {answer:?}") };
        Ok(registered)
    }

    /// Asks the rendezvous.
    pub(super) fn ask(&self, request: &Request) -> anyhow::Result<Answer> {
        let line = self.line.as_ref().context("not registered")?;
        self.play(async {
            let (send, recv) = line.open_bi(Priority::Control).await?;
            let mut framed = Framed { send, recv };
            framed.send(request, MAX_SMALL_FRAME).await?;
            framed.finish()?;
            Ok(framed.expect(MAX_SMALL_FRAME).await?)
        })?
    }

    /// Puts a grant at the rendezvous.
    pub(super) fn put(&self, grant: SignedGrant) -> anyhow::Result<PutGrant> {
        let batch = Grants::batches([grant]).pop().context("no batch")?;
        let answer = self.ask(&Request::PutGrants(batch))?;
        let Answer::GrantsPut(outcomes) = answer else { bail!("grants not put: {answer:?}") };
        outcomes.first().copied().context("no outcome")
    }

    /// Its grant of `scopes` to `to`.
    pub(super) fn grant(&self, to: NodeId, scopes: Scopes, serial: u64) -> SignedGrant {
        grant(self.key.id(), to, scopes, serial).sign(&self.key)
    }

    /// Becomes a registered node with which the node `name` has mutual trust.
    pub(super) fn befriend(&mut self, team: &Team, name: &str) -> anyhow::Result<Address> {
        let (api, node) = (team.api(name)?, id(team.node(name))?);
        let called = format!("puppet-{}", self.key.id().short());
        let address = self.register(team, &called)?.address;
        api.trust(&PeerRef::Address(address))?;
        let put = self.put(self.grant(node, Scopes::ALL, 1))?;
        ensure!(put == PutGrant::Stored, "{put:?}");
        eventually("the puppet is trusted", || Ok(api.stands(&self.peer(), TrustState::Trusted)?))?;
        if self.accepts {
            self.be_found(node);
        }
        Ok(address)
    }

    /// Answers the probes of `node`, so that it finds a path. Whoever does so
    /// dials it by no other.
    fn be_found(&self, node: NodeId) {
        let reach = self.endpoint.reach().clone();
        reach.admit(node);
        self.spawn(async move { reach.drive().await });
    }

    /// Dials the daemon of a node.
    pub(super) fn dial(&self, node: &Node, alpn: Alpn) -> anyhow::Result<Connection> {
        Ok(self.try_dial(node, alpn)??)
    }

    /// Dials; how that failed.
    pub(super) fn try_dial(
        &self,
        node: &Node,
        alpn: Alpn,
    ) -> anyhow::Result<Result<Connection, ConnectError>> {
        let (expect, at) = (Expect::Key(id(node)?), node.socket_addr()?);
        self.play(self.endpoint.connect(expect, at, alpn))
    }

    /// Dials as a peer and says hello.
    pub(super) fn session(&self, node: &Node, boot: u64) -> anyhow::Result<Connection> {
        let connection = self.dial(node, Alpn::Peer)?;
        let mut control = self.open(&connection, Service::Control.number())?;
        let hello = Hello { minor: 0, boot: BootId(boot), capabilities: 0 };
        let answer = self.play(async {
            control.send(&ControlRequest::Hello(hello), MAX_SMALL_FRAME).await?;
            control.finish()?;
            control.expect::<ControlAnswer>(MAX_SMALL_FRAME).await
        })??;
        ensure!(matches!(answer, ControlAnswer::Hello(_)), "{answer:?}");
        Ok(connection)
    }

    /// Opens a stream for the service of this number.
    pub(super) fn open(&self, connection: &Connection, service: u16) -> anyhow::Result<Framed> {
        self.play(async {
            let (mut send, recv) = connection.open_bi(Priority::Task).await?;
            send.write_all(&service.to_be_bytes()).await?;
            Ok(Framed { send, recv })
        })?
    }

    /// Hands a node a grant as strangers do.
    pub(super) fn offer(
        &self,
        node: &Node,
        grant: SignedGrant,
        claimed: Option<Address>,
    ) -> anyhow::Result<TrustAnswer> {
        let connection = self.dial(node, Alpn::Trust)?;
        let offer = TrustOffer { grant, address: claimed, name: None };
        self.play(async {
            let (send, recv) = connection.open_bi(Priority::Control).await?;
            let mut framed = Framed { send, recv };
            framed.send(&offer, MAX_SMALL_FRAME).await?;
            framed.finish()?;
            Ok(framed.expect(MAX_SMALL_FRAME).await?)
        })?
    }

    /// With which code the peer closed the connection.
    pub(super) fn closed(&self, connection: &Connection) -> anyhow::Result<u32> {
        let reason = self.play(connection.closed())?;
        let CloseReason::PeerClosed { code, .. } = reason else { bail!("not by it: {reason:?}") };
        Ok(code)
    }
}

/// What `from` would have to sign.
pub(super) fn grant(from: NodeId, to: NodeId, scopes: Scopes, serial: u64) -> Grant {
    Grant {
        from,
        to,
        network: 1,
        scopes,
        issued_at: Timestamp::from_millis(1_700_000_000_000),
        expires_at: None,
        serial,
    }
}

/// The key of a real node.
pub(super) fn id(node: &Node) -> anyhow::Result<NodeId> {
    Ok(node.api()?.whoami()?.identity.public_key)
}
