//! coturn's clients ask our beacon.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use super::A;
use crate::lab::nat::{Kind, Nat, Ports};
use crate::lab::{Lab, Plan, RDV, RDV_ALTERNATE, RDV_V6, Site};
use crate::net::coturn::{behaviour_of, discover, reflexive};
use crate::pilot::contract::{BEACON_PORT, BeaconFlags, REGISTRY_PORT};
use crate::pilot::overlay::Overlay;
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test("stun::one_address", one_address),
        test("stun::two_addresses", two_addresses),
        test("stun::ipv6", ipv6),
        test("stun::no_nat", no_nat),
    ];
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::UdpBlocked) {
        let name = format!("stun::natdiscovery_sees_{kind}");
        trials.push(test(name, move || natdiscovery_sees(kind)));
    }
    trials
}

fn beacon() -> SocketAddr {
    SocketAddr::from((RDV, BEACON_PORT))
}

fn with_two_addresses(lab: Lab) -> anyhow::Result<Overlay> {
    let registry = SocketAddr::from((RDV, REGISTRY_PORT));
    let alternate = Some(SocketAddr::from((RDV_ALTERNATE, BEACON_PORT + 1)));
    let flags = BeaconFlags { alternate, ..BeaconFlags::at(beacon()) };
    Overlay::start_at(lab, registry, Some(beacon()), &flags)
}

/// A client behind each kind of NAT is told the NAT's address.
fn tells_addresses(overlay: &Overlay, servers: &[SocketAddr]) -> anyhow::Result<()> {
    let lab = &overlay.lab;
    for kind in Kind::ALL {
        for ports in Ports::ALL {
            lab.nat(A, Nat::from(kind).ports(ports))?;
            for server in servers {
                let told = reflexive(lab, Site::A1, *server)?;
                if kind == Kind::UdpBlocked {
                    ensure!(told.is_none(), "{kind}: {told:?}");
                } else {
                    let told = told.with_context(|| format!("{kind}: no answer of {server}"))?;
                    ensure!(told.ip() == lab.address(A)?, "{kind}: {told}");
                }
            }
        }
    }
    Ok(())
}

fn one_address() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    Overlay::start(lab)?.play(|overlay| tells_addresses(overlay, &[beacon()]))
}

/// All four combinations of addresses and ports answer.
fn two_addresses() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    let ports = [BEACON_PORT, BEACON_PORT + 1];
    let servers: Vec<SocketAddr> = [RDV, RDV_ALTERNATE]
        .into_iter()
        .flat_map(|ip| ports.map(|port| SocketAddr::from((ip, port))))
        .collect();
    with_two_addresses(lab)?.play(|overlay| tells_addresses(overlay, &servers))
}

fn ipv6() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::V1]))?;
    let (registry, beacon) =
        (SocketAddr::from((RDV_V6, REGISTRY_PORT)), SocketAddr::from((RDV_V6, BEACON_PORT)));
    Overlay::start_at(lab, registry, None, &BeaconFlags::at(beacon))?.play(|overlay| {
        let told = reflexive(&overlay.lab, Site::V1, beacon)?.context("no answer")?;
        ensure!(told.ip() == overlay.lab.address(Site::V1)?, "{told}");
        Ok(())
    })
}

fn no_nat() -> anyhow::Result<()> {
    use crate::net::coturn::Behaviour::{EndpointIndependent, None};
    let lab = Lab::up(&Plan::of(&[Site::P1]))?;
    with_two_addresses(lab)?.play(|overlay| {
        let seen = discover(&overlay.lab, Site::P1, beacon())?;
        ensure!(seen == (None, EndpointIndependent), "{seen:?}");
        Ok(())
    })
}

fn natdiscovery_sees(kind: Kind) -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    lab.nat(A, Nat::from(kind).ports(Ports::Random))?;
    with_two_addresses(lab)?.play(|overlay| {
        let seen = discover(&overlay.lab, Site::A1, beacon())?;
        ensure!(seen == behaviour_of(kind), "{seen:?}");
        Ok(())
    })
}
