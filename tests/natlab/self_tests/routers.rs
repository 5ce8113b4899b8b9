//! What routers do beside mapping and filtering.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::lab::nat::{Kind, Nat, Ports, Unsolicited};
use crate::lab::{Carrier, Lab, Plan, Router, Site};
use crate::net::punch::{Punched, Side, observe, punch};
use crate::suite::test;

const A: Site = Site::Nat(Router::A);
const B: Site = Site::Nat(Router::B);

/// How soon punching is through where it works.
const SOON: Duration = Duration::from_millis(500);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("lab::ports_are_kept_or_not", ports_are_kept_or_not),
        test("lab::accepted_packets_poison_mappings", accepted_packets_poison_mappings),
        test("lab::rejecting_routers_are_punched", rejecting_routers_are_punched),
        test("lab::hairpin", hairpin),
        test("lab::carriers_are_punched", carriers_are_punched),
        test("lab::neighbours_behind_a_carrier", neighbours_behind_a_carrier),
        test("lab::homes_with_one_lan_range", homes_with_one_lan_range),
        test("lab::ipv6_only", ipv6_only),
        test("lab::ipv6_behind_firewalls", ipv6_behind_firewalls),
        test("lab::tcp_only_to_a_proxy", tcp_only_to_a_proxy),
    ]
}

fn direct(punched: Punched) -> bool {
    matches!(punched, Punched::Direct(_))
}

fn ports_are_kept_or_not() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.chooses_ports()) {
        for ports in Ports::ALL {
            lab.nat(A, Nat::from(kind).ports(ports))?;
            let side = Side::open(&lab, Site::A1)?.context("no UDP")?;
            let kept = side.observed.port() == side.socket.local_addr()?.port();
            ensure!(kept == (ports == Ports::Preserve), "{kind}, ports {}", ports.name());

            let alternate = lab.udp(Site::Rdv, (crate::lab::RDV_ALTERNATE, 0))?;
            let again = observe(&side.socket, &alternate)?.context("no UDP")?;
            ensure!(again == side.observed, "{kind} is to map independently of the endpoint");
        }
    }
    Ok(())
}

/// The same punching works on a router that drops what nobody asked for.
fn accepted_packets_poison_mappings() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::B1]))?;
    let late = Duration::from_millis(200);
    for (unsolicited, works) in [(Unsolicited::Drop, true), (Unsolicited::Accept, false)] {
        lab.nat(B, Nat::from(Kind::PortRestricted).unsolicited(unsolicited))?;

        let punched = punch(&lab, Site::A1, Site::B1, late, SOON)?;

        ensure!(direct(punched) == works, "{unsolicited:?}: {punched:?}");
        let together = punch(&lab, Site::A1, Site::B1, Duration::ZERO, SOON)?;
        ensure!(direct(together) || !works, "{unsolicited:?}, at once: {together:?}");
    }
    Ok(())
}

fn rejecting_routers_are_punched() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::B1]))?;
    let rejects = Nat::from(Kind::PortRestricted).unsolicited(Unsolicited::Reject);
    lab.nat(A, rejects)?;
    lab.nat(B, rejects)?;

    let punched = punch(&lab, Site::A1, Site::B1, Duration::ZERO, SOON)?;

    ensure!(direct(punched), "{punched:?}");
    Ok(())
}

/// The hosts know only each other's public endpoints.
fn hairpin() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::A2]))?;
    lab.isolate(Router::A)?;
    for kind in [Kind::Cone, Kind::Restricted, Kind::PortRestricted] {
        for ports in Ports::ALL {
            for (nat, works) in [(Nat::from(kind), false), (Nat::from(kind).hairpin(), true)] {
                lab.nat(A, nat.ports(ports))?;

                let punched = punch(&lab, Site::A1, Site::A2, Duration::ZERO, SOON)?;

                ensure!(direct(punched) == works, "{nat:?} {ports:?}: {punched:?}");
            }
        }
    }
    let listener = lab.udp(Site::A2, (Ipv4Addr::UNSPECIFIED, 0))?;
    let inside: SocketAddr = (lab.address(Site::A2)?, listener.local_addr()?.port()).into();
    let speaker = lab.udp(Site::A1, (Ipv4Addr::UNSPECIFIED, 0))?;
    drop(speaker.send_to(b"neighbour", inside));
    listener.set_read_timeout(Some(Duration::from_millis(100)))?;
    ensure!(listener.recv(&mut [0; 16]).is_err(), "isolated hosts reach each other");
    Ok(())
}

