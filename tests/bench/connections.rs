//! Memory of idle connections: a process of its own holds one end of many.
//!
//! Both processes run the overlay of the daemon, so that what it keeps for a
//! session is counted with what QUIC keeps for a connection.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use pilot_identity::{NodeId, SignedGrant};
use pilot_overlay::{
    BoxFuture, Card, Host, LinkEvent, Overlay, PeerStream, RegistryEvent, Session, Setup,
};
use pilot_proto::registry::Register;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{BootId, Endpoints, MINOR_VERSION, Tags, close};
use pilot_tests::{Process, Programs};
use pilot_transport::{Alpn, Endpoint, Settings};

use crate::line::Line;
use crate::load::{self, block_on};
use crate::procfs;

/// The key of the process that holds the other ends.
const SERVER: usize = usize::MAX;

/// Whose memory is not counted: the first ones make what is there only once.
const FIRST: usize = 100;

const COUNTED: usize = 2000;

/// After which the handshakes' leftovers are gone: closed paths, probes of the MTU.
const SETTLE: Duration = Duration::from_secs(6);

/// kB a connection, after it was used for its hello and has been idle.
pub(crate) fn memory(_: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(crate::SERVE);
    let mut server = Process::start(command)?;
    let addr: SocketAddr = server.line("serving ", Duration::from_secs(10))?.parse()?;
    block_on(async {
        let first = connect(addr, 0, FIRST).await?;
        tokio::time::sleep(SETTLE).await;
        let before = procfs::resident_kb(server.pid())?;
        let counted = connect(addr, FIRST, COUNTED).await?;
        tokio::time::sleep(SETTLE).await;
        let after = procfs::resident_kb(server.pid())?;
        let open = |(_, session): &&(Overlay, Session)| !session.connection().is_closed();
        let still = first.iter().chain(&counted).filter(open).count();
        if still != FIRST + COUNTED {
            anyhow::bail!("only {still} connections are left");
        }
        let each = (after - before) / f64::from(u32::try_from(COUNTED)?);
        Ok(vec![
            Line::value("idle_connection", "kB", each)
                .with("samples", COUNTED.into())
                .at_most(50.0),
        ])
    })
}

/// The other process: admits everybody, until it is killed.
pub(crate) fn serve() -> anyhow::Result<()> {
    block_on(async {
        let endpoint = bind(SERVER, vec![Alpn::Peer])?;
        let addr = endpoint.local_addr();
        let overlay = overlay(endpoint, Vec::new());
        for number in 0..FIRST + COUNTED {
            overlay.admit(load::key(number).id());
        }
        crate::say(&format!("serving {addr}"))?;
        std::future::pending::<()>().await;
        drop(overlay);
        Ok(())
    })
}

/// Sessions of `count` nodes with keys from `first` on.
async fn connect(
    addr: SocketAddr,
    first: usize,
    count: usize,
) -> anyhow::Result<Vec<(Overlay, Session)>> {
    let server = load::key(SERVER).id();
    let connect = |number| async move {
        let card = Card { endpoints: Endpoints::new([addr]), ..Card::default() };
        let overlay = overlay(bind(number, Vec::new())?, vec![(server, card)]);
        overlay.admit(server);
        let session = overlay.session(server).await.context("no session")?;
        anyhow::Ok((overlay, session))
    };
    stream::iter(first..first + count).map(connect).buffer_unordered(32).try_collect().await
}

fn bind(number: usize, accept: Vec<Alpn>) -> anyhow::Result<Endpoint> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(Endpoint::bind(Arc::new(load::key(number)), Settings::new(any, accept))?)
}

fn overlay(endpoint: Endpoint, cards: Vec<(NodeId, Card)>) -> Overlay {
    let boot = BootId(1);
    let register = Register {
        minor: MINOR_VERSION,
        name: None,
        tags: Tags::default(),
        public: false,
        endpoints: Endpoints::default(),
        fixed: false,
        boot,
    };
    let me = endpoint.id();
    Overlay::start(Setup {
        endpoint,
        me,
        boot,
        host: Arc::new(Open),
        cards,
        registry: None,
        beacons: Vec::new(),
        register,
    })
}

/// Admits every key and serves nothing.
struct Open;

impl Host for Open {
    fn admits(&self, _: &NodeId) -> bool {
        true
    }

    fn knows(&self, _peer: &NodeId) -> bool {
        true
    }

    fn serve(self: Arc<Self>, mut stream: PeerStream) -> BoxFuture<()> {
        Box::pin(async move { stream.framed.refuse(close::UNKNOWN_SERVICE) })
    }

    fn trust_offer(
        self: Arc<Self>,
        _: NodeId,
        _: SocketAddr,
        _: TrustOffer,
    ) -> BoxFuture<TrustAnswer> {
        Box::pin(async { TrustAnswer::Invalid })
    }

    fn grant(self: Arc<Self>, _: NodeId, _: SignedGrant) -> BoxFuture<bool> {
        Box::pin(async { false })
    }

    fn registry(self: Arc<Self>, _: RegistryEvent) -> BoxFuture<()> {
        Box::pin(async {})
    }

    fn link(&self, _: NodeId, _: LinkEvent) {}
}
