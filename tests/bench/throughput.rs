//! Bulk: through a relay, straight over our socket, and over bare quinn.
//!
//! Sender, receiver and relay are a process each, of one thread each, and share
//! the machine's cores as its scheduler likes; nothing else of ours runs. The
//! three ways take turns of two seconds between the same two processes, so that
//! the noise of the machine meets all of them. A turn ends when the receiver
//! has counted the last byte.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_transport::{Connection, Priority, RecvStream, SendStream};
use tokio::task::JoinSet;

use crate::bare;
use crate::beacon::{Beacon, Limits};
use crate::line::Line;
use crate::load::{self, block_on};
use crate::node::Node;
use crate::procfs;
use crate::role::{Orders, Worker};
use crate::samples::median;

pub(crate) const ROLE: &str = "receiver";

/// Keys: of the sender, of the receiver behind the relay, and of the other one.
const SENDER: usize = 1;
const FAR: usize = 2;
const NEAR: usize = 3;

/// Bytes of a write.
const WRITE: usize = 256 * 1024;

/// How long each way has its turn, and how often. The first turn warms up.
const LOT: Duration = Duration::from_secs(2);
const ROUNDS: usize = 8;

/// MB/s through a beacon and straight, and what that takes of the processor.
pub(crate) fn relayed_and_direct() -> anyhow::Result<Vec<Line>> {
    let beacon = Beacon::start(Limits::None)?;
    let receiver = Worker::start(ROLE, &[beacon.v6().to_string()])?;
    let pids = [std::process::id(), receiver.pid(), beacon.pid()];
    let [mut plain, mut relayed, mut direct] = [(); 3].map(|()| Turns::default());
    block_on(async {
        let told = receiver.told();
        let [bare_addr, near_addr] = told[..] else { bail!("the receiver told {told:?}") };
        let (_client, bare) = bare::bulk_connection(bare_addr.parse()?).await?;
        let node = Node::start(SENDER, loopback(), Some(beacon.v4()))?;
        let [far, near] = [FAR, NEAR].map(|number| load::key(number).id());
        for peer in [far, near] {
            node.reach().admit(peer);
        }
        node.reach().learn(&near, &[near_addr.parse()?]);
        node.bound().await?;
        let (far_connection, near_connection) =
            (node.connected(far).await?, node.connected(near).await?);
        for _ in 0..ROUNDS {
            let stream = bare.open_bi().await?;
            plain.push(turn(stream, pids).await?);
            relayed.push(turn(bulk(&far_connection).await?, pids).await?);
            direct.push(turn(bulk(&near_connection).await?, pids).await?);
            if !node.is_relayed(far) || !node.is_direct(near) {
                bail!("the paths changed: {:?}, {:?}", node.way(far), node.way(near));
            }
        }
        Ok(())
    })?;
    for turns in [&mut plain, &mut relayed, &mut direct] {
        turns.forget_first();
    }
    Ok(vec![
        relayed.line("relay_throughput", &plain).ratio_at_least(1.0),
        Line::value("relay_throughput_cpu", "s/GB", median(&relayed.cpu_per_gb(2)))
            .with_all(&relayed.cpu_per_gb(2))
            .at_most(0.4),
        direct.line("relay_throughput_direct", &plain).ratio_at_least(1.0),
    ])
}

/// A stream of bytes through a beacon, to another process.
pub(crate) struct Relayed {
    pids: [u32; 3],
    connection: Connection,
    _parts: (Beacon, Worker, Node),
}

impl Relayed {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let beacon = Beacon::start(Limits::None)?;
        let receiver = Worker::start(ROLE, &[beacon.v6().to_string()])?;
        let node = Node::start(SENDER, loopback(), Some(beacon.v4()))?;
        let far = load::key(FAR).id();
        node.reach().admit(far);
        node.bound().await?;
        let connection = node.connected(far).await?;
        let pids = [std::process::id(), receiver.pid(), beacon.pid()];
        Ok(Self { pids, connection, _parts: (beacon, receiver, node) })
    }

    /// MB/s of one turn.
    pub(crate) async fn turn(&self) -> anyhow::Result<f64> {
        let turn = turn(bulk(&self.connection).await?, self.pids).await?;
        Ok(turn.gb * 1e3 / turn.took.as_secs_f64())
    }
}