fn carriers_are_punched() -> anyhow::Result<()> {
    let plan =
        Plan::of(&[Site::A1, Site::B1]).behind(Router::A, Carrier::X).behind(Router::B, Carrier::Y);
    let lab = Lab::up(&plan)?;
    for (outer, works) in
        [(Kind::Cone, true), (Kind::PortRestricted, true), (Kind::Symmetric, false)]
    {
        lab.nat(Site::Carrier(Carrier::X), outer)?;
        lab.flush(A)?;

        let punched = punch(&lab, Site::A1, Site::B1, Duration::ZERO, SOON)?;

        ensure!(direct(punched) == works, "behind {outer}: {punched:?}");
    }
    let side = Side::open(&lab, Site::A1)?.context("no UDP")?;
    ensure!(side.observed.ip() == lab.address(Site::Carrier(Carrier::X))?, "{side:?}");
    Ok(())
}

fn neighbours_behind_a_carrier() -> anyhow::Result<()> {
    let plan =
        Plan::of(&[Site::A1, Site::B1]).behind(Router::A, Carrier::X).behind(Router::B, Carrier::X);
    let lab = Lab::up(&plan)?;
    for (carrier, works) in
        [(Nat::from(Kind::Cone), false), (Nat::from(Kind::Cone).hairpin(), true)]
    {
        lab.nat(Site::Carrier(Carrier::X), carrier)?;

        let punched = punch(&lab, Site::A1, Site::B1, Duration::ZERO, SOON)?;

        ensure!(punched != Punched::NoUdp);
        ensure!(direct(punched) == works, "{carrier:?}: {punched:?}");
    }
    Ok(())
}

fn homes_with_one_lan_range() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::C1]))?;
    ensure!(lab.address(Site::A1)? == lab.address(Site::C1)?);

    let punched = punch(&lab, Site::A1, Site::C1, Duration::ZERO, SOON)?;

    ensure!(direct(punched), "{punched:?}");
    Ok(())
}

fn ipv6_only() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::V1, Site::V2, Site::P1]))?;
    let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
    let (one, other) = (lab.udp(Site::V1, any)?, lab.udp(Site::V2, (lab.address(Site::V2)?, 0))?);

    let seen = observe(&one, &other)?.context("not reached")?;

    ensure!(seen.ip() == lab.address(Site::V1)?, "{seen}");
    let p1 = lab.udp(Site::P1, (lab.address(Site::P1)?, 0))?;
    let v4 = lab.udp(Site::V1, (Ipv4Addr::UNSPECIFIED, 0))?;
    ensure!(observe(&v4, &p1)?.is_none(), "it has IPv4");
    Ok(())
}

fn ipv6_behind_firewalls() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::B1]))?;
    lab.give_ipv6(Router::A)?;
    lab.give_ipv6(Router::B)?;
    let at = |lan: &str| format!("[{lan}::11]:0").parse::<SocketAddr>();
    let one = lab.udp(Site::A1, at("2001:db8:a")?)?;
    let other = lab.udp(Site::B1, at("2001:db8:b")?)?;

    ensure!(observe(&one, &other)?.is_none(), "the firewall lets strangers in");
    // That packet has opened the way back, and this one the way there.
    ensure!(observe(&other, &one)? == Some(other.local_addr()?));
    ensure!(observe(&one, &other)? == Some(one.local_addr()?));
    Ok(())
}

fn tcp_only_to_a_proxy() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::P1, Site::P2]))?;
    let (proxy, other) =
        (lab.tcp(Site::P2, ([0, 0, 0, 0], 3128))?, lab.tcp(Site::P1, ([0, 0, 0, 0], 9000))?);
    let proxy = SocketAddr::from((lab.address(Site::P2)?, proxy.local_addr()?.port()));
    let other = SocketAddr::from((lab.address(Site::P1)?, other.local_addr()?.port()));
    let SocketAddr::V4(only) = proxy else { anyhow::bail!("not IPv4") };
    let connects = |to: SocketAddr| {
        lab.enter(Site::A1, || {
            Ok(std::net::TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok())
        })
    };
    lab.nat(A, Kind::UdpBlocked)?;
    ensure!(connects(other)? && connects(proxy)?, "TCP is open at first");

    lab.nat(A, Nat::from(Kind::UdpBlocked).tcp_only_to(only))?;

    ensure!(connects(proxy)?, "the proxy is not reached");
    ensure!(!connects(other)?, "others are reached");
    Ok(())
}
