//! What Pilot does on networks as they are.

mod beacons;
mod birthday;
mod blocked;
mod flood;
mod homes;
mod netcheck;
mod pairs;
mod port_mapping;
mod public;
mod stun;
mod transfer;

use std::time::Duration;

use anyhow::{bail, ensure};
use libtest_mimic::Trial;
use pilot_local_api::peers::PathKind;

use crate::lab::{Lab, Plan, Router, Site};
use crate::pilot::contract::{Reach, path_to, ping_until_direct, submit};
use crate::pilot::overlay::Overlay;
use crate::pilot::worker::{Worker, answer};

/// The routers of [`home_pair`], …
const A: Site = Site::Nat(Router::A);
const B: Site = Site::Nat(Router::B);
/// … and the hosts behind them.
const ONE: Site = Site::A1;
const TWO: Site = Site::B1;

/// How long anything may take that has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon a path is direct where plain punching works.
const DIRECT: Duration = Duration::from_secs(2);

/// How long a path is watched that is to stay as it is.
const WATCHED: Duration = Duration::from_secs(3);

pub(crate) fn trials() -> Vec<Trial> {
    [
        public::trials(),
        pairs::trials(),
        birthday::trials(),
        homes::trials(),
        port_mapping::trials(),
        beacons::trials(),
        blocked::trials(),
        transfer::trials(),
        stun::trials(),
        netcheck::trials(),
        flood::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Two homes, each with a host.
fn home_pair() -> anyhow::Result<Lab> {
    Lab::up(&Plan::of(&[ONE, TWO]))
}

/// Puts two nodes into a network and makes them trust each other.
fn join_pair(overlay: &mut Overlay, one: Site, two: Site) -> anyhow::Result<()> {
    overlay.join("one", one)?;
    overlay.join("two", two)?;
    overlay.acquaint("one", "two")
}

/// A task goes from node one to node two, and its result comes back.
fn task_passes(overlay: &Overlay) -> anyhow::Result<()> {
    let description = "whatever stands between us";
    let _worker = Worker::start(overlay.node("two")?)?;
    let result = submit(overlay.node("one")?, overlay.address("two")?, description)?;
    ensure!(result == answer(description), "{result}");
    Ok(())
}

/// Both nodes reach each other directly, soon.
fn becomes_direct(overlay: &Overlay, patience: Duration) -> anyhow::Result<()> {
    for (from, to) in [("one", "two"), ("two", "one")] {
        let node = overlay.node(from)?;
        let Reach::Direct(pong) = ping_until_direct(node, overlay.address(to)?, patience)? else {
            bail!("{from} not direct within {patience:?}: {:?}", path_to(node, to)?)
        };
        ensure!(pong.endpoint.is_some(), "{from}: {pong:?}");
        // Which of several direct paths is the best may have changed meanwhile.
        let path = path_to(node, to)?;
        ensure!(path.path == PathKind::Direct && path.endpoint.is_some(), "{from}: {path:?}");
        ensure!(path.path_reason.is_some() && path.path_since.is_some(), "{from}: {path:?}");
    }
    Ok(())
}

/// The nodes never reach each other but by relay.
fn stays_relayed(overlay: &Overlay) -> anyhow::Result<()> {
    let one = overlay.node("one")?;
    let reach = ping_until_direct(one, overlay.address("two")?, WATCHED)?;
    ensure!(matches!(reach, Reach::NotDirect), "{reach:?}");
    let path = path_to(one, "two")?;
    ensure!(path.path == PathKind::Relayed, "{path:?}");
    ensure!(path.path_reason.is_some() && path.path_since.is_some(), "{path:?}");
    Ok(())
}
