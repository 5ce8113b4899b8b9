//! What happens to a lab while it runs.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::lab::nat::{Kind, Nat, Ports};
use crate::lab::{Carrier, Lab, Plan, RDV, Router, Site};
use crate::net::punch::{Side, observe};
use crate::suite::{alone, test};

const A: Site = Site::Nat(Router::A);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        alone("lab::is_up_in_half_a_second", is_up_in_half_a_second),
        test("lab::many_at_once", many_at_once),
        test("lab::wires_are_cut_and_healed", wires_are_cut_and_healed),
        test("lab::lossy_wires", lossy_wires),
        test("lab::severed_sites_reach_all_others", severed_sites_reach_all_others),
        test("lab::flushed_mappings_are_forgotten", flushed_mappings_are_forgotten),
        test("lab::silent_mappings_are_forgotten", silent_mappings_are_forgotten),
        test("lab::hosts_change_their_address", hosts_change_their_address),
    ]
}

fn is_up_in_half_a_second() -> anyhow::Result<()> {
    let all = [
        Site::Rdv2,
        Site::P1,
        Site::P2,
        Site::V1,
        Site::V2,
        Site::A1,
        Site::A2,
        Site::B1,
        Site::B2,
        Site::C1,
    ];
    let plan = Plan::of(&all).behind(Router::A, Carrier::X).behind(Router::B, Carrier::Y);
    let mut took = Vec::new();
    // Others may be using the machine.
    for _ in 0..5 {
        let start = Instant::now();
        let _lab = Lab::up(&plan)?;
        took.push(start.elapsed());
    }
    let best = took.iter().min().context("none")?;
    ensure!(*best < Duration::from_millis(500), "{took:?}");
    Ok(())
}

/// Two labs use the same addresses and do not notice each other.
fn many_at_once() -> anyhow::Result<()> {
    let plan = Plan::of(&[Site::A1]);
    let (one, other) = (Lab::up(&plan)?, Lab::up(&plan)?);
    let at = (RDV, 7000);
    let (third, foreign) = (one.udp(Site::Rdv, at)?, other.udp(Site::Rdv, at)?);

    let socket = one.udp(Site::A1, (Ipv4Addr::UNSPECIFIED, 0))?;

    ensure!(observe(&socket, &third)?.is_some());
    ensure!(observe(&socket, &foreign)?.is_none(), "labs are joined");
    Ok(())
}

fn wires_are_cut_and_healed() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    let side = Side::open(&lab, Site::A1)?.context("no UDP")?;
    let third = lab.udp(Site::Rdv, (RDV, 0))?;
    for wire in [Site::A1, A] {
        lab.cut(wire)?;
        ensure!(observe(&side.socket, &third)?.is_none(), "{wire:?} is not cut");
        lab.heal(wire)?;
        ensure!(observe(&side.socket, &third)?.is_some(), "{wire:?} is not healed");
    }
    Ok(())
}

fn lossy_wires() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::P1]))?;
    let third = lab.udp(Site::Rdv, (RDV, 7000))?;
    let socket = lab.udp(Site::P1, (Ipv4Addr::UNSPECIFIED, 0))?;
    // They know each other's hardware address: asking for it takes a second if that is lost.
    ensure!(observe(&socket, &third)?.is_some());
    lab.lose(Site::P1, 300)?;
    third.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut arrived = 0;
    for _ in 0..10 {
        // So few at a time that no buffer is full.
        for _ in 0..100 {
            socket.send_to(b"packet", third.local_addr()?)?;
        }
        while third.recv(&mut [0; 16]).is_ok() {
            arrived += 1;
        }
    }
    ensure!((600..800).contains(&arrived), "{arrived} of 1000 arrived");
    Ok(())
}

fn severed_sites_reach_all_others() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::P1]))?;
    let (rdv, p1) =
        (lab.udp(Site::Rdv, (RDV, 0))?, lab.udp(Site::P1, (lab.address(Site::P1)?, 0))?);
    let side = Side::open(&lab, Site::A1)?.context("no UDP")?;
    let reaches = |to: &UdpSocket| Ok::<_, anyhow::Error>(observe(&side.socket, to)?.is_some());

    lab.sever(A, Site::P1)?;
    ensure!(!reaches(&p1)? && reaches(&rdv)?);
    lab.join(A, Site::P1)?;
    ensure!(reaches(&p1)? && reaches(&rdv)?);
    Ok(())
}

fn flushed_mappings_are_forgotten() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    for kind in [Kind::Cone, Kind::PortRestricted] {
        lab.nat(A, Nat::from(kind).ports(Ports::Random))?;
        let third = lab.udp(Site::Rdv, (RDV, 0))?;
        let side = Side::open(&lab, Site::A1)?.context("no UDP")?;
        ensure!(observe(&side.socket, &third)? == Some(side.observed));

        lab.flush(A)?;

        let after = observe(&side.socket, &third)?.context("no UDP")?;
        ensure!(after.port() != side.observed.port(), "{kind} knows its port after a restart");
    }
    Ok(())
}

/// The third host's packets are let in until the mapping has had its time.
fn silent_mappings_are_forgotten() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1]))?;
    for ports in Ports::ALL {
        lab.nat(A, Nat::from(Kind::PortRestricted).ports(ports).lifetime_secs(2))?;
        let third = lab.udp(Site::Rdv, (RDV, 0))?;
        let socket = lab.udp(Site::A1, (Ipv4Addr::UNSPECIFIED, 0))?;
        let observed = observe(&socket, &third)?.context("no UDP")?;
        let start = Instant::now();
        third.send_to(b"early", observed)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        ensure!(socket.recv(&mut [0; 16]).is_ok(), "{ports:?}: not let in at first");

        // The kernel's list is what ends the wait; asking does not keep the mapping alive.
        let deadline = start + Duration::from_secs(5);
        while !lab.run(A, "conntrack", &["-L", "-p", "udp"])?.is_empty() {
            ensure!(Instant::now() < deadline, "{ports:?}: still mapped");
        }

        ensure!(start.elapsed() > Duration::from_millis(1500), "{ports:?}: forgotten too early");
        third.send_to(b"late", observed)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        ensure!(socket.recv(&mut [0; 16]).is_err(), "{ports:?}: let in after its time");
    }
    Ok(())
}

fn hosts_change_their_address() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::P1]))?;
    let third = lab.udp(Site::Rdv, (RDV, 0))?;
    let p1 = lab.udp(Site::P1, (Ipv4Addr::UNSPECIFIED, 0))?;
    let a1 = lab.udp(Site::A1, (Ipv4Addr::UNSPECIFIED, 0))?;
    let before = observe(&a1, &third)?.context("no UDP")?;

    lab.readdress(Site::P1, Ipv4Addr::new(198, 51, 100, 31))?;
    lab.readdress(Site::A1, Ipv4Addr::new(192, 168, 1, 31))?;

    let seen = observe(&p1, &third)?.context("p1 is lost")?;
    ensure!(seen.ip() == Ipv4Addr::new(198, 51, 100, 31), "{seen}");
    let seen = observe(&a1, &third)?.context("a1 is lost")?;
    ensure!(seen.ip() == before.ip(), "{seen}");
    let listed = lab.run(A, "conntrack", &["-L", "-s", "192.168.1.31"])?;
    ensure!(listed.contains("192.168.1.31"), "{listed}");

    lab.readdress(A, Ipv4Addr::new(198, 51, 100, 32))?;
    let seen = observe(&a1, &third)?.context("a1 is lost")?;
    ensure!(seen.ip() == Ipv4Addr::new(198, 51, 100, 32), "{seen}");
    Ok(())
}
