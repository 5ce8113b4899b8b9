//! Homes as they are: routers behind routers, neighbours, equal LANs, no IPv4,
//! routers that take what nobody asked for.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use libtest_mimic::Trial;
use pilot_local_api::peers::PathKind;

use super::{
    A, B, DIRECT, ONE, TWO, becomes_direct, home_pair, join_pair, stays_relayed, task_passes,
};
use crate::lab::nat::{Kind, Nat, Ports, Unsolicited};
use crate::lab::{Carrier, Lab, Plan, RDV, RDV_V6, Router, Site};
use crate::pilot::contract::{BEACON_PORT, BeaconFlags, REGISTRY_PORT, path_to};
use crate::pilot::overlay::Overlay;
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("homes::double_nat", double_nat),
        test("homes::double_nat_on_both_sides", double_nat_on_both_sides),
        test("homes::one_carrier_with_hairpin", || one_carrier(true)),
        test("homes::one_carrier_without_hairpin", || one_carrier(false)),
        test("homes::one_nat_with_hairpin", || one_nat(true)),
        test("homes::one_nat_without_hairpin", || one_nat(false)),
        test("homes::guests_of_one_nat_with_hairpin", || guests(true)),
        test("homes::guests_of_one_nat_without_hairpin", || guests(false)),
        test("homes::equal_lan_ranges", equal_lan_ranges),
        test("homes::a_stranger_has_the_peers_lan_address", a_stranger_has_the_peers_lan_address),
        test("homes::ipv6_only", ipv6_only),
        test("homes::ipv6_only_with_ipv4_only", ipv6_only_with_ipv4_only),
        test("homes::ipv6_behind_firewalls", ipv6_behind_firewalls),
        test("homes::accepting_routers", || unsolicited(Unsolicited::Accept)),
        test("homes::rejecting_routers", || unsolicited(Unsolicited::Reject)),
        test("homes::public_host_with_each_kind", public_host_with_each_kind),
    ]
}

/// Within which a path is direct that needs a fresh mapping, or a few.
const AFRESH: Duration = Duration::from_secs(10);

fn double_nat() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[ONE, TWO]).behind(Router::A, Carrier::X))?;
    meet_directly(lab)
}

fn double_nat_on_both_sides() -> anyhow::Result<()> {
    let plan = Plan::of(&[ONE, TWO]).behind(Router::A, Carrier::X).behind(Router::B, Carrier::Y);
    meet_directly(Lab::up(&plan)?)
}

fn meet_directly(lab: Lab) -> anyhow::Result<()> {
    meet(lab, Some(DIRECT))
}

/// A task passes, and the path becomes direct within `direct`, if it must.
fn meet(lab: Lab, direct: Option<Duration>) -> anyhow::Result<()> {
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        direct.map_or(Ok(()), |within| becomes_direct(overlay, within))
    })
}

/// Two homes of one provider know only the provider's public address.
fn one_carrier(hairpin: bool) -> anyhow::Result<()> {
    let plan = Plan::of(&[ONE, TWO]).behind(Router::A, Carrier::X).behind(Router::B, Carrier::X);
    let lab = Lab::up(&plan)?;
    let carrier = Nat::from(Kind::PortRestricted);
    lab.nat(Site::Carrier(Carrier::X), if hairpin { carrier.hairpin() } else { carrier })?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        if hairpin { becomes_direct(overlay, DIRECT) } else { stays_relayed(overlay) }
    })
}

/// The LAN is the direct way, whatever the router does.
fn one_nat(hairpin: bool) -> anyhow::Result<()> {
    let lab = neighbours(hairpin)?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, Site::A1, Site::A2)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)?;
        let path = path_to(overlay.node("one")?, "two")?;
        let lan = overlay.socket("two")?.to_string();
        ensure!(hairpin || path.endpoint == Some(lan), "{path:?}");
        Ok(())
    })
}

/// Guests of a network may talk to its router only.
fn guests(hairpin: bool) -> anyhow::Result<()> {
    let lab = neighbours(hairpin)?;
    lab.isolate(Router::A)?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, Site::A1, Site::A2)?;
        task_passes(overlay)?;
        if hairpin { becomes_direct(overlay, DIRECT) } else { stays_relayed(overlay) }
    })
}

fn neighbours(hairpin: bool) -> anyhow::Result<Lab> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::A2]))?;
    let router = Nat::from(Kind::PortRestricted);
    lab.nat(A, if hairpin { router.hairpin() } else { router })?;
    Ok(lab)
}

/// Each has the other's LAN address itself.
fn equal_lan_ranges() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::C1]))?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, Site::A1, Site::C1)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)
    })
}

