//! The rendezvous under a crowd: first registrations, look-ups, memory.
//!
//! Every node of the crowd has a key, a socket and a connection of its own;
//! all of them live in this process, on one thread. So the machine's cores
//! are shared by a rendezvous and a crowd that works as hard as it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use pilot_proto::frame::MAX_SMALL_FRAME;
use pilot_proto::registry::{Answer, Register, Registered, Request, View};
use pilot_proto::{Address, BootId, Endpoints, MINOR_VERSION, PeerRef, Tags};
use pilot_tests::Programs;
use pilot_transport::{Alpn, Connection, Endpoint, Expect, Framed, Priority, Settings};

use crate::line::Line;
use crate::load::{self, block_on};
use crate::pair;
use crate::procfs;
use crate::samples::Samples;

/// Nodes that register at once.
const AT_ONCE: usize = 64;

/// Connections that look up, and what each has under way.
const ASKING: usize = 16;
const UNDER_WAY: usize = 16;

/// First registrations a second.
pub(crate) fn registrations(programs: &Programs) -> anyhow::Result<Vec<Line>> {
    const NODES: usize = 4000;
    let (rendezvous, _folder) = pair::rendezvous(programs)?;
    block_on(async {
        let mut crowd = Crowd::bind(0, 200)?;
        crowd.register(rendezvous.addr()).await?;
        let mut crowd = Crowd::bind(200, NODES)?;
        let cpu = procfs::cpu_time(rendezvous.pid())?;
        let own = procfs::cpu_time(std::process::id())?;
        let started = Instant::now();
        let took = crowd.register(rendezvous.addr()).await?;
        let wall = started.elapsed();
        let cpu = procfs::cpu_time(rendezvous.pid())?.saturating_sub(cpu);
        let own = procfs::cpu_time(std::process::id())?.saturating_sub(own);
        Ok(vec![
            Line::value("registry_register", "registrations/s", per_second(NODES, wall))
                .with_number("p50_ms", took.median())
                .with_number("p99_ms", took.percentile(99))
                .with("samples", NODES.into())
                .with_number("cpu_us_rendezvous", each_us(NODES, cpu))
                .with_number("cpu_us_bench", each_us(NODES, own))
                .at_least(2000.0),
        ])
    })
}

/// Look-ups a second, of public nodes by their address.
pub(crate) fn lookups(programs: &Programs) -> anyhow::Result<Vec<Line>> {
    const LOOKUPS: usize = 60_000;
    let (rendezvous, _folder) = pair::rendezvous(programs)?;
    block_on(async {
        let mut crowd = Crowd::bind(0, 200)?;
        crowd.register(rendezvous.addr()).await?;
        crowd.look_up(LOOKUPS / 10).await?;
        let mut rates = Vec::new();
        let mut all = Samples::default();
        let cpu = procfs::cpu_time(rendezvous.pid())?;
        for _ in 0..3 {
            let started = Instant::now();
            all.append(crowd.look_up(LOOKUPS / 3).await?);
            rates.push(per_second(LOOKUPS / 3, started.elapsed()));
        }
        let cpu = procfs::cpu_time(rendezvous.pid())?.saturating_sub(cpu);
        rates.sort_by(f64::total_cmp);
        let median = rates.get(1).copied().context("nothing was measured")?;
        Ok(vec![
            Line::value("registry_lookup", "lookups/s", median)
                .with_number("p50_ms", all.median())
                .with_number("p99_ms", all.percentile(99))
                .with("samples", all.len().into())
                .with("rates", rates.iter().map(|rate| rate.round()).collect())
                .with_number("cpu_us_rendezvous", each_us(all.len(), cpu))
                .at_least(20_000.0),
        ])
    })
}

/// Memory of the rendezvous with 10,000 nodes connected and watching.
pub(crate) fn memory(programs: &Programs) -> anyhow::Result<Vec<Line>> {
    const NODES: usize = 10_000;
    /// How long they are only connected while the CPU time is taken.
    const WINDOW: Duration = Duration::from_secs(10);
    let (rendezvous, _folder) = pair::rendezvous(programs)?;
    block_on(async {
        let empty = procfs::resident_kb(rendezvous.pid())?;
        let mut crowd = Crowd::bind(0, NODES)?;
        crowd.register(rendezvous.addr()).await?;
        let watches = crowd.watch().await?;
        let full = procfs::resident_kb(rendezvous.pid())?;
        let cpu = procfs::cpu_time(rendezvous.pid())?;
        tokio::time::sleep(WINDOW).await;
        let cpu = procfs::cpu_time(rendezvous.pid())?.saturating_sub(cpu);
        let still = crowd.connected();
        drop(watches);
        if still != NODES {
            bail!("only {still} of {NODES} nodes were still connected");
        }
        Ok(vec![
            Line::value("registry_memory", "MB", full / 1000.0)
                .with("samples", NODES.into())
                .with_number("kb_each", (full - empty) / count(NODES))
                .with_number("empty_mb", empty / 1000.0)
                .with_number("cpu_percent_idle", cpu.as_secs_f64() / WINDOW.as_secs_f64() * 100.0)
                .at_most(1000.0),
        ])
    })
}

