//! What coturn's clients say of the lab's routers, asking coturn's server.

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::lab::nat::{Kind, Nat, Ports};
use crate::lab::{Lab, Plan, RDV, RDV_ALTERNATE, Router, Site};
use crate::net::coturn::{Behaviour, Turnserver, behaviour_of, discover, reflexive};
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    let kinds = Kind::ALL.into_iter().flat_map(|kind| Ports::ALL.map(|ports| (kind, ports)));
    let behind = kinds
        .filter(|(kind, ports)| kind.chooses_ports() || *ports == Ports::Preserve)
        .map(|(kind, ports)| {
            let name = format!("lab::coturn_sees_{kind}_{}", ports.name());
            test(name, move || coturn_sees(Nat::from(kind).ports(ports)))
        });
    behind.chain([test("lab::coturn_sees_no_nat", coturn_sees_no_nat)]).collect()
}

fn coturn_sees(nat: Nat) -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    let router = Site::Nat(Router::A);
    lab.nat(router, nat)?;
    let server = Turnserver::start(&lab, Site::Rdv, &[RDV, RDV_ALTERNATE], 3478)?;

    let address = reflexive(&lab, Site::A1, server.address())?;
    let seen = discover(&lab, Site::A1, server.address())?;

    let public = lab.address(router)?;
    if nat.kind == Kind::UdpBlocked {
        ensure!(address.is_none(), "{address:?}");
    } else {
        ensure!(address.is_some_and(|address| address.ip() == public), "{address:?}");
    }
    ensure!(seen == behaviour_of(nat.kind), "{seen:?}");
    Ok(())
}

fn coturn_sees_no_nat() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::P1]))?;
    let server = Turnserver::start(&lab, Site::Rdv, &[RDV, RDV_ALTERNATE], 3478)?;

    let address = reflexive(&lab, Site::P1, server.address())?;
    let seen = discover(&lab, Site::P1, server.address())?;

    let own = lab.address(Site::P1)?;
    ensure!(address.is_some_and(|address| address.ip() == own), "{address:?}");
    ensure!(seen == (Behaviour::None, Behaviour::EndpointIndependent), "{seen:?}");
    Ok(())
}
