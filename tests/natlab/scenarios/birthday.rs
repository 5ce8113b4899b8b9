//! A symmetric NAT with a port-restricted one: the port is guessed.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use libtest_mimic::Trial;
use pilot_local_api::peers::PathKind;

use super::{A, B, ONE, TWO, home_pair, join_pair, task_passes};
use crate::lab::nat::{Kind, Nat, Ports};
use crate::pilot::contract::{Reach, path_to, ping_until_direct};
use crate::pilot::overlay::Overlay;
use crate::suite::test;

/// How long guessing may take.
const GUESSED: Duration = Duration::from_secs(10);

/// How often it is tried, half of the times with random ports, …
const TRIES: usize = 10;

/// … how many of these must succeed, …
const SUCCESSES: usize = 9;

/// … and how many are made at once: they send little.
const AT_ONCE: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    let names = [
        ("birthday::symmetric_finds_port_restricted", Kind::Symmetric, Kind::PortRestricted),
        ("birthday::port_restricted_finds_symmetric", Kind::PortRestricted, Kind::Symmetric),
    ];
    names.into_iter().map(|(name, one, other)| test(name, move || guess(one, other))).collect()
}

fn guess(one: Kind, other: Kind) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for batch in 0..TRIES / AT_ONCE {
        let ports = if batch % 2 == 0 { Ports::Preserve } else { Ports::Random };
        times.extend(thread::scope(|scope| {
            let tries = [(); AT_ONCE].map(|()| scope.spawn(move || try_once(one, other, ports)));
            tries
                .map(|each| each.join().map_err(|_| anyhow!("a try panicked"))?)
                .into_iter()
                .collect::<anyhow::Result<Vec<_>>>()
        })?);
    }
    let successes = times.iter().flatten().count();
    ensure!(successes >= SUCCESSES, "{successes} of {TRIES}: {times:?}");
    Ok(())
}

/// How long it took until the path was direct, if it ever was.
fn try_once(one: Kind, other: Kind, ports: Ports) -> anyhow::Result<Option<Duration>> {
    let lab = home_pair()?;
    lab.nat(A, Nat::from(one).ports(ports))?;
    lab.nat(B, Nat::from(other).ports(ports))?;
    let mut took = None;
    Overlay::start(lab)?.play(|overlay| {
        join_pair(overlay, ONE, TWO)?;
        task_passes(overlay)?;
        let start = Instant::now();
        let reach = ping_until_direct(overlay.node("one")?, overlay.address("two")?, GUESSED)?;
        if let Reach::Direct(_) = reach {
            took = Some(start.elapsed());
            let path = path_to(overlay.node("two")?, "one")?;
            ensure!(path.path == PathKind::Direct, "only one side knows: {path:?}");
        }
        task_passes(overlay)
    })?;
    Ok(took)
}
