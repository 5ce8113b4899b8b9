//! Between which kinds of NAT plain punching works.

use std::time::Duration;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::lab::nat::{Kind, Nat, Ports};
use crate::lab::{Lab, Plan, Router, Site};
use crate::net::punch::{Punched, can_work, punch};
use crate::suite::test;

/// How soon punching is through where it works; it took 200 ms at most.
const SOON: Duration = Duration::from_millis(500);

pub(crate) fn trials() -> Vec<Trial> {
    let rows = Kind::ALL.into_iter().flat_map(|kind| Ports::ALL.map(|ports| (kind, ports)));
    rows.filter(|(kind, ports)| kind.chooses_ports() || *ports == Ports::Preserve)
        .map(|(kind, ports)| {
            let name = format!("lab::punching_from_{kind}_{}", ports.name());
            test(name, move || punches_as_the_table_says(Nat::from(kind).ports(ports)))
        })
        .collect()
}

fn punches_as_the_table_says(from: Nat) -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::B1]))?;
    lab.nat(Site::Nat(Router::A), from)?;
    for to in Kind::ALL {
        lab.nat(Site::Nat(Router::B), Nat::from(to).ports(from.ports))?;
        lab.flush(Site::Nat(Router::A))?;
        let punched = punch(&lab, Site::A1, Site::B1, Duration::ZERO, SOON)?;

        let blocked = from.kind == Kind::UdpBlocked || to == Kind::UdpBlocked;
        let right = match punched {
            Punched::Direct(_) => can_work(from.kind, to),
            Punched::Failed => !can_work(from.kind, to) && !blocked,
            Punched::NoUdp => blocked,
        };
        ensure!(right, "{} with {to}, ports {}: {punched:?}", from.kind, from.ports.name());
    }
    Ok(())
}
