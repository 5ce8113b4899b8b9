//! Hosts that reach each other without any help.

use anyhow::ensure;
use libtest_mimic::Trial;
use pilot_local_api::peers::PathKind;

use super::{PATIENCE, join_pair, task_passes};
use crate::lab::{Lab, Plan, Site};
use crate::pilot::contract::ping;
use crate::pilot::overlay::Overlay;
use crate::pilot::stream::Stream;
use crate::suite::test;

pub(crate) fn trials() -> Vec<Trial> {
    vec![test("public::hosts_need_no_beacon", hosts_need_no_beacon)]
}

fn hosts_need_no_beacon() -> anyhow::Result<()> {
    let lab = Lab::up(&Plan::of(&[Site::P1, Site::P2]))?;
    Overlay::without_beacon(lab)?.play(|overlay| {
        join_pair(overlay, Site::P1, Site::P2)?;
        task_passes(overlay)?;
        let (one, two) = (overlay.node("one")?, overlay.node("two")?);
        let pong = ping(one, overlay.address("two")?, PATIENCE)?;
        ensure!(pong.path == PathKind::Direct, "{pong:?}");
        ensure!(pong.endpoint == Some(overlay.socket("two")?.to_string()), "{pong:?}");
        for (bytes, rounds) in [(64 * 1024, 10), (15 * 1024 * 1024, 1)] {
            let stream = Stream::start(one, two, overlay.peer("two")?, bytes)?;
            stream.rounds(rounds, PATIENCE)?;
            stream.finish()?;
        }
        Ok(())
    })
}
