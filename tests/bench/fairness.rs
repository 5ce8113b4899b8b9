//! One greedy client of a beacon, and three pairs that go about their work.
//!
//! The greedy one floods: batches of 64 KiB to an accomplice, as fast as the
//! kernel takes them, from a process of its own. Each pair echoes small
//! messages and transfers what a good line carries, 25 MB/s; both must go on.
//! The machine's cores are shared by the flood, the beacon and the pairs, so
//! what the pairs lose is more than what the beacon takes from them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_transport::{Connection, Priority, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::beacon::{Beacon, Limits};
use crate::client::Client;
use crate::line::Line;
use crate::load::block_on;
use crate::node::Node;
use crate::role::{Orders, Worker};
use crate::samples::{Samples, median};

pub(crate) const ROLE: &str = "flood";

const PAIRS: usize = 3;

/// Keys of the flood and its accomplice.
const GREEDY: usize = 2_000_000;

/// Bytes that a transfer has more to send every [`TICK`]: 25 MB/s.
const PIECE: usize = 50_000;
const TICK: Duration = Duration::from_millis(2);

/// How long the pairs are looked at alone and beside the flood, and how often.
const LOT: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 5;

/// Until a flood, or the end of one, is felt by everybody.
const SETTLE: Duration = Duration::from_millis(300);

/// What is left to the pairs, with the limits that operators get and with none.
pub(crate) fn pairs() -> anyhow::Result<Vec<Line>> {
    Ok(vec![
        beside("relay_fairness", Limits::Default)?.at_least(0.8),
        // The kernel drops before the beacon can know whose it is: no target.
        beside("relay_fairness_unlimited", Limits::None)?,
    ])
}

fn beside(name: &str, limits: Limits) -> anyhow::Result<Line> {
    let mut beacon = Beacon::start(limits)?;
    let mut flood = Worker::start(ROLE, &[beacon.v4().to_string()])?;
    let before = beacon.counted()?;
    let mut flooded = Vec::new();
    let (mut alone, mut beside) = (Seen::default(), Seen::default());
    block_on(async {
        let mut pairs = Pair::start_all(&beacon).await?;
        tokio::time::sleep(SETTLE).await;
        for _ in 0..ROUNDS {
            alone.look(&mut pairs).await?;
            flood.order("begin")?;
            tokio::time::sleep(SETTLE).await;
            beside.look(&mut pairs).await?;
            flooded.push(flood.order("end")?.parse()?);
            tokio::time::sleep(SETTLE).await;
        }
        Ok(())
    })?;
    let after = beacon.counted()?;
    let left: Vec<f64> = alone.rates.iter().zip(&beside.rates).map(|(a, b)| worst(a, b)).collect();
    let dropped = (after.over_rate + after.overflowed) - (before.over_rate + before.overflowed);
    Ok(Line::value(name, "of their rate", median(&left))
        .with_all(&left)
        .with_number("mb_s_alone", median(&alone.rates.concat()))
        .with_number("mb_s_beside", median(&beside.rates.concat()))
        .with_number("echo_us_alone", alone.echoes.median() * 1e3)
        .with_number("echo_us_beside", beside.echoes.median() * 1e3)
        .with_number("echo_us_beside_p99", beside.echoes.percentile(99) * 1e3)
        .with_number("flood_mb_s", median(&flooded))
        .with("dropped_by_the_beacon", dropped.into()))
}

/// What is left to the pair to which the least is left.
fn worst(alone: &[f64], beside: &[f64]) -> f64 {
    let left = alone.iter().zip(beside).map(|(alone, beside)| beside / alone);
    left.fold(f64::INFINITY, f64::min)
}

/// The other process: floods when it is told to, until it is told not to.
pub(crate) fn flood(args: &[String]) -> anyhow::Result<()> {
    let beacon: SocketAddr = args.first().context("where is the beacon?")?.parse()?;
    let (greedy, accomplice) = (Client::bound(GREEDY, beacon)?, Client::bound(GREEDY + 1, beacon)?);
    let to = accomplice.relay_id();
    // On a thread of its own, so that orders are heard meanwhile.
    let (tell, told) = std::sync::mpsc::sync_channel::<()>(0);
    let (report, reports) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        while told.recv().is_ok() {
            let started = Instant::now();
            let sent = greedy.flood(to, || told.try_recv().is_err())?;
            report.send(megabytes(sent) / started.elapsed().as_secs_f64())?;
        }
        anyhow::Ok(())
    });
    block_on(async {
        let mut orders = Orders::taken("").await?;
        while let Some(order) = orders.next().await {
            tell.send(())?;
            let answer = if order == "end" { reports.recv()?.to_string() } else { String::new() };
            orders.done(&answer).await?;
        }
        Ok(())
    })
}

