//! 50,000 packets of garbage a second: real traffic keeps its rate, no memory
//! grows, no path changes.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use super::{A, B, DIRECT, ONE, PATIENCE, TWO, becomes_direct, join_pair};
use crate::lab::nat::Kind;
use crate::lab::{Lab, Plan, RDV, Site};
use crate::net::flood::{Flood, RATE};
use crate::pilot::contract::{BEACON_PORT, PeerPath, path_to};
use crate::pilot::overlay::Overlay;
use crate::pilot::stream::Stream;
use crate::suite::alone;

/// What a task carries each way.
const BYTES: usize = 64 * 1024;

/// How long each rate is measured, and how often: the machine is not equally
/// fast in any two moments. Three turns are enough if they agree; where they do
/// not, up to nine are taken.
const MEASURED: Duration = Duration::from_secs(2);
const TURNS: (usize, usize) = (3, 9);

/// What is left of the rate at least, in the middle one of all turns.
const KEPT: f64 = 0.8;

/// How much a process may grow while it is flooded, in kB: what it holds for
/// its traffic changes by as much without a flood.
const GROWTH: u64 = 6 * 1024;

pub(crate) fn trials() -> Vec<Trial> {
    vec![alone("flood::of_a_node", of_a_node), alone("flood::of_the_beacon", of_the_beacon)]
}

fn of_a_node() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::P1, Site::P2, Site::Rdv2]))?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, Site::P1, Site::P2)?;
        let target = overlay.socket("two")?;
        let pids = [overlay.pid("two")?];
        withstands(overlay, Site::P2, target, &pids, |overlay| becomes_direct(overlay, DIRECT))
    })
}

/// All traffic goes through the flooded beacon.
fn of_the_beacon() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[ONE, TWO, Site::Rdv2]))?;
    lab.nat(A, Kind::Symmetric)?;
    lab.nat(B, Kind::Symmetric)?;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        let target = SocketAddr::from((RDV, BEACON_PORT));
        let pids = [overlay.rendezvous.pid(), overlay.pid("one")?, overlay.pid("two")?];
        withstands(overlay, Site::Rdv, target, &pids, |_| Ok(()))
    })
}

/// Floods `target`, a socket in `site`, while a transfer runs.
fn withstands(
    overlay: &Overlay,
    site: Site,
    target: SocketAddr,
    pids: &[u32],
    settled: impl Fn(&Overlay) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (one, two) = (overlay.node("one")?, overlay.node("two")?);
    let stream = Stream::start(one, two, overlay.peer("two")?, BYTES)?;
    stream.rounds(2, PATIENCE)?;
    settled(overlay)?;
    let paths =
        || -> anyhow::Result<[PeerPath; 2]> { Ok([path_to(one, "two")?, path_to(two, "one")?]) };
    let path = paths()?;
    let memory = || pids.iter().map(|pid| resident_kb(*pid)).collect::<anyhow::Result<Vec<_>>>();
    // Making and carrying the flood takes a good part of this machine, where an
    // attacker has one of its own: the rate to keep is that beside the same
    // flood at a socket that nobody reads.
    let unread = overlay.lab.udp(site, (target.ip(), 0))?;
    let flooded_by = |to| -> anyhow::Result<f64> {
        let flood = Flood::start(&overlay.lab, Site::Rdv2, to)?;
        let rate = stream.rate(MEASURED)?;
        let sent = flood.stop()?;
        ensure!(sent > f64::from(RATE) * 0.9, "only {sent:.0} packets a second were sent");
        Ok(rate)
    };
    let mut kept = Vec::new();
    let mut beside = flooded_by(unread.local_addr()?)?;
    let before = memory()?;

    loop {
        kept.push(flooded_by(target)? / beside);
        if kept.len() >= TURNS.0 && middle(&kept) >= KEPT {
            break;
        }
        ensure!(kept.len() < TURNS.1, "only these parts of the rate are left: {kept:.2?}");
        beside = flooded_by(unread.local_addr()?)?;
    }

    let after = memory()?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(after.saturating_sub(*before) < GROWTH, "grew from {before} to {after} kB");
    }
    ensure!(paths()? == path, "{path:?} became {:?}", paths()?);
    stream.finish()
}

fn middle(parts: &[f64]) -> f64 {
    let mut parts = parts.to_vec();
    parts.sort_by(f64::total_cmp);
    parts.get(parts.len() / 2).copied().unwrap_or_default()
}

/// Resident memory of a process.
fn resident_kb(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(number.parse()?)
}
