//! From first contact to the first byte, over links of 20 ms.
//!
//! Every way between two sockets goes through a [`Link`]: the round trip
//! between the nodes is 20 ms, straight and through a beacon that stands
//! half-way; a beacon that is as far from each as they are from each other is
//! seen beside it. Nodes and beacon are bound and admitted before; then one of
//! them dials, opens a stream, sends a byte and has it back. Beside it bare
//! quinn does the same straight through the same kind of link: one round trip
//! of handshake and one of the byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pilot_tests::Link;
use pilot_transport::{Priority, RecvStream, SendStream};
use rustls::crypto::aws_lc_rs::kx_group;
use tokio::time::timeout;

use crate::bare::Bare;
use crate::beacon::{Beacon, Limits};
use crate::line::Line;
use crate::load::{PATIENCE, block_on};
use crate::node::{Node, until};
use crate::samples::Samples;

/// One way.
const HALF: Duration = Duration::from_millis(10);

const ROUNDS: usize = 15;

/// Round trips from the call to the byte: through a beacon, and without any.
pub(crate) fn round_trips() -> anyhow::Result<Vec<Line>> {
    let beacon = Beacon::start(Limits::None)?;
    let half_way = Link::before(beacon.v4(), HALF / 2)?;
    let as_far = Link::before(beacon.v4(), HALF)?;
    let [mut bare, mut relayed, mut far, mut known] = [(); 4].map(|()| Samples::default());
    block_on(async {
        for round in 0..ROUNDS {
            let key = 100 + 10 * round;
            bare.push(plain().await?);
            relayed.push(met(key, half_way.addr()).await?);
            far.push(met(key + 2, as_far.addr()).await?);
            known.push(told(key + 4).await?);
        }
        Ok(())
    })?;
    let line = |name, samples| line(name, samples, &bare);
    Ok(vec![
        line("first_byte_relayed", &relayed),
        line("first_byte_far_beacon", &far),
        line("first_byte_no_beacon", &known),
    ])
}

fn line(name: &str, samples: &Samples, bare: &Samples) -> Line {
    let trips = |millis: f64| millis / (HALF.as_secs_f64() * 2e3);
    let (value, plain) = (trips(samples.median()), trips(bare.median()));
    Line::value(name, "round trips", value)
        .with_number("p50_ms", samples.median())
        .with_number("p99_ms", samples.percentile(99))
        .with("samples", samples.len().into())
        .baseline("bare quinn, straight", plain)
        .with_number("more", value - plain)
        // The first two are of bare quinn; its own time is the machine's.
        .at_most(plain + 2.0)
}

/// Bare quinn, straight.
async fn plain() -> anyhow::Result<Duration> {
    let bare = Bare::bind(kx_group::X25519MLKEM768)?;
    let link = Link::before(bare.addr(), HALF)?;
    let begun = Instant::now();
    let dial = async {
        let connection = bare.dialled(link.addr()).await?;
        byte(connection.open_bi().await?).await?;
        let took = begun.elapsed();
        anyhow::Ok((took, connection))
    };
    let accept = async {
        let connection = bare.accepted().await?;
        answer(connection.accept_bi().await?).await?;
        anyhow::Ok(connection)
    };
    let ((took, _dialled), _accepted) = tokio::try_join!(dial, accept)?;
    Ok(took)
}

/// Two nodes that are bound at the beacon there, and know no more of each other
/// than their keys. Where each is the other learns by the beacon.
async fn met(key: usize, beacon: SocketAddr) -> anyhow::Result<Duration> {
    let (one, _one_link) = node(key, Some(beacon)).await?;
    let (other, _other_link) = node(key + 1, Some(beacon)).await?;
    one.bound().await?;
    other.bound().await?;
    contact(&one, &other, &[]).await
}

/// Two nodes without a beacon, of which one is told where the other is when it
/// is to reach it.
async fn told(key: usize) -> anyhow::Result<Duration> {
    let (one, _one_link) = node(key, None).await?;
    let (other, other_link) = node(key + 1, None).await?;
    contact(&one, &other, &[other_link.addr()]).await
}

/// A node that is to be reached by a link alone.
async fn node(key: usize, beacon: Option<SocketAddr>) -> anyhow::Result<(Node, Link)> {
    let node = Node::start(key, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), beacon)?;
    let link = Link::before(node.endpoint.local_addr(), HALF)?;
    node.reach().set_fixed(link.addr());
    // It runs, and knows where it is itself.
    until("running", || !node.reach().report().candidates.is_empty()).await?;
    Ok((node, link))
}

async fn contact(one: &Node, other: &Node, at: &[SocketAddr]) -> anyhow::Result<Duration> {
    one.reach().admit(other.id());
    other.reach().admit(one.id());
    let begun = Instant::now();
    if !at.is_empty() {
        one.reach().learn(&other.id(), at);
    }
    let dial = async {
        let connection = one.connected(other.id()).await?;
        byte(connection.open_bi(Priority::Message).await?).await?;
        let took = begun.elapsed();
        anyhow::Ok((took, connection))
    };
    let accept = async {
        let connection = other.accepted().await?;
        answer(connection.accept_bi().await?).await?;
        anyhow::Ok(connection)
    };
    let both = async { tokio::try_join!(dial, accept) };
    let ((took, _dialled), _accepted) = timeout(PATIENCE, both).await.context("no byte came")??;
    Ok(took)
}

/// Sends a byte, and waits until it is back.
async fn byte((mut send, mut recv): (SendStream, RecvStream)) -> anyhow::Result<()> {
    send.write_all(&[7]).await?;
    Ok(recv.read_exact(&mut [0]).await?)
}

async fn answer((mut send, mut recv): (SendStream, RecvStream)) -> anyhow::Result<()> {
    let mut byte = [0];
    recv.read_exact(&mut byte).await?;
    Ok(send.write_all(&byte).await?)
}
