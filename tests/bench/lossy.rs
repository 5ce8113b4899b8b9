//! Bulk over a long path that loses packets.
//!
//! Between two sockets stands a [`Link`] each way: the round trip takes 50 ms,
//! and 1 % of all datagrams are lost, each by itself, in both directions. Over
//! it a stream of bulk runs for ten seconds, in turns with a stream of bare
//! quinn over a link of the same kind. Both ends are in this one process: the
//! rates are far below what it can do.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use pilot_tests::Link;
use pilot_transport::{Connection, Priority, RecvStream, SendStream};

use crate::bare;
use crate::line::Line;
use crate::load::block_on;
use crate::node::{Node, until};
use crate::samples::median;
use crate::throughput::{count, send_for};

/// The time of one way, and what it loses.
const ONE_WAY: Duration = Duration::from_millis(25);
const LOSES: f64 = 0.01;

/// How long each turn sends, and how often.
const LOT: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

/// MB/s.
pub(crate) fn stream() -> anyhow::Result<Vec<Line>> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    block_on(async {
        let [sender, receiver] = [1, 2].map(node);
        let ((sender, _one), (receiver, _other)) = (sender.await?, receiver.await?);
        sender.reach().admit(receiver.id());
        receiver.reach().admit(sender.id());
        sender.reach().learn(&receiver.id(), &[_other.addr()]);
        let (from, to) = tokio::try_join!(sender.connected(receiver.id()), receiver.accepted())?;

        let server = bare::bulk_server()?;
        let link = Link::losing(server.local_addr()?, ONE_WAY, LOSES)?;
        let accepted = async { anyhow::Ok(server.accept().await.context("closed")?.await?) };
        let (there, bare) = tokio::try_join!(accepted, bare::bulk_connection(link.addr()))?;
        for _ in 0..ROUNDS {
            let counting = async { count(there.accept_bi().await?).await };
            let sending = async { turn(bare.1.open_bi().await?).await };
            plain.push(tokio::try_join!(sending, counting)?.0);
            ours.push(between(&from, &to).await?);
        }
        Ok(())
    })?;
    let ratios: Vec<f64> = ours.iter().zip(&plain).map(|(ours, plain)| ours / plain).collect();
    Ok(vec![
        Line::value("lossy_stream", "MB/s", median(&ours))
            .with_all(&ours)
            .in_turns_with("a bare quinn stream", median(&plain), &ratios)
            .at_least(10.0),
    ])
}

async fn between(from: &Connection, to: &Connection) -> anyhow::Result<f64> {
    let counting = async { count(to.accept_bi().await?).await };
    let sending = async { turn(from.open_bi(Priority::Bulk).await?).await };
    Ok(tokio::try_join!(sending, counting)?.0)
}

/// A node that is to be reached by a link alone.
async fn node(key: usize) -> anyhow::Result<(Node, Link)> {
    let node = Node::start(key, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)?;
    let link = Link::losing(node.endpoint.local_addr(), ONE_WAY, LOSES)?;
    node.reach().set_fixed(link.addr());
    // It runs, and knows where it is itself.
    until("running", || !node.reach().report().candidates.is_empty()).await?;
    Ok((node, link))
}

/// MB/s of one turn.
async fn turn(stream: (SendStream, RecvStream)) -> anyhow::Result<f64> {
    let (gb, took) = send_for(LOT, stream).await?;
    Ok(gb * 1e3 / took.as_secs_f64())
}