type Echoes = Arc<Mutex<Samples>>;

/// Two nodes with nothing but a beacon between them, at work.
struct Pair {
    transferred: Arc<AtomicU64>,
    /// Of each round trip since they were last taken.
    echoes: Echoes,
    work: JoinSet<anyhow::Result<()>>,
    _nodes: [Node; 2],
}

impl Pair {
    async fn start_all(beacon: &Beacon) -> anyhow::Result<Vec<Self>> {
        let mut pairs = Vec::new();
        for number in 0..PAIRS {
            pairs.push(Self::start(10 + 2 * number, beacon).await?);
        }
        Ok(pairs)
    }

    async fn start(number: usize, beacon: &Beacon) -> anyhow::Result<Self> {
        let four = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let one = Node::start(number, four, Some(beacon.v4()))?;
        let other = Node::start(number + 1, six, Some(beacon.v6()))?;
        one.reach().admit(other.id());
        other.reach().admit(one.id());
        one.bound().await?;
        other.bound().await?;
        let (near, far) = tokio::try_join!(one.connected(other.id()), other.accepted())?;
        let (transferred, echoes) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let mut work = JoinSet::new();
        work.spawn(answer(far, Arc::clone(&transferred)));
        work.spawn(transfer(near.open_bi(Priority::Bulk).await?.0));
        work.spawn(echo(near, Arc::clone(&echoes)));
        Ok(Self { transferred, echoes, work, _nodes: [one, other] })
    }

    fn take_echoes(&self) -> Samples {
        std::mem::take(&mut *self.echoes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts what comes on the first stream, and echoes the second.
async fn answer(connection: Connection, transferred: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut streams = JoinSet::new();
    loop {
        let (mut send, mut recv) = connection.accept_bi().await?;
        let transferred = Arc::clone(&transferred);
        streams.spawn(async move {
            let mut kind = [0];
            recv.read_exact(&mut kind).await?;
            let mut buffer = vec![0; 256 * 1024];
            while let Some(len) = recv.read(&mut buffer).await? {
                if kind == ECHO {
                    send.write_all(buffer.get(..len).unwrap_or_default()).await?;
                } else {
                    transferred.fetch_add(u64::try_from(len)?, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        });
    }
}

/// First bytes of the two streams.
const ECHO: [u8; 1] = [1];
const TRANSFER: [u8; 1] = [2];

async fn transfer(mut send: SendStream) -> anyhow::Result<()> {
    send.write_all(&TRANSFER).await?;
    let piece = vec![7; PIECE];
    let mut ticks = interval(TICK);
    // What could not be sent in time is not made up for: a camera, not a file.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        send.write_all(&piece).await?;
    }
}

async fn echo(connection: Connection, echoes: Echoes) -> anyhow::Result<()> {
    let (mut send, mut recv): (SendStream, RecvStream) =
        connection.open_bi(Priority::Message).await?;
    send.write_all(&ECHO).await?;
    let mut ticks = interval(Duration::from_millis(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        send.write_all(&[7; 64]).await?;
        recv.read_exact(&mut [0; 64]).await?;
        echoes.lock().unwrap_or_else(PoisonError::into_inner).since(started);
    }
}

/// What was seen of the pairs, in one kind of lots.
#[derive(Default)]
struct Seen {
    /// MB/s of each pair in each lot.
    rates: Vec<Vec<f64>>,
    echoes: Samples,
}

impl Seen {
    async fn look(&mut self, pairs: &mut [Pair]) -> anyhow::Result<()> {
        for pair in &*pairs {
            drop(pair.take_echoes());
        }
        let bytes = || pairs.iter().map(|pair| pair.transferred.load(Ordering::Relaxed));
        let (started, before): (_, Vec<u64>) = (Instant::now(), bytes().collect());
        tokio::time::sleep(LOT).await;
        let seconds = started.elapsed().as_secs_f64();
        let rate = |(after, before): (u64, u64)| megabytes(after - before) / seconds;
        self.rates.push(bytes().zip(before).map(rate).collect());
        for pair in pairs {
            self.echoes.append(pair.take_echoes());
            if let Some(ended) = pair.work.try_join_next() {
                ended?.context("a pair ended")?;
                bail!("a pair has nothing to do");
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
const fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
