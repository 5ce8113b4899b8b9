//! Memory of idle connections: a process of its own holds one end of many.
//!
//! Both processes run the overlay of the daemon, so that what it keeps for a
//! session is counted with what QUIC keeps for a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use pilot_identity::{NodeId, SignedGrant};
use pilot_overlay::{
    BoxFuture, Card, Host, LinkEvent, Overlay, PeerStream, RegistryEvent, Session, Setup,
};
use pilot_proto::registry::Register;
use pilot_proto::trust::{TrustAnswer, TrustOffer};
use pilot_proto::{BootId, Endpoints, MINOR_VERSION, Tags, close};
use pilot_transport::{Alpn, Endpoint, Settings};

use crate::line::Line;
use crate::load::{self, block_on};
use crate::procfs;
use crate::role::{Orders, Worker};

pub(crate) const ROLE: &str = "connections";

/// The key of the process that holds the other ends.
const SERVER: usize = usize::MAX;

/// Whose memory is not counted: the first ones make what is there only once.
const FIRST: usize = 100;

const COUNTED: usize = 2000;

/// After which the handshakes' leftovers are gone: closed paths, probes of the MTU.
const SETTLE: Duration = Duration::from_secs(6);

/// kB of a peer that is admitted and has never been heard of, and what a
/// connection with it takes besides, after it was used for its hello and has
/// been idle.
pub(crate) fn memory() -> anyhow::Result<Vec<Line>> {
    let mut server = Worker::start(ROLE, &[])?;
    let addr = server.addr()?;
    block_on(async {
        admit(&mut server, 0, FIRST)?;
        let first = connect(addr, 0, FIRST).await?;
        tokio::time::sleep(SETTLE).await;
        let before = procfs::resident_kb(server.pid())?;
        admit(&mut server, FIRST, COUNTED)?;
        let admitted = procfs::resident_kb(server.pid())?;
        let counted = connect(addr, FIRST, COUNTED).await?;
        tokio::time::sleep(SETTLE).await;
        let connected = procfs::resident_kb(server.pid())?;
        let open = |(_, session): &&(Overlay, Session)| !session.connection().is_closed();
        let still = first.iter().chain(&counted).filter(open).count();
        if still != FIRST + COUNTED {
            bail!("only {still} connections are left");
        }
        let count = f64::from(u32::try_from(COUNTED)?);
        Ok(vec![
            Line::value("idle_connection", "kB", (connected - admitted) / count)
                .with("samples", COUNTED.into())
                .at_most(50.0),
            Line::value("idle_connection_admitted", "kB", (admitted - before) / count)
                .with("samples", COUNTED.into()),
        ])
    })
}

/// Lets the server admit `count` keys from `first` on.
fn admit(server: &mut Worker, first: usize, count: usize) -> anyhow::Result<()> {
    server.order(&format!("{first} {count}")).map(drop)
}

/// The other process: admits whom it is told to.
pub(crate) fn serve(_: &[String]) -> anyhow::Result<()> {
    block_on(async {
        let endpoint = bind(SERVER, vec![Alpn::Peer])?;
        let addr = endpoint.local_addr();
        let overlay = overlay(endpoint, Vec::new());
        let mut orders = Orders::taken(&addr.to_string()).await?;
        while let Some(order) = orders.next().await {
            let (first, count) = order.split_once(' ').context("two numbers are wanted")?;
            let (first, count): (usize, usize) = (first.parse()?, count.parse()?);
            for number in first..first + count {
                overlay.admit(load::key(number).id());
            }
            orders.done("admitted").await?;
        }
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
