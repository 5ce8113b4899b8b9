//! A transfer runs on while the network changes under it. No byte is lost, and
//! no task is done twice.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use libtest_mimic::Trial;
use pilot_local_api::peers::PathKind;

use super::{A, B, DIRECT, ONE, PATIENCE, TWO, becomes_direct, home_pair, join_pair};
use crate::lab::nat::{Kind, Nat, Ports};
use crate::lab::{Lab, Plan, Site};
use crate::pilot::contract::path_to;
use crate::pilot::overlay::Overlay;
use crate::pilot::stream::Stream;
use crate::suite::test;

/// How soon a transfer goes on by relay when the direct path has died: 3 s
/// until that is noticed, and a moment.
const FALLEN_BACK: Duration = Duration::from_millis(3500);

/// How soon it goes on after its NAT was restarted or its address changed.
const RECOVERED: Duration = Duration::from_secs(5);

/// How soon a healed path is used again: it is tried at most so seldom.
const HEALED: Duration = Duration::from_secs(15);

/// What a task carries each way.
const BYTES: usize = 256 * 1024;

/// What a task may carry each way, beside its description.
const LARGE: usize = 15 * 1024 * 1024;

/// How long such a task may take both ways.
const LARGE_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test("transfer::the_direct_path_is_cut_and_healed", cut_and_healed),
        test("transfer::the_path_is_cut_again_and_again", cut_again_and_again),
        test("transfer::a_host_changes_its_address", host_changes_its_address),
        test("transfer::a_public_host_changes_its_address", public_host_changes_its_address),
        test("transfer::a_router_changes_its_address", router_changes_its_address),
        test("transfer::the_relay_is_lost_and_comes_back", relay_is_lost),
        test("transfer::a_lossy_wire", lossy_wire),
        test("transfer::the_largest_tasks", largest_tasks),
    ];
    for kind in [Kind::Cone, Kind::PortRestricted, Kind::Symmetric] {
        for ports in Ports::ALL {
            if kind.chooses_ports() || ports == Ports::Preserve {
                let name = format!("transfer::a_{kind}_nat_restarts_{}", ports.name());
                trials.push(test(name, move || nat_restarts(Nat::from(kind).ports(ports))));
            }
        }
    }
    trials
}

/// Runs `changes` while a transfer runs over a direct path.
fn run(
    lab: Lab,
    one: Site,
    two: Site,
    bytes: usize,
    changes: impl FnOnce(&mut Overlay, &Stream) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, one, two)?;
        let (from, to) = (overlay.node("one")?, overlay.node("two")?);
        let stream = Stream::start(from, to, overlay.peer("two")?, bytes)?;
        becomes_direct(overlay, DIRECT)?;
        stream.rounds(1, LARGE_PATIENCE)?;
        changes(overlay, &stream)?;
        stream.rounds(1, LARGE_PATIENCE)?;
        stream.finish()
    })
}

fn path(overlay: &Overlay) -> anyhow::Result<PathKind> {
    Ok(path_to(overlay.node("one")?, "two")?.path)
}

fn cut_and_healed() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, BYTES, |overlay, stream| {
        overlay.lab.sever(A, B)?;
        let pause = stream.goes_on(PATIENCE)?;
        ensure!(pause < FALLEN_BACK, "went on after {pause:?}");
        ensure!(path(overlay)? == PathKind::Relayed, "the cut is not seen");
        stream.rounds(3, PATIENCE)?;

        overlay.lab.join(A, B)?;
        becomes_direct(overlay, HEALED)?;
        stream.rounds(3, PATIENCE)?;
        ensure!(path(overlay)? == PathKind::Direct);
        Ok(())
    })
}

fn cut_again_and_again() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, BYTES, |overlay, stream| {
        for _ in 0..3 {
            overlay.lab.sever(A, B)?;
            let pause = stream.goes_on(PATIENCE)?;
            ensure!(pause < FALLEN_BACK, "went on after {pause:?}");
            overlay.lab.join(A, B)?;
            becomes_direct(overlay, HEALED)?;
        }
        Ok(())
    })
}

/// Both ends' mappings are gone in turn; the sockets know nothing of it.
fn nat_restarts(nat: Nat) -> anyhow::Result<()> {
    let lab = home_pair()?;
    lab.nat(A, nat)?;
    lab.nat(B, Nat::from(Kind::Cone).ports(nat.ports))?;
    run(lab, ONE, TWO, BYTES, |overlay, stream| {
        for router in [A, B] {
            overlay.lab.flush(router)?;
            let pause = stream.goes_on(PATIENCE)?;
            ensure!(pause < RECOVERED, "{router:?}: recovered after {pause:?}");
            becomes_direct(overlay, HEALED)?;
        }
        Ok(())
    })
}

fn host_changes_its_address() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, BYTES, |overlay, stream| {
        overlay.lab.readdress(ONE, Ipv4Addr::new(192, 168, 1, 31))?;
        let pause = stream.goes_on(PATIENCE)?;
        ensure!(pause < RECOVERED, "recovered after {pause:?}");
        becomes_direct(overlay, HEALED)
    })
}

fn public_host_changes_its_address() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::P1, Site::P2]))?;
    run(lab, Site::P1, Site::P2, BYTES, |overlay, stream| {
        for (site, last) in [(Site::P1, 31), (Site::P2, 32)] {
            overlay.lab.readdress(site, Ipv4Addr::new(198, 51, 100, last))?;
            let pause = stream.goes_on(PATIENCE)?;
            ensure!(pause < RECOVERED, "{site:?}: recovered after {pause:?}");
            becomes_direct(overlay, HEALED)?;
        }
        Ok(())
    })
}

/// The provider gives a home another address; mappings are gone, too.
fn router_changes_its_address() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, BYTES, |overlay, stream| {
        overlay.lab.readdress(B, Ipv4Addr::new(198, 51, 100, 32))?;
        let pause = stream.goes_on(PATIENCE)?;
        ensure!(pause < RECOVERED, "recovered after {pause:?}");
        becomes_direct(overlay, HEALED)
    })
}

/// A direct path needs no rendezvous; a relayed one goes on when it is back.
fn relay_is_lost() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, BYTES, |overlay, stream| {
        overlay.kill_rendezvous()?;
        stream.rounds(10, PATIENCE)?;
        ensure!(path(overlay)? == PathKind::Direct);

        overlay.lab.sever(A, B)?;
        overlay.restart_rendezvous()?;
        stream.rounds(3, HEALED)?;
        ensure!(path(overlay)? == PathKind::Relayed, "the cut is not seen");
        Ok(())
    })
}

/// One packet of twenty is lost: slower, and still all there.
fn lossy_wire() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, BYTES, |overlay, stream| {
        overlay.lab.lose(ONE, 50)?;
        stream.rounds(5, HEALED)?;
        ensure!(path(overlay)? == PathKind::Direct, "loss alone is no reason to leave a path");
        overlay.lab.lose(ONE, 0)?;
        Ok(())
    })
}

fn largest_tasks() -> anyhow::Result<()> {
    run(home_pair()?, ONE, TWO, LARGE, |overlay, stream| {
        overlay.lab.sever(A, B)?;
        stream.rounds(1, LARGE_PATIENCE)?;
        ensure!(path(overlay)? == PathKind::Relayed, "the cut is not seen");
        Ok(())
    })
}