/// At the address that the peer calls its own there is another node, at the same port.
fn a_stranger_has_the_peers_lan_address() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::A2, Site::C1]))?;
    let router = lab.address(Site::Nat(Router::C))?;
    Overlay::start(lab)?.play(|overlay| {
        let listen = ["--listen", "[::]:4000"];
        overlay.join_with("stranger", Site::A1, &listen)?;
        overlay.join_with("one", Site::A2, &listen)?;
        overlay.join_with("two", Site::C1, &listen)?;
        overlay.acquaint("one", "two")?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)?;
        let path = path_to(overlay.node("one")?, "two")?;
        let endpoint: Option<SocketAddr> = path.endpoint.as_deref().map(str::parse).transpose()?;
        ensure!(endpoint.is_some_and(|endpoint| endpoint.ip() == router), "{path:?}");
        Ok(())
    })
}

fn ipv6_only() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::V1, Site::V2]))?;
    let (registry, beacon) = (v6(REGISTRY_PORT), v6(BEACON_PORT));
    Overlay::start_at(lab, registry, Some(beacon), &BeaconFlags::at(beacon))?.play(|overlay| {
        join_pair(overlay, Site::V1, Site::V2)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)
    })
}

/// There is no direct way, and the relay speaks both.
fn ipv6_only_with_ipv4_only() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::V1, Site::P1]))?;
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let flags = BeaconFlags::at(any(BEACON_PORT));
    let overlay = Overlay::start_at(lab, any(REGISTRY_PORT), None, &flags)?;
    overlay.play(|overlay| {
        overlay.tell(v6(REGISTRY_PORT), v6(BEACON_PORT));
        overlay.join("one", Site::V1)?;
        overlay.tell((RDV, REGISTRY_PORT).into(), (RDV, BEACON_PORT).into());
        overlay.join("two", Site::P1)?;
        overlay.acquaint("one", "two")?;
        task_passes(overlay)?;
        stays_relayed(overlay)
    })
}

/// IPv4 does not get through to the other, IPv6 does when both begin.
fn ipv6_behind_firewalls() -> anyhow::Result<()> {
    let lab = home_pair()?;
    for (site, router) in [(A, Router::A), (B, Router::B)] {
        lab.nat(site, Kind::Symmetric)?;
        lab.give_ipv6(router)?;
    }
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)?;
        let endpoint = path_to(overlay.node("one")?, "two")?.endpoint;
        let endpoint: Option<SocketAddr> = endpoint.as_deref().map(str::parse).transpose()?;
        ensure!(endpoint.is_some_and(|endpoint| endpoint.is_ipv6()), "{endpoint:?}");
        Ok(())
    })
}

fn v6(port: u16) -> SocketAddr {
    SocketAddr::from((RDV_V6, port))
}

/// A packet that comes before the other side's own one poisons its mapping
/// (or is answered with an error), so a second try needs a fresh one.
fn unsolicited(unsolicited: Unsolicited) -> anyhow::Result<()> {
    for ports in Ports::ALL {
        for (one, other) in [
            (Kind::PortRestricted, Kind::PortRestricted),
            (Kind::Restricted, Kind::PortRestricted),
            (Kind::Cone, Kind::Symmetric),
        ] {
            for open in [[true, false], [false, true], [true, true]] {
                let lab = home_pair()?;
                for ((router, kind), open) in [(A, one), (B, other)].into_iter().zip(open) {
                    let nat = Nat::from(kind).ports(ports);
                    lab.nat(router, if open { nat.unsolicited(unsolicited) } else { nat })?;
                }
                // Whoever is first spoils the other one's mapping; with two that
                // accept only pings that cross in flight help, and here nothing
                // is in flight for long enough. The relay does.
                match (unsolicited, open) {
                    (Unsolicited::Accept, [true, true]) => meet(lab, None)?,
                    (Unsolicited::Accept, _) => meet(lab, Some(AFRESH))?,
                    (Unsolicited::Reject | Unsolicited::Drop, _) => meet(lab, Some(DIRECT))?,
                }
            }
        }
    }
    Ok(())
}

fn public_host_with_each_kind() -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let lab = Lab::up(&Plan::of(&[Site::A1, Site::P1]))?;
        lab.nat(A, kind)?;
        Overlay::start(lab)?.play(|overlay| {
            join_pair(overlay, Site::A1, Site::P1)?;
            task_passes(overlay)?;
            match kind {
                Kind::UdpBlocked => {
                    stays_relayed(overlay)?;
                    let path = path_to(overlay.node("two")?, "one")?;
                    ensure!(path.path == PathKind::Relayed, "{path:?}");
                    Ok(())
                }
                Kind::Cone | Kind::Restricted | Kind::PortRestricted | Kind::Symmetric => {
                    becomes_direct(overlay, DIRECT)
                }
            }
        })?;
    }
    Ok(())
}