/// The other process: counts what comes, over all ways.
pub(crate) fn receive(args: &[String]) -> anyhow::Result<()> {
    let beacon = args.first().context("where is the beacon?")?.parse()?;
    block_on(async {
        let server = bare::bulk_server()?;
        let far = Node::start(FAR, SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), Some(beacon))?;
        let near = Node::start(NEAR, loopback(), None)?;
        for node in [&far, &near] {
            node.reach().admit(load::key(SENDER).id());
        }
        far.bound().await?;
        let told = format!("{} {}", server.local_addr()?, near.endpoint.local_addr());
        let mut counting = JoinSet::new();
        counting.spawn(async move {
            let connection = server.accept().await.context("closed")?.accept()?.await?;
            loop {
                count(connection.accept_bi().await?).await?;
            }
        });
        for node in [far, near] {
            counting.spawn(async move {
                let connection = node.accepted().await?;
                loop {
                    count(connection.accept_bi().await?).await?;
                }
            });
        }
        let mut orders = Orders::taken(&told).await?;
        tokio::select! {
            () = orders.gone() => Ok(()),
            Some(ended) = counting.join_next() => ended?,
        }
    })
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn bulk(connection: &Connection) -> anyhow::Result<(SendStream, RecvStream)> {
    Ok(connection.open_bi(Priority::Bulk).await?)
}

/// Takes a stream to its end, and says how long it was.
pub(crate) async fn count((mut send, mut recv): (SendStream, RecvStream)) -> anyhow::Result<()> {
    let mut buffer = vec![0; WRITE];
    let mut bytes: u64 = 0;
    while let Some(len) = recv.read(&mut buffer).await? {
        bytes += u64::try_from(len)?;
    }
    send.write_all(&bytes.to_be_bytes()).await?;
    Ok(send.finish()?)
}

/// One turn of one way.
struct Turn {
    /// Thousands of millions of bytes.
    gb: f64,
    took: Duration,
    /// Of the sender, the receiver and the relay.
    cpu: [Duration; 3],
}

/// Sends for [`LOT`], and until everything has arrived.
async fn turn(stream: (SendStream, RecvStream), pids: [u32; 3]) -> anyhow::Result<Turn> {
    let before = cpu_times(pids)?;
    let (gb, took) = send_for(LOT, stream).await?;
    let mut cpu = cpu_times(pids)?;
    for (cpu, before) in cpu.iter_mut().zip(before) {
        *cpu = cpu.saturating_sub(before);
    }
    Ok(Turn { gb, took, cpu })
}

/// Sends for so long, and waits until all of it was [counted](count): thousands
/// of millions of bytes, and how long they took.
pub(crate) async fn send_for(
    lot: Duration,
    (mut send, mut recv): (SendStream, RecvStream),
) -> anyhow::Result<(f64, Duration)> {
    let buffer = vec![7; WRITE];
    let started = Instant::now();
    let mut bytes: u64 = 0;
    while started.elapsed() < lot {
        send.write_all(&buffer).await?;
        bytes += u64::try_from(buffer.len())?;
    }
    send.finish()?;
    let mut counted = [0; 8];
    recv.read_exact(&mut counted).await?;
    let took = started.elapsed();
    if u64::from_be_bytes(counted) != bytes {
        bail!("{bytes} bytes were sent, and {} arrived", u64::from_be_bytes(counted));
    }
    #[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
    let gb = bytes as f64 / 1e9;
    Ok((gb, took))
}

fn cpu_times(pids: [u32; 3]) -> anyhow::Result<[Duration; 3]> {
    let [sender, receiver, relay] = pids;
    Ok([procfs::cpu_time(sender)?, procfs::cpu_time(receiver)?, procfs::cpu_time(relay)?])
}

/// All turns of one way.
#[derive(Default)]
struct Turns(Vec<Turn>);

impl Turns {
    fn push(&mut self, turn: Turn) {
        self.0.push(turn);
    }

    fn forget_first(&mut self) {
        drop(self.0.drain(..1));
    }

    /// MB/s of each.
    fn rates(&self) -> Vec<f64> {
        self.0.iter().map(|turn| turn.gb * 1e3 / turn.took.as_secs_f64()).collect()
    }

    /// Of one of the three processes, for each.
    fn cpu_per_gb(&self, process: usize) -> Vec<f64> {
        let of = |turn: &Turn| turn.cpu.get(process).map_or(0.0, Duration::as_secs_f64) / turn.gb;
        self.0.iter().map(of).collect()
    }

    fn line(&self, name: &str, plain: &Self) -> Line {
        let (rates, baselines) = (self.rates(), plain.rates());
        let ratios: Vec<f64> =
            rates.iter().zip(&baselines).map(|(rate, baseline)| rate / baseline).collect();
        Line::value(name, "MB/s", median(&rates))
            .with_all(&rates)
            .in_turns_with("bare quinn, same windows and buffers", median(&baselines), &ratios)
            .with_number("cpu_s_per_gb_sender", median(&self.cpu_per_gb(0)))
            .with_number("cpu_s_per_gb_receiver", median(&self.cpu_per_gb(1)))
            .with_number("cpu_s_per_gb_bare_sender", median(&plain.cpu_per_gb(0)))
            .with_number("cpu_s_per_gb_bare_receiver", median(&plain.cpu_per_gb(1)))
    }
}
