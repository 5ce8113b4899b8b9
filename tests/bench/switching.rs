//! How long a running transfer stands still when its path changes.
//!
//! A transfer of 20 MB/s between two nodes that are bound at a beacon. The ways
//! straight between them go through [`Link`]s, which are cut and mended again
//! and again; the way through the beacon is not. Of each change the longest
//! time is taken in which nothing arrived: from the cut on until both go through
//! the relay and something has arrived, and from the mending on until both go
//! straight; and for a second more.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use pilot_tests::Link;
use pilot_transport::{Connection, Priority};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::beacon::{Beacon, Limits};
use crate::line::Line;
use crate::load::block_on;
use crate::node::{Node, until};
use crate::samples::Samples;

/// How often the straight way is cut and mended.
const ROUNDS: usize = 6;

/// Bytes that the transfer has more to send every [`TICK`].
const PIECE: usize = 40_000;
const TICK: Duration = Duration::from_millis(2);

/// For how long after a change a pause is still blamed on it.
const AFTER: Duration = Duration::from_secs(1);

/// The longest pauses, from the relay to a direct path and back.
pub(crate) fn pauses() -> anyhow::Result<Vec<Line>> {
    let beacon = Beacon::start(Limits::None)?;
    let [mut to_direct, mut to_relay, mut noticed, mut still] =
        [(); 4].map(|()| Samples::default());
    block_on(async {
        // The beacon is behind a link as well, which is never cut: it sees no
        // address of a node at which others reach that.
        let link = Link::before(beacon.v4(), Duration::ZERO)?;
        let nodes = Nodes::start(link.addr()).await?;
        for _ in 0..ROUNDS {
            still.push(nodes.arrivals.longest(Instant::now() - AFTER));
            nodes.check()?;

            let cut = Instant::now();
            nodes.cut(true);
            until("relayed", || nodes.are(Node::is_relayed)).await?;
            noticed.since(cut);
            nodes.goes_on().await?;
            to_relay.push(nodes.arrivals.longest(cut));

            let mended = Instant::now();
            nodes.cut(false);
            until("direct", || nodes.are(Node::is_direct)).await?;
            nodes.goes_on().await?;
            to_direct.push(nodes.arrivals.longest(mended));
        }
        Ok(())
    })?;
    Ok(vec![
        line("switch_pause_to_direct", &to_direct, &still).at_most(100.0),
        line("switch_pause_to_relay", &to_relay, &still)
            .with_number("noticed_ms", noticed.percentile(100))
            .at_most(3100.0),
    ])
}

/// The longest of all counts: nobody is to wait longer.
fn line(name: &str, pauses: &Samples, still: &Samples) -> Line {
    Line::value(name, "ms", pauses.percentile(100))
        .with_all(pauses.values())
        .with_number("without_change_ms", still.percentile(100))
}

/// Two nodes and the transfer between them.
struct Nodes {
    one: Node,
    other: Node,
    links: [Link; 2],
    arrivals: Arc<Arrivals>,
    connection: Connection,
    work: JoinSet<anyhow::Result<()>>,
}

impl Nodes {
    /// Until the path is direct, and has been for a moment.
    async fn start(beacon: SocketAddr) -> anyhow::Result<Self> {
        let (one, one_link) = node(1, beacon)?;
        let (other, other_link) = node(2, beacon)?;
        one.reach().admit(other.id());
        other.reach().admit(one.id());
        one.bound().await?;
        other.bound().await?;
        let (near, far) = tokio::try_join!(one.connected(other.id()), other.accepted())?;
        let arrivals = Arc::new(Arrivals::new());
        let mut work = JoinSet::new();
        work.spawn(receive(far, Arc::clone(&arrivals)));
        work.spawn(transfer(near.clone()));
        let links = [one_link, other_link];
        let nodes = Self { one, other, links, arrivals, connection: near, work };
        until("direct", || nodes.are(Node::is_direct)).await?;
        nodes.goes_on().await?;
        Ok(nodes)
    }

    /// Waits until something arrives, and a while longer.
    async fn goes_on(&self) -> anyhow::Result<()> {
        let from = Instant::now();
        until("a transfer that goes on", || self.arrivals.last() > from).await?;
        tokio::time::sleep(AFTER).await;
        Ok(())
    }

    /// Whether both are `so` towards each other.
    fn are(&self, so: fn(&Node, pilot_identity::NodeId) -> bool) -> bool {
        so(&self.one, self.other.id()) && so(&self.other, self.one.id())
    }

    fn cut(&self, is_cut: bool) {
        self.links.iter().for_each(|link| link.cut(is_cut));
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.connection.is_closed() || self.work.len() < 2 {
            bail!("the transfer has ended");
        }
        Ok(())
    }
}

/// A node that is straight reached by a link alone.
fn node(key: usize, beacon: SocketAddr) -> anyhow::Result<(Node, Link)> {
    let node = Node::start(key, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(beacon))?;
    let link = Link::before(node.endpoint.local_addr(), Duration::ZERO)?;
    node.reach().set_fixed(link.addr());
    Ok((node, link))
}

async fn transfer(connection: Connection) -> anyhow::Result<()> {
    let (mut send, _recv) = connection.open_bi(Priority::Bulk).await?;
    let piece = vec![7; PIECE];
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        send.write_all(&piece).await?;
    }
}

async fn receive(connection: Connection, arrivals: Arc<Arrivals>) -> anyhow::Result<()> {
    let (_send, mut recv) = connection.accept_bi().await?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        recv.read(&mut buffer).await?.context("the transfer was ended")?;
        arrivals.note(Instant::now());
    }
}

/// When something arrived: the pauses that are worth a look.
struct Arrivals(Mutex<Noted>);

struct Noted {
    last: Instant,
    /// Begin and end.
    pauses: Vec<(Instant, Instant)>,
}

/// Shorter ones are the sender's ticks.
const WORTH_A_LOOK: Duration = Duration::from_millis(4);

impl Arrivals {
    fn new() -> Self {
        Self(Mutex::new(Noted { last: Instant::now(), pauses: Vec::new() }))
    }

    fn note(&self, now: Instant) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut noted.last, now);
        if now.duration_since(last) >= WORTH_A_LOOK {
            noted.pauses.push((last, now));
        }
    }

    fn last(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Of the pauses that ended after `since`, one that lasts among them.
    fn longest(&self, since: Instant) -> Duration {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = (noted.last, Instant::now());
        let ended = noted.pauses.iter().filter(|(_, end)| *end > since);
        let length = |(begin, end): &(Instant, Instant)| end.duration_since(*begin);
        ended.chain([&lasting]).map(length).max().unwrap_or_default()
    }
}
