//! Routers that open ports when they are asked.

use std::time::Duration;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::{A, B, ONE, TWO, becomes_direct, home_pair, join_pair, task_passes};
use crate::lab::Router;
use crate::lab::nat::Kind;
use crate::net::port_mapping::{PUBLIC, PortMapper, Protocol};
use crate::pilot::contract::netcheck;
use crate::pilot::overlay::Overlay;
use crate::suite::test;

/// How soon a port is open and used: routers take seconds to answer.
const OPENED: Duration = Duration::from_secs(15);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("port_mapping::upnp", || opens(Protocol::Upnp)),
        test("port_mapping::nat_pmp_and_pcp", || opens(Protocol::NatPmpAndPcp)),
    ]
}

/// Without an open port, two symmetric routers never let anything through.
fn opens(protocol: Protocol) -> anyhow::Result<()> {
    let lab = home_pair()?;
    lab.nat(A, Kind::Symmetric)?;
    lab.nat(B, Kind::Symmetric)?;
    let _mapper = PortMapper::start(&lab, Router::A, protocol)?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        becomes_direct(overlay, OPENED)?;
        let found = netcheck(overlay.node("one")?)?;
        ensure!(found.mapped.iter().any(|mapped| mapped.ip() == PUBLIC), "{found:?}");
        Ok(())
    })
}