/// Many nodes.
struct Crowd {
    nodes: Vec<Node>,
}

struct Node {
    endpoint: Endpoint,
    line: Option<(Connection, Address)>,
}

impl Crowd {
    /// `count` nodes with keys from `first` on; none is connected.
    fn bind(first: usize, count: usize) -> anyhow::Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let bind = |number| {
            let settings = Settings::new(any, Vec::new());
            let endpoint = Endpoint::bind(Arc::new(load::key(number)), settings)?;
            Ok(Node { endpoint, line: None })
        };
        let nodes = (first..first + count).map(bind).collect::<anyhow::Result<_>>()?;
        Ok(Self { nodes })
    }

    /// Connects and registers all of them.
    async fn register(&mut self, rendezvous: SocketAddr) -> anyhow::Result<Samples> {
        let took: Vec<Duration> = stream::iter(&mut self.nodes)
            .map(|node| node.register(rendezvous))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut samples = Samples::default();
        took.into_iter().for_each(|took| samples.push(took));
        Ok(samples)
    }

    /// Opens the stream of pushes of each.
    async fn watch(&self) -> anyhow::Result<Vec<Framed>> {
        let watch = async |node: &Node| {
            let mut framed = open(node.connection()?).await?;
            framed.send(&Request::Watch, MAX_SMALL_FRAME).await?;
            framed.finish()?;
            // At least that everything due was said.
            framed.expect::<pilot_proto::registry::Push>(MAX_SMALL_FRAME).await?;
            anyhow::Ok(framed)
        };
        stream::iter(&self.nodes).map(watch).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Looks others up, `count` times in all.
    async fn look_up(&self, count: usize) -> anyhow::Result<Samples> {
        let addresses: Vec<Address> =
            self.nodes.iter().filter_map(|node| Some(node.line.as_ref()?.1)).collect();
        let asking = self.nodes.iter().take(ASKING);
        let mut asks = Vec::new();
        for (number, node) in asking.cycle().take(ASKING * UNDER_WAY).enumerate() {
            let (connection, addresses) = (node.connection()?, &addresses);
            asks.push(async move {
                let mut samples = Samples::default();
                let wanted = addresses.iter().cycle().skip(number);
                for address in wanted.take(count / (ASKING * UNDER_WAY)) {
                    let started = Instant::now();
                    let request = Request::Resolve(PeerRef::Address(*address));
                    let Answer::Record(View::Known(record)) = ask(connection, &request).await?
                    else {
                        bail!("{address} is not shown")
                    };
                    samples.since(started);
                    if record.address != *address {
                        bail!("another record than that of {address}");
                    }
                }
                Ok(samples)
            });
        }
        let mut all = Samples::default();
        for samples in futures_util::future::try_join_all(asks).await? {
            all.append(samples);
        }
        Ok(all)
    }

    fn connected(&self) -> usize {
        let open = |node: &&Node| node.connection().is_ok_and(|line| !line.is_closed());
        self.nodes.iter().filter(open).count()
    }
}

impl Node {
    /// From the first packet to the answer.
    async fn register(&mut self, rendezvous: SocketAddr) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let connection = self.endpoint.connect(Expect::Any, rendezvous, Alpn::Registry).await?;
        let register = Register {
            minor: MINOR_VERSION,
            name: None,
            tags: Tags::default(),
            public: true,
            endpoints: Endpoints::new([self.endpoint.local_addr()]),
            fixed: false,
            boot: BootId(1),
        };
        let answer = ask(&connection, &Request::Register(register)).await?;
        let took = started.elapsed();
        let Answer::Registered(Registered { address, .. }) = answer else {
            bail!("not registered: {answer:?}")
        };
        self.line = Some((connection, address));
        Ok(took)
    }

    fn connection(&self) -> anyhow::Result<&Connection> {
        self.line.as_ref().map(|(connection, _)| connection).context("a node is not connected")
    }
}

async fn open(connection: &Connection) -> anyhow::Result<Framed> {
    let (send, recv) = connection.open_bi(Priority::Control).await?;
    Ok(Framed { send, recv })
}

async fn ask(connection: &Connection, request: &Request) -> anyhow::Result<Answer> {
    let mut framed = open(connection).await?;
    framed.send(request, MAX_SMALL_FRAME).await?;
    framed.finish()?;
    Ok(framed.expect(MAX_SMALL_FRAME).await?)
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
const fn count(of: usize) -> f64 {
    of as f64
}

fn per_second(of: usize, wall: Duration) -> f64 {
    count(of) / wall.as_secs_f64()
}

fn each_us(of: usize, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / count(of)
}
