//! Idle clients of a beacon: what they take of its memory.

use anyhow::bail;

use crate::beacon::{Beacon, Limits};
use crate::client::Client;
use crate::line::Line;
use crate::procfs;

const CLIENTS: usize = 5000;

/// Keys of theirs; none is that of a node.
const FIRST: usize = 1_000_000;

/// MB that a beacon takes more with all of them bound.
pub(crate) fn memory() -> anyhow::Result<Vec<Line>> {
    let mut beacon = Beacon::start(Limits::None)?;
    let before = procfs::resident_kb(beacon.pid())?;
    let mut clients = Vec::new();
    for number in FIRST..FIRST + CLIENTS {
        clients.push(Client::bound(number, beacon.v4())?);
    }
    let after = procfs::resident_kb(beacon.pid())?;
    // Every one of them was told that it is bound; the beacon still knows all.
    let bound = beacon.counted()?.clients;
    if bound + 1 < u64::try_from(clients.len())? {
        bail!("only {bound} clients are bound");
    }
    let added = (after - before) / 1000.0;
    Ok(vec![
        Line::value("relay_idle_clients", "MB", added)
            .with("samples", CLIENTS.into())
            .with_number("kb_each", (after - before) / f64::from(u32::try_from(CLIENTS)?))
            .with_number("empty_mb", before / 1000.0)
            .at_most(100.0),
    ])
}
