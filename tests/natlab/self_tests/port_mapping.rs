//! Routers open ports when they are asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::lab::nat::Kind;
use crate::lab::{Lab, Plan, Router, Site};
use crate::net::port_mapping::{PUBLIC, PortMapper, Protocol};
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    vec![test("lab::a_port_is_opened", a_port_is_opened)]
}

/// Asks by NAT-PMP (RFC 6886), and lets a stranger knock.
fn a_port_is_opened() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::A1, Site::P1]))?;
    let router = Site::Nat(Router::A);
    lab.nat(router, Kind::Symmetric)?;
    let _mapper = PortMapper::start(&lab, Router::A, Protocol::NatPmpAndPcp)?;
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (inside, client, stranger) =
        (lab.udp(Site::A1, any)?, lab.udp(Site::A1, any)?, lab.udp(Site::P1, any)?);
    let public = SocketAddr::from((PUBLIC, inside.local_addr()?.port()));
    inside.set_read_timeout(Some(Duration::from_millis(200)))?;
    stranger.send_to(b"closed", public)?;
    ensure!(inside.recv(&mut [0; 16]).is_err(), "it is open without being asked for");

    let [high, low] = inside.local_addr()?.port().to_be_bytes();
    client.send_to(&[0, 1, 0, 0, high, low, high, low, 0, 0, 2, 0], "192.168.1.1:5351")?;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut answer = [0; 16];
    client.recv(&mut answer).context("no answer of the router")?;

    ensure!(answer.starts_with(&[0, 129, 0, 0]), "{answer:?}");
    stranger.send_to(b"open", public)?;
    ensure!(inside.recv(&mut [0; 16]).is_ok(), "it is not open");
    Ok(())
}
