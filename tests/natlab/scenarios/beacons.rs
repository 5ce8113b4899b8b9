//! Beacons alone, several at once, and such that do less than all.

use std::net::SocketAddr;

use anyhow::Context as _;
use libtest_mimic::Trial;

use super::{
    A, B, DIRECT, ONE, PATIENCE, TWO, becomes_direct, join_pair, stays_relayed, task_passes,
};
use crate::lab::nat::Kind;
use crate::lab::{Lab, Plan, RDV, RDV2, Site};
use crate::pilot::contract::{
    BEACON_PORT, BeaconFlags, Clients, REGISTRY_PORT, UNREACHABLE, netcheck,
};
use crate::pilot::overlay::Overlay;
use crate::pilot::stream::Stream;
use crate::pilot::until;
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("beacons::alone_for_one_rendezvous", || alone(false)),
        test("beacons::alone_for_anybody", || alone(true)),
        test("beacons::several_at_once", several_at_once),
        test("beacons::without_relay", without_relay),
    ]
}

fn lab() -> anyhow::Result<Lab> {
    Lab::up(&Plan::of(&[ONE, TWO, Site::Rdv2]))
}

fn other_beacon() -> SocketAddr {
    SocketAddr::from((RDV2, BEACON_PORT))
}

/// The registry here, the beacon on another host.
fn alone(open: bool) -> anyhow::Result<()> {
    Overlay::without_beacon(lab()?)?.play(|overlay| {
        let clients = if open {
            Clients::All
        } else {
            Clients::OfRendezvous(overlay.rendezvous.key().to_owned())
        };
        let _beacon = overlay.start_beacon(Site::Rdv2, other_beacon(), &clients)?;
        overlay.tell((RDV, REGISTRY_PORT).into(), other_beacon());
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)?;
        overlay.lab.sever(A, B)?;
        task_passes(overlay)?;
        stays_relayed(overlay)
    })
}

/// Nodes use all they know of, and do not mind the loss of one.
fn several_at_once() -> anyhow::Result<()> {
    let lab = lab()?;
    lab.nat(A, Kind::Symmetric)?;
    lab.nat(B, Kind::Symmetric)?;
    Overlay::start(lab)?.play(|overlay| {
        let clients = Clients::OfRendezvous(overlay.rendezvous.key().to_owned());
        let other = overlay.start_beacon(Site::Rdv2, other_beacon(), &clients)?;
        let second = other_beacon().to_string();
        let flags = ["-beacon-addr", second.as_str()];
        overlay.join_with("one", ONE, &flags)?;
        overlay.join_with("two", TWO, &flags)?;
        overlay.acquaint("one", "two")?;
        task_passes(overlay)?;
        let (one, two) = (overlay.node("one")?, overlay.node("two")?);
        until("it knows both beacons", PATIENCE, || Ok(netcheck(one)?.beacons.len() == 2))?;
        let stream = Stream::start(one, two, overlay.peer("two")?, 64 * 1024)?;
        stream.rounds(3, PATIENCE)?;

        drop(other);

        stream.rounds(3, PATIENCE)?;
        stream.finish()
    })
}

/// It introduces nodes to each other and carries nothing for them.
fn without_relay() -> anyhow::Result<()> {
    let (registry, beacon) =
        (SocketAddr::from((RDV, REGISTRY_PORT)), SocketAddr::from((RDV, BEACON_PORT)));
    let flags = BeaconFlags { services: Some("stun,punch"), ..BeaconFlags::at(beacon) };
    Overlay::start_at(lab()?, registry, Some(beacon), &flags)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        becomes_direct(overlay, DIRECT)?;

        overlay.lab.sever(A, B)?;

        let (one, second) = (overlay.node("one")?, overlay.address("two")?);
        until("there is no way left", PATIENCE, || {
            let reply = one.ctl(&["ping", second, "-c", "1", "--timeout", "1s", "--json"])?;
            Ok(reply.code == Some(UNREACHABLE))
        })?;
        overlay.lab.join(A, B)?;
        until("there is a way again", PATIENCE * 3, || {
            let reply = one.ctl(&["ping", second, "-c", "1", "--timeout", "1s", "--json"])?;
            Ok(reply.code.context("killed")? == 0)
        })?;
        becomes_direct(overlay, DIRECT)
    })
}
