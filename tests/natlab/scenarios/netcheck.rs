//! What a node finds out about its network, asking our beacon or coturn's server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use super::A;
use crate::lab::nat::{Kind, Nat, Ports};
use crate::lab::{Lab, Plan, RDV, RDV_ALTERNATE, RDV_V6, Site};
use crate::net::coturn::{Turnserver, behaviour_of};
use crate::pilot::contract::{BEACON_PORT, BeaconFlags, Netcheck, REGISTRY_PORT, netcheck, word};
use crate::pilot::overlay::Overlay;
use crate::pilot::until;
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test("netcheck::no_nat", no_nat),
        test("netcheck::udp_blocked", udp_blocked),
        test("netcheck::ipv6_only", ipv6_only),
        test("netcheck::hairpin", hairpin),
        test("netcheck::lifetime", lifetime),
    ];
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::UdpBlocked);
    for (kind, ports) in kinds.flat_map(|kind| Ports::ALL.map(|ports| (kind, ports))) {
        if kind.chooses_ports() || ports == Ports::Preserve {
            let nat = Nat::from(kind).ports(ports);
            let name = |server| format!("netcheck::{server}_sees_{kind}_{}", ports.name());
            trials.push(test(name("beacon"), move || beacon_sees(nat)));
            trials.push(test(name("coturn"), move || coturn_sees(nat)));
        }
    }
    trials
}

fn start(lab: Lab) -> anyhow::Result<Overlay> {
    let (registry, beacon) =
        (SocketAddr::from((RDV, REGISTRY_PORT)), SocketAddr::from((RDV, BEACON_PORT)));
    let alternate = Some(SocketAddr::from((RDV_ALTERNATE, BEACON_PORT + 1)));
    let flags = BeaconFlags { alternate, ..BeaconFlags::at(beacon) };
    Overlay::start_at(lab, registry, Some(beacon), &flags)
}

fn agrees(found: &Netcheck, overlay: &Overlay, kind: Kind) -> anyhow::Result<()> {
    let (mapping, filtering) = behaviour_of(kind);
    ensure!(found.udp && found.ipv4, "{found:?}");
    ensure!(found.mapping == word(mapping), "{found:?}");
    ensure!(found.filtering == word(filtering), "{found:?}");
    ensure!(found.nat == kind.name(), "{found:?}");
    let public = overlay.lab.address(A)?;
    ensure!(found.mapped.iter().any(|mapped| mapped.ip() == public), "{found:?}");
    Ok(())
}

fn beacon_sees(nat: Nat) -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    lab.nat(A, nat)?;
    start(lab)?.play(|overlay| {
        overlay.join("one", Site::A1)?;

        let found = netcheck(overlay.node("one")?)?;

        agrees(&found, overlay, nat.kind)?;
        ensure!(found.beacons.iter().any(|beacon| beacon.transport == "udp"), "{found:?}");
        Ok(())
    })
}

/// The rendezvous has no beacon; the node is told of a plain STUN server.
fn coturn_sees(nat: Nat) -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    lab.nat(A, nat)?;
    let server = Turnserver::start(&lab, Site::Rdv, &[RDV, RDV_ALTERNATE], 3478)?;
    let registry = SocketAddr::from((RDV, REGISTRY_PORT));
    let overlay =
        Overlay::start_at(lab, registry, Some(server.address()), &BeaconFlags::default())?;
    overlay.play(|overlay| {
        overlay.join("one", Site::A1)?;
        agrees(&netcheck(overlay.node("one")?)?, overlay, nat.kind)
    })
}

fn no_nat() -> anyhow::Result<()> {
    start(Lab::up(&Plan::of(&[Site::P1]))?)?.play(|overlay| {
        overlay.join("one", Site::P1)?;

        let found = netcheck(overlay.node("one")?)?;

        ensure!(found.udp && found.ipv4, "{found:?}");
        ensure!(found.nat == "none" && found.mapping == "none", "{found:?}");
        let socket = overlay.socket("one")?;
        ensure!(found.mapped.contains(&socket), "{found:?}");
        Ok(())
    })
}

fn udp_blocked() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    lab.nat(A, Kind::UdpBlocked)?;
    start(lab)?.play(|overlay| {
        overlay.join("one", Site::A1)?;

        let found = netcheck(overlay.node("one")?)?;

        ensure!(!found.udp && found.nat == "udp_blocked", "{found:?}");
        ensure!(found.mapping == "blocked" && found.mapped.is_empty(), "{found:?}");
        ensure!(found.beacons.iter().any(|beacon| beacon.transport == "tcp"), "{found:?}");
        Ok(())
    })
}

fn ipv6_only() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::V1]))?;
    let (registry, beacon) =
        (SocketAddr::from((RDV_V6, REGISTRY_PORT)), SocketAddr::from((RDV_V6, BEACON_PORT)));
    Overlay::start_at(lab, registry, Some(beacon), &BeaconFlags::at(beacon))?.play(|overlay| {
        overlay.join("one", Site::V1)?;

        let found = netcheck(overlay.node("one")?)?;

        ensure!(found.udp && found.ipv6 && !found.ipv4, "{found:?}");
        Ok(())
    })
}

fn hairpin() -> anyhow::Result<()> {
    for hairpin in [false, true] {
        let lab = Lab::up(&Plan::of(&[Site::A1]))?;
        let nat = Nat::from(Kind::Cone);
        lab.nat(A, if hairpin { nat.hairpin() } else { nat })?;
        start(lab)?.play(|overlay| {
            overlay.join("one", Site::A1)?;
            let found = netcheck(overlay.node("one")?)?;
            ensure!(found.hairpin == Some(hairpin), "{found:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A router that forgets after 8 s is seen through: what is found is less, and not far less.
fn lifetime() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    lab.nat(A, Nat::from(Kind::PortRestricted).lifetime_secs(8))?;
    start(lab)?.play(|overlay| {
        overlay.join("one", Site::A1)?;
        let node = overlay.node("one")?;
        let mut found = None;
        until("the lifetime is known", Duration::from_secs(60), || {
            found = netcheck(node)?.lifetime_ms;
            Ok(found.is_some())
        })?;
        let found = found.context("not found")?;
        ensure!((4_000..8_000).contains(&found), "{found} ms");
        Ok(())
    })
}
