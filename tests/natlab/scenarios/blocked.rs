//! Networks that let no UDP through, and some of them not even every TCP.

use std::net::SocketAddr;

use anyhow::ensure;
use libtest_mimic::Trial;
use pilot_tests::Node;

use super::{
    A, B, DIRECT, ONE, PATIENCE, TWO, becomes_direct, home_pair, join_pair, stays_relayed,
    task_passes,
};
use crate::lab::nat::{Kind, Nat};
use crate::lab::{Lab, Plan, RDV, Site};
use crate::net::proxy::{Proxy, Rules};
use crate::pilot::contract::{BEACON_PORT, BeaconFlags, REGISTRY_PORT, netcheck};
use crate::pilot::overlay::Overlay;
use crate::pilot::stream::Stream;
use crate::suite::test;

/// Where HTTPS is expected, and let through.
const HTTPS: u16 = 443;

/// "pilot:secret" as the proxy wants it.
const BASIC: &str = "Basic cGlsb3Q6c2VjcmV0";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("blocked::only_https_gets_out", only_https_gets_out),
        test("blocked::through_a_proxy", || through(Rules::default(), "")),
        test("blocked::through_a_proxy_for_https", || {
            through(Rules { port: Some(HTTPS), ..Rules::default() }, "")
        }),
        test("blocked::through_a_proxy_with_a_password", || {
            through(Rules { authorization: Some(BASIC), ..Rules::default() }, "pilot:secret@")
        }),
        test("blocked::a_proxy_is_no_detour_where_udp_works", no_detour),
        test("blocked::a_transfer_over_tcp", transfer_over_tcp),
        test("blocked::udp_comes_back", udp_comes_back),
    ]
}

/// A rendezvous that also listens at the port of HTTPS.
fn start(lab: Lab) -> anyhow::Result<Overlay> {
    let (registry, beacon) =
        (SocketAddr::from((RDV, REGISTRY_PORT)), SocketAddr::from((RDV, BEACON_PORT)));
    let tcp = Some(SocketAddr::from((RDV, HTTPS)));
    Overlay::start_at(lab, registry, Some(beacon), &BeaconFlags { tcp, ..BeaconFlags::at(beacon) })
}

/// The node has beacons, and reaches all of them in this way.
fn reaches_beacons_by(node: &Node, transport: &str) -> anyhow::Result<()> {
    let beacons = netcheck(node)?.beacons;
    let right = !beacons.is_empty() && beacons.iter().all(|beacon| beacon.transport == transport);
    ensure!(right, "not by {transport}: {beacons:?}");
    Ok(())
}

fn only_https_gets_out() -> anyhow::Result<()> {
    let lab = home_pair()?;
    let SocketAddr::V4(https) = SocketAddr::from((RDV, HTTPS)) else {
        anyhow::bail!("only of IPv4")
    };
    lab.nat(A, Nat::from(Kind::UdpBlocked).tcp_only_to(https))?;
    start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        stays_relayed(overlay)?;
        reaches_beacons_by(overlay.node("one")?, "tcp")
    })
}

fn through(rules: Rules, user: &str) -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[ONE, TWO, Site::P2]))?;
    let proxy = Proxy::start(&lab, Site::P2, 3128, rules)?;
    lab.nat(A, Nat::from(Kind::UdpBlocked).tcp_only_to(proxy.address()))?;
    let url = format!("http://{user}{}", proxy.address());
    start(lab)?.play(|overlay| {
        overlay.join("two", TWO)?;
        ensure!(proxy.served().is_empty());
        overlay.set_variable("HTTPS_PROXY", &url);
        overlay.join("one", ONE)?;
        overlay.acquaint("one", "two")?;
        task_passes(overlay)?;
        stays_relayed(overlay)?;
        reaches_beacons_by(overlay.node("one")?, "tcp_proxy")?;
        let served = proxy.served();
        ensure!(served.iter().any(|target| target.starts_with(&RDV.to_string())), "{served:?}");
        Ok(())
    })
}

fn no_detour() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[ONE, TWO, Site::P2]))?;
    let proxy = Proxy::start(&lab, Site::P2, 3128, Rules::default())?;
    let url = format!("http://{}", proxy.address());
    start(lab)?.play(|overlay| {
        overlay.set_variable("HTTPS_PROXY", &url);
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)?;
        reaches_beacons_by(overlay.node("one")?, "udp")
    })
}

fn transfer_over_tcp() -> anyhow::Result<()> {
    let lab = home_pair()?;
    lab.nat(A, Kind::UdpBlocked)?;
    lab.nat(B, Kind::UdpBlocked)?;
    start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        let (one, two) = (overlay.node("one")?, overlay.node("two")?);
        let stream = Stream::start(one, two, overlay.peer("two")?, 256 * 1024)?;
        stream.rounds(5, PATIENCE)?;
        stream.finish()
    })
}

/// A laptop leaves the network that let no UDP through.
fn udp_comes_back() -> anyhow::Result<()> {
    let lab = home_pair()?;
    lab.nat(A, Kind::UdpBlocked)?;
    start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        stays_relayed(overlay)?;
        overlay.lab.nat(A, Kind::PortRestricted)?;
        // UDP is tried again on its own, so seldom that it does not matter where it is blocked.
        becomes_direct(overlay, PATIENCE * 6)
    })
}
