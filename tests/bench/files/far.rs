//! Files over paths that are not the shortest.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, bail};
use pilot_local_api::peers::PathKind;
use pilot_tests::{Link, Programs, Team};

use super::{plant, rate, send};
use crate::bare;
use crate::forward::Forwarder;
use crate::line::Line;
use crate::load::block_on;
use crate::pair::Pair;
use crate::role::Worker;
use crate::samples::median;
use crate::throughput::{Relayed, send_for};

/// Bytes of a file over the line that loses, and through the relay.
const LOSSY: usize = 200_000_000;
const RELAYED: usize = 1_000_000_000;

/// Turns over the line that loses; the first warms up.
const TURNS: usize = 4;

/// The same through the relay, where three programs share the cores and the
/// ratio of one turn says little.
const RELAYED_TURNS: usize = 10;

/// How long a bare stream has its turn.
const RELAYED_LOT: Duration = Duration::from_secs(2);

const ONE_WAY: Duration = Duration::from_millis(25);
const LOSES: f64 = 0.01;

/// How long a ping may take.
const PING: Duration = Duration::from_secs(5);

/// MB/s at 50 ms of round trip and 1 % of random loss each way.
pub(crate) fn lossy(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let mut rates = Vec::new();
    let (mut rtt, links) = (0, Links::losing(ONE_WAY, LOSES)?);
    block_on(async {
        let pair = links.pair().await?;
        for turn in 0..TURNS {
            let file = pair.team.folder().join(format!("lossy-{turn}"));
            // Not as long as the one before, or it would be asked whether it is that.
            plant(&file, LOSSY + turn, u8::try_from(turn)?)?;
            let (_view, took) = send(&pair, &file).await?;
            rates.push(rate(LOSSY, took));
        }
        let ping = pair.manager.ping(&pair.worker_address, PING).await?;
        if ping.path != PathKind::Direct {
            bail!("it did not go by the line that loses: {ping:?}");
        }
        rtt = ping.rtt_us;
        Ok(())
    })?;
    drop(rates.drain(..1));
    Ok(vec![
        Line::value("files_lossy", "MB/s", median(&rates))
            .with_all(&rates)
            .with("rtt_us", rtt.into())
            .at_least(10.0),
    ])
}

/// MB/s through a relay, in turns with a bare quinn stream through a plain one,
/// and with a stream of ours through ours.
pub(crate) fn relayed(_programs: &Programs) -> anyhow::Result<Vec<Line>> {
    let sink = Worker::start(super::ROLE, &[])?;
    let forwarder = Forwarder::start(sink.addr()?)?;
    let (mut rates, mut bare, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    block_on(async {
        let stream = Relayed::start().await?;
        let pair = apart().await?;
        for turn in 0..RELAYED_TURNS {
            bare.push(bare_turn(forwarder.addr()?).await?);
            ours.push(stream.turn().await?);
            let file = pair.team.folder().join(format!("relayed-{turn}"));
            // Not as long as the one before, or it would be asked whether it is that.
            let len = RELAYED + turn;
            plant(&file, len, u8::try_from(turn)?)?;
            let (_view, took) = send(&pair, &file).await?;
            rates.push(rate(len, took));
            fs::remove_file(&file)?;
        }
        let ping = pair.manager.ping(&pair.worker_address, PING).await?;
        if ping.path != PathKind::Relayed {
            bail!("it did not go through the relay: {ping:?}");
        }
        Ok(())
    })?;
    for rates in [&mut rates, &mut bare, &mut ours] {
        drop(rates.drain(..1));
    }
    let line = |name, beside, others: &[f64]| {
        let ratios: Vec<f64> = rates.iter().zip(others).map(|(rate, other)| rate / other).collect();
        Line::value(name, "MB/s", median(&rates)).with_all(&rates).in_turns_with(
            beside,
            median(others),
            &ratios,
        )
    };
    Ok(vec![
        line("files_relayed", "a bare quinn stream through a plain relay", &bare)
            .ratio_at_least(0.8),
        line("files_relayed_beside", "a stream of ours through our relay", &ours),
    ])
}

/// MB/s of one turn of a bare stream to a [sink](super::sink).
async fn bare_turn(addr: SocketAddr) -> anyhow::Result<f64> {
    let (_client, connection) = bare::bulk_connection(addr).await?;
    let (gb, took) = send_for(RELAYED_LOT, connection.open_bi().await?).await?;
    Ok(gb * 1e3 / took.as_secs_f64())
}

/// Two daemons of which one speaks IPv4 and the other IPv6, so that only a
/// relay that speaks both is between them.
async fn apart() -> anyhow::Result<Pair> {
    let mut team = Team::start_at(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))?;
    let port = team.rendezvous.addr().port();
    for (name, ip) in
        [("manager", IpAddr::V4(Ipv4Addr::LOCALHOST)), ("worker", IpAddr::V6(Ipv6Addr::LOCALHOST))]
    {
        let registry = SocketAddr::new(ip, port).to_string();
        let listen = SocketAddr::new(ip, 0).to_string();
        team.add_by(name, &registry, &["--listen", &listen])
            .with_context(|| format!("{name} does not start"))?;
    }
    Pair::of(team).await
}

/// Links by which two daemons are reached straight.
struct Links([(SocketAddr, Link); 2]);

impl Links {
    fn losing(takes: Duration, loses: f64) -> anyhow::Result<Self> {
        let link = || {
            // The daemon is given the port that was free.
            let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            anyhow::Ok((port, Link::losing(port, takes, loses)?))
        };
        Ok(Self([link()?, link()?]))
    }

    async fn pair(&self) -> anyhow::Result<Pair> {
        let mut team = Team::start(&[])?;
        for (name, (listen, link)) in ["manager", "worker"].into_iter().zip(&self.0) {
            let (listen, link) = (listen.to_string(), link.addr().to_string());
            team.add(name, &["--listen", &listen, "--endpoint", &link])
                .with_context(|| format!("{name} does not start"))?;
        }
        Pair::of(team).await
    }
}
