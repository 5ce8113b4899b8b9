//! A beacon as a process of its own, so that the kernel tells its share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use pilot_identity::NodeId;
use pilot_proto::beacon::Services;
use pilot_rendezvous::beacon::{Admission, Beacon as Relay, BeaconSettings, ByteRate, Counters};

use crate::load::{self, block_on};
use crate::role::{Orders, Worker};

pub(crate) const ROLE: &str = "beacon";

/// Its key.
const KEY: usize = usize::MAX - 1;

/// How much a client may send through it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limits {
    /// As much as there is room for.
    None,
    /// What operators get who set nothing: 250 MB/s a client, 125 MB/s a pair.
    Default,
}

const LIMITED: &str = "limited";

/// A beacon at a port of both families of loopback, that lets in anybody.
pub(crate) struct Beacon {
    worker: Worker,
    port: u16,
}

impl Beacon {
    pub(crate) fn start(limits: Limits) -> anyhow::Result<Self> {
        let args = match limits {
            Limits::None => Vec::new(),
            Limits::Default => vec![LIMITED.to_owned()],
        };
        let worker = Worker::start(ROLE, &args)?;
        let port = worker.addr()?.port();
        Ok(Self { worker, port })
    }

    pub(crate) const fn v4(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    pub(crate) const fn v6(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.worker.pid()
    }

    pub(crate) fn id() -> NodeId {
        load::key(KEY).id()
    }

    /// What it has counted as of its last pause.
    pub(crate) fn counted(&mut self) -> anyhow::Result<Counted> {
        let answer = self.worker.order("counted")?;
        let numbers: Vec<u64> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [clients, over_rate, overflowed] = numbers[..] else {
            bail!("the beacon told {answer:?}")
        };
        Ok(Counted { clients, over_rate, overflowed })
    }
}

/// Of what a beacon counts, what is of interest here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) clients: u64,
    /// Datagrams dropped since their sender, or all of them, sent too much.
    pub(crate) over_rate: u64,
    pub(crate) overflowed: u64,
}

/// The other process: relays until its parent is gone.
pub(crate) fn serve(args: &[String]) -> anyhow::Result<()> {
    let limited = args.first().is_some_and(|arg| arg == LIMITED);
    let rate = |bytes| ByteRate(if limited { bytes } else { 0 });
    let many = NonZeroU32::new(1_000_000).context("a million is more than none")?;
    let settings = BeaconSettings {
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        alternate: None,
        services: Services::ALL,
        admission: Admission::Open,
        max_clients: many,
        client_rate: rate(250_000_000),
        pair_rate: rate(125_000_000),
        binds_per_second: many,
        stun_per_second: many,
        limit_loopback: limited,
    };
    let beacon = Relay::start(Arc::new(load::key(KEY)), &settings)?;
    block_on(async {
        let mut orders = Orders::taken(&beacon.local_addr().to_string()).await?;
        while orders.next().await.is_some() {
            let Counters { clients, over_rate, overflowed, .. } = beacon.counters();
            orders.done(&format!("{clients} {over_rate} {overflowed}")).await?;
        }
        Ok(())
    })
}
